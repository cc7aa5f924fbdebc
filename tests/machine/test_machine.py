"""The API beside a plain-Python model of it: whatever is called, in whatever order, the two agree."""

import json
import logging
from copy import deepcopy
from functools import partial

import pytest
from book import KINDS, MOST, Book, Refused
from django.db import connection, transaction
from django.test import Client
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Account
from billers.models import ApiKey, Biller, Enablement, Partner
from bills.models import Bill
from core.ids import encode
from customers.models import Customer
from events.models import Event
from ledger.models import PREFIXES, Entry
from payments.models import Payment, Reference, Reversal

CURRENCIES = ("ZAR", "JPY")
references = st.integers(0, 2)
anyone = st.integers(0, 9)
amounts = st.sampled_from([0, 0, 0, 0, 1, 2, 10, 30, MOST - 1, MOST])
balances = st.one_of(st.none(), st.integers(-30, 30), st.integers(1, 30))
texts = st.sampled_from(["x", "y", "é", None])
due_dates = st.sampled_from(["2026-01-31", "2030-12-31", None])
metadata = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]), max_size=2)
patched_metadata = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2", None]), max_size=2)


def some(**strategies):
    """Return a body with some of these fields."""
    return st.fixed_dictionaries({}, optional=strategies)


payment_rules = some(
    min_amount=st.sampled_from([2, 5, None]),
    max_amount=st.sampled_from([5, 20, None]),
    underpayment_allowed=st.booleans(),
    overpayment_allowed=st.sampled_from([True, True, False, None]),
)
owner_terms = {
    "name": texts,
    "currency": st.sampled_from([*CURRENCIES, None]),
    "balance": balances,
    "payment_rules": payment_rules,
}
bill_terms = {"amount_paid": amounts, "description": texts, "due_date": due_dates, "payment_rules": payment_rules}
customer_fields = account_fields = some(**owner_terms, metadata=metadata)
bill_fields = some(**bill_terms, metadata=metadata)
owner_changes = some(**owner_terms, metadata=patched_metadata)
bill_changes = some(**bill_terms, amount_due=st.integers(1, 30), metadata=patched_metadata)
takers = st.sampled_from(["partner", "partner", "biller"])
receipts = st.one_of(st.none(), st.none(), st.none(), st.integers(0, 4))
money = st.one_of(st.integers(1, 40), st.sampled_from([1, MOST]))
currencies = st.sampled_from(["ZAR", "ZAR", "ZAR", "JPY"])
some_record = precondition(lambda self: self.book.rows["C"])
some_bill = precondition(lambda self: self.book.rows["B"])
some_request = precondition(lambda self: self.kept)
some_payment = precondition(lambda self: any(self.book.payments.values()))
MODELS = {"C": Customer, "A": Account, "B": Bill}


class Callers:
    """Two billers and a partner of the first, with a key each; the other biller's books stay as they are."""

    def __init__(self):
        self.biller = Biller.objects.found(name="Ours", reference="ours")["live"]
        self.theirs = Biller.objects.found(name="Theirs", reference="theirs")["live"]
        partner = Partner.objects.found(name="Shops", reference="shops")["live"]
        Enablement.objects.enable(partner, [self.biller])
        owners = {"biller": self.biller, "theirs": self.theirs, "partner": partner}
        self.keys = {who: ApiKey.objects.issue(owner)[1] for who, owner in owners.items()}
        self.client = Client(raise_request_exception=False)
        self._fill_the_other_billers_books()

    def call(self, method, path, body=None, *, by="biller", key=None, **headers):
        headers |= {"Authorization": f"Bearer {self.keys[by]}", **({"Idempotency-Key": key} if key else {})}
        content = b"" if body is None else json.dumps(body).encode()
        with transaction.atomic():
            response = self.client.generic(method, path, content, content_type="application/json", headers=headers)
            # What COMMIT would check, it checks now.
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        return response

    def _fill_the_other_billers_books(self):
        bill = {"external_reference": "B0", "currency": "ZAR", "amount_due": 5, "amount_paid": 3}
        customer = {"external_reference": "C0", "currency": "ZAR", "balance": 8}
        account = {"external_reference": "A0", "currency": "ZAR", "balance": -8, "customer": customer}
        made = self.call("POST", "/billing/bills", {**bill, "account": account}, by="theirs").json()
        self.foreign_ids = {"C": made["customer_id"], "A": made["account_id"], "B": made["id"]}
        payment = {"external_reference": "T0", "currency": "ZAR", "amount": 1, "method": "cash"}
        payment["obligation"] = made["id"]
        paid = self.call("POST", "/billing/payments", payment, by="theirs", key="theirs-0")
        assert paid.status_code == 201
        self.foreign_payment = paid.json()["id"]
        self.foreign = self.books_of(self.theirs)

    def books_of(self, biller):
        tables = (*MODELS.values(), Entry, Event, Payment, Reversal)
        return [list(table.objects.for_biller(biller).order_by("id").values()) for table in tables]


class Billing(RuleBasedStateMachine):
    """One run: whatever is called, only the first biller's book changes, and as the model says."""

    def __init__(self, callers):
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.callers, self.biller, self.call = callers, callers.biller, callers.call
        self.book = Book()
        self.ids = {}
        self.kept = []
        self.number = 0
        self.owe_something()

    def teardown(self):
        try:
            self.everything_that_is_listed_is_as_the_model_has_it()
            assert self.callers.books_of(self.callers.theirs) == self.callers.foreign
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    def owe_something(self):
        """Begin with bills of a customer and of its account, and balances that may be overpaid."""
        generous = {"currency": "ZAR", "balance": 20, "payment_rules": {"overpayment_allowed": True}}
        bill = {"currency": "ZAR", "amount_due": 30}

        def change():
            self.book.create("C0", generous)
            self.book.create("A0", generous, customer="C0")
            return self.issued("B0", bill, customer="C0", account="A0")

        account = {"external_reference": "A0", "customer": {"external_reference": "C0", **generous}, **generous}
        self.record("POST", "bills", {"external_reference": "B0", **bill, "account": account}, change)

    def expect(self, method, path, body, change, *, created=201, by="biller"):
        """Make the call, and the change of the model; they must be answered alike."""
        before = deepcopy(self.book)
        try:
            expected = (created if change() else 200, ())
        except Refused as refusal:
            self.book = before
            expected = (refusal.status, refusal.codes)
        self.number += 1
        key = f"key-{self.number}"
        response = self.call(method, path, body, by=by, key=key)
        assert response.status_code == expected[0], (method, path, body, response.content, expected)
        if response.status_code >= 400:
            assert response.json()["code"] in expected[1], (response.content, expected)
        else:
            self.kept.append((by, method, path, body, key, response))
        return response

    def record(self, method, path, body, change, **expected):
        """Expect an answer that tells a record."""
        response = self.expect(method, f"/billing/{path}", body, change, **expected)
        if response.status_code < 400:
            self.learn(response.json())

    def learn(self, told):
        """Compare an answered record with the model, and know its id and its parents' from now on."""
        name = told["external_reference"]
        for parent in ("customer", "account"):
            if told.get(f"{parent}_id"):
                named = self.book[name][parent]
                assert self.ids.setdefault(named, told[f"{parent}_id"]) == told[f"{parent}_id"]
        assert self.ids.setdefault(name, told["id"]) == told["id"]
        self.compare(name, told)

    # --- What is asked of records ---

    @rule(number=references, fields=customer_fields)
    def create_a_customer(self, number, fields):
        name = f"C{number}"
        body = {"external_reference": name, **fields}
        self.record("POST", "customers", body, lambda: self.book.create(name, fields))

    @rule(number=references, owner=references, fields=account_fields)
    def create_an_account_of_an_existing_customer(self, number, owner, fields):
        def change():
            if f"C{owner}" not in self.book:
                raise Refused(422, "customer_not_found")
            return self.book.create(f"A{number}", fields, customer=f"C{owner}")

        body = {"external_reference": f"A{number}", "customer": f"C{owner}", **fields}
        self.record("POST", "accounts", body, change)

    @rule(
        numbers=st.tuples(references, references, references),
        fields=st.tuples(customer_fields, account_fields, bill_fields),
        due=st.integers(1, 30),
        currency=st.sampled_from(CURRENCIES),
        with_account=st.booleans(),
    )
    def create_a_bill_with_new_owners(self, numbers, fields, due, currency, with_account):
        names = [f"{kind}{number}" for kind, number in zip("CAB", numbers, strict=True)]
        terms = {"currency": currency, "amount_due": due}

        def change():
            if any(name in self.book and (with_account or name[0] != "A") for name in names):
                raise Refused(409, "external_reference_taken")
            self.book.create(names[0], fields[0])
            if with_account:
                self.book.create(names[1], fields[1], customer=names[0])
            account = names[1] if with_account else None
            return self.issued(names[2], {**terms, **fields[2]}, customer=names[0], account=account)

        customer = {"external_reference": names[0], **fields[0]}
        account = {"external_reference": names[1], "customer": customer, **fields[1]}
        owner = {"account": account} if with_account else {"customer": customer}
        self.record("POST", "bills", {"external_reference": names[2], **terms, **fields[2], **owner}, change)

    def issued(self, name, fields, **owner):
        self.book.create(name, fields, **owner)
        if self.book.status(name) == "PAID":
            self.book.events.append((name, "paid"))
        return True

    @rule(
        number=references,
        owner=st.tuples(st.sampled_from("CA"), references),
        fields=bill_fields,
        due=st.integers(1, 30),
    )
    def create_a_bill_of_an_existing_owner(self, number, owner, fields, due):
        name, named = f"B{number}", f"{owner[0]}{owner[1]}"
        terms = {"currency": "ZAR", "amount_due": due, **fields}
        kind = KINDS[owner[0]]

        def change():
            if named not in self.book:
                raise Refused(422, f"{kind}_not_found")
            account = named if owner[0] == "A" else None
            return self.issued(
                name, terms, customer=self.book[named]["customer"] if account else named, account=account
            )

        self.record("POST", "bills", {"external_reference": name, **terms, kind: named}, change)

    @rule(number=references, fields=owner_changes)
    def put_a_customer(self, number, fields):
        name = f"C{number}"
        self.record("PUT", f"customers/{name}", fields, lambda: self.book.settle(name, fields))

    @rule(
        numbers=st.tuples(references, references, references),
        fields=st.tuples(owner_changes, owner_changes, bill_changes),
        due=st.integers(1, 30),
    )
    def put_a_bill_through_its_account_to_its_customer(self, numbers, fields, due):
        names = [f"{kind}{number}" for kind, number in zip("CAB", numbers, strict=True)]
        terms = {"currency": "ZAR", "amount_due": due, **fields[2]}

        def change():
            book = self.book
            known = book.rows["B"].get(names[2])
            account = book.rows["A"].get(names[1])
            # What is there already is written on the way, so its rules speak first; then what is fixed, then the new.
            if names[0] in book:
                book.change(names[0], fields[0])
            if account and account["customer"] != names[0]:
                raise Refused(409, "account_customer_fixed")
            if account:
                book.change(names[1], fields[1])
            if known:
                moved = (known["customer"], known["account"]) != (names[0], names[1])
                codes = ["bill_owner_fixed"] * moved + ["bill_currency_fixed"] * (known["currency"] != "ZAR")
                if codes:
                    raise Refused(409, *codes)
            if names[0] not in book:
                book.create(names[0], fields[0])
            if not account:
                book.create(names[1], fields[1], customer=names[0])
            if known:
                book.change(names[2], terms)
                return False
            return self.issued(names[2], terms, customer=names[0], account=names[1])

        customer = {"external_reference": names[0], **fields[0]}
        account = {"external_reference": names[1], "customer": customer, **fields[1]}
        self.record("PUT", f"bills/{names[2]}", {**terms, "account": account}, change)

    @some_record
    @rule(which=anyone, fields=owner_changes)
    def patch_an_owner(self, which, fields):
        name = self.existing("CA", which)
        self.record("PATCH", f"{KINDS[name[0]]}s/{name}", fields, lambda: self.book.change(name, fields), created=200)

    @some_bill
    @rule(
        which=anyone,
        fields=bill_changes,
        customer=st.one_of(st.just({}), owner_changes),
        account=st.one_of(st.just({}), owner_changes),
    )
    def patch_a_bill_and_its_owners(self, which, fields, customer, account):
        name = self.existing("B", which)

        def change():
            bill = self.book[name]
            if account and bill["account"] is None:
                raise Refused(422, "bill_without_account")
            self.book.change(bill["customer"], customer)
            if account:
                self.book.change(bill["account"], account)
            self.book.change(name, fields)

        body = {**fields, **({"customer": customer} if customer else {}), **({"account": account} if account else {})}
        self.record("PATCH", f"bills/{name}", body, change)

    def existing(self, kinds, which):
        """Return the name of one of the records of these kinds that are there."""
        names = sorted(name for kind in kinds for name in self.book.rows[kind])
        return names[which % len(names)]

    @some_bill
    @rule(which=anyone)
    def void_a_bill(self, which):
        name = self.existing("B", which)
        self.record("POST", f"bills/{name}/void", {}, lambda: self.book.void(name))

    @some_record
    @rule(which=anyone, sent=patched_metadata, behind=st.integers(1, 3))
    def patch_with_a_stale_version(self, which, sent, behind):
        name, fields = self.existing("CAB", which), {"metadata": sent}
        path = f"/billing/{KINDS[name[0]]}s/{name}"
        version = int(self.call("GET", path).headers["ETag"].strip('"'))
        stale = self.call("PATCH", path, fields, **{"If-Match": f'"{version - behind}"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale")
        current = self.call("PATCH", path, fields, **{"If-Match": f'"{version}"'})
        assert current.status_code == 200
        changed = self.book.change(name, fields)
        assert (current.headers["ETag"] != f'"{version}"') == changed

    # --- What is paid ---

    @some_record
    @rule(by=takers, number=receipts, which=anyone, amount=money, currency=currencies)
    def pay_one_obligation(self, by, number, which, amount, currency):
        name = self.existing("CAB", which)
        self.pay(by, self.receipt(number), {"amount": amount, "currency": currency, "obligation": name})

    @some_bill
    @rule(by=takers, number=receipts, which=anyone)
    def pay_all_that_is_owed_on_a_bill(self, by, number, which):
        name = self.existing("B", which)
        owed = max(self.book.owed(name), 1)
        self.pay(
            by, self.receipt(number), {"amount": owed, "currency": self.book[name]["currency"], "obligation": name}
        )

    @some_record
    @rule(
        by=takers,
        number=receipts,
        wanted=st.lists(st.tuples(anyone, st.integers(1, 9)), min_size=1, max_size=3),
        off=st.sampled_from([0, 0, 0, 0, 1]),
        currency=currencies,
    )
    def pay_what_is_listed(self, by, number, wanted, off, currency):
        shares = [(self.existing("CAB", which), amount) for which, amount in wanted]
        total = sum(amount for _, amount in shares) + off
        self.pay(by, self.receipt(number), {"amount": total, "currency": currency, "allocations": shares})

    @some_record
    @rule(by=takers, number=receipts, which=anyone, amount=money, currency=currencies)
    def pay_a_payer_oldest_first(self, by, number, which, amount, currency):
        payer = self.existing("CA", which)
        self.pay(by, self.receipt(number), {"amount": amount, "currency": currency, "payer": payer})

    def receipt(self, number):
        """Return a reference that may have been used, or else a new one."""
        return f"T{self.number + 10 if number is None else number}"

    def pay(self, by, reference, said):
        response = self.expect(
            "POST", self.payments(by), self.sent(reference, said), lambda: self.book.pay(by, reference, said), by=by
        )
        if response.status_code < 400:
            self.compare_payment(by, response.json())

    @staticmethod
    def payments(by):
        return "/partner/payments" if by == "partner" else "/billing/payments"

    def sent(self, reference, said):
        """Return the body of a payment: the model goes by references where the API goes by ids."""
        body = {"external_reference": reference, "method": "cash", **said}
        if "obligation" in said:
            return {**body, "obligation": self.ids[said["obligation"]]}
        if "payer" in said:
            return {**body, "payer": self.ids[said["payer"]], "allocations": "oldest_first"}
        listed = [{"obligation": self.ids[name], "amount": amount} for name, amount in said["allocations"]]
        return {**body, "allocations": listed}

    @some_payment
    @rule(which=anyone)
    def repeat_a_payment_under_another_key(self, which):
        by, reference = self.paid(which)
        self.pay(by, reference, self.book.payments[by, reference]["said"])

    def paid(self, which):
        """Return the taker and the reference of one of the payments that there are."""
        taken = [key for key, payment in self.book.payments.items() if payment]
        return taken[which % len(taken)]

    @rule(by=takers, number=st.integers(0, 4))
    def reverse_a_reference_seen_or_not(self, by, number):
        self.reverse(by, f"T{number}", f"T{number}")

    @some_payment
    @rule(which=anyone)
    def reverse_a_payment_by_its_reference(self, which):
        by, reference = self.paid(which)
        self.reverse(by, reference, reference)

    @some_payment
    @rule(which=anyone)
    def reverse_a_payment_by_its_id(self, which):
        by, reference = self.paid(which)
        key = self.call("GET", f"{self.payments(by)}/{reference}", by=by).json()["id"]
        self.reverse(by, reference, key)

    def reverse(self, by, reference, key):
        early = by == "partner" and (by, reference) not in self.book.payments
        response = self.expect(
            "POST",
            f"{self.payments(by)}/{key}/reverse",
            {"reason": "Wrong payer"},
            lambda: self.book.undo(by, reference),
            created=202 if early else 201,
            by=by,
        )
        if response.status_code < 400:
            told = response.json()
            known = self.book.payments[by, reference]
            assert (told["status"], told["external_reference"]) == ("REVERSED" if known else "REMEMBERED", reference)

    @rule(kind=st.sampled_from("CAB"), number=references)
    def ask_what_a_payer_can_pay(self, kind, number):
        name = f"{kind}{number}"
        told = self.call("GET", f"/partner/obligations?biller=ours&reference={name}", by="partner")
        if name not in self.book:
            assert (told.status_code, told.json()["code"]) == (404, "payer_not_found")
            return
        unpaid = [name] * (self.book.status(name) == "UNPAID") if kind == "B" else self.book.unpaid(name)
        found = {one["obligation"]: (one["amount_owed"], one["payment_rules"]) for one in told.json()["data"]}
        assert found == {self.ids[bill]: (self.book.owed(bill), self.book.rules(bill)) for bill in unpaid}

    # --- What is repeated, and what is none of the caller's business ---

    @some_request
    @rule(which=st.integers(0, 1000), stale=st.booleans())
    def repeat_a_request_under_its_key(self, which, stale):
        by, method, path, body, key, first = self.kept[which % len(self.kept)]
        again = self.call(method, path, body, by=by, key=key, **({"If-Match": '"999"'} if stale else {}))
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.headers.get("ETag") == first.headers.get("ETag")

    @some_request
    @rule(which=st.integers(0, 1000))
    def use_a_key_for_another_request(self, which):
        by, _, _, _, key, _ = self.kept[which % len(self.kept)]
        never = {"external_reference": "never", "amount": 7, "currency": "ZAR", "method": "other", "obligation": "x"}
        refused = self.call("POST", self.payments(by), never, by=by, key=key)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")

    @rule(kind=st.sampled_from("CAB"), by=takers)
    def reach_for_the_other_billers_records(self, kind, by):
        foreign = self.callers.foreign_ids[kind]
        for method, body in (("GET", None), ("PATCH", {"metadata": {"a": "b"}})):
            assert self.call(method, f"/billing/{KINDS[kind]}s/{foreign}", body).status_code == 404
        self.number += 1
        payment = {"external_reference": "foreign", "amount": 1, "currency": "ZAR", "method": "cash"}
        for what in ("obligation", "payer"):
            body = {**payment, what: foreign, **({"allocations": "oldest_first"} if what == "payer" else {})}
            refused = self.call("POST", self.payments(by), body, by=by, key=f"foreign-{what}-{self.number}")
            assert (refused.status_code, refused.json()["code"]) == (404, f"{what}_not_found")
        path = f"{self.payments(by)}/{self.callers.foreign_payment}"
        assert self.call("GET", path, by=by).status_code == 404
        refused = self.call("POST", f"{path}/reverse", {"reason": "x"}, by=by, key=f"foreign-{self.number}")
        assert (refused.status_code, refused.json()["code"]) == (404, "payment_not_found")

    # --- What holds ---

    def compare(self, name, told):
        model = self.book[name]
        of_bills = ("amount_due", "amount_paid", "description", "currency", "due_date")
        same = (*(of_bills if name[0] == "B" else ("name", "currency", "balance")), "metadata")
        assert {field: told[field] for field in same} == {field: model[field] for field in same}
        assert told["payment_rules"] == self.book.rules(name)
        if name[0] != "C":
            assert told["customer_id"] == self.ids[model["customer"]]
        if name[0] == "B":
            assert told["account_id"] == (self.ids[model["account"]] if model["account"] else None)
            assert told["status"] == self.book.status(name)
            due, paid = model["amount_due"], model["amount_paid"]
            assert (told["amount_remaining"], told["amount_overpaid"]) == (max(due - paid, 0), max(paid - due, 0))

    def compare_payment(self, by, told):
        known = self.book.payments[by, told["external_reference"]]
        assert told["status"] == ("REVERSED" if known["reversed"] else "ACCEPTED")
        assert {name: told[name] for name in ("amount", "currency")} == {
            name: known["said"][name] for name in ("amount", "currency")
        }
        assert told["amount_remaining"] == known["remaining"]
        shares = [(one["obligation"], one["amount"], one["remaining"]) for one in told["allocations"]]
        assert shares == [(self.ids[name], amount, remaining) for name, amount, remaining in known["shares"]]

    @invariant()
    def every_amount_is_the_sum_of_its_entries(self):
        """Compare the stored amounts and their entries with the model; every one of them, after every call."""
        stored, names = {}, {}
        for kind, model in MODELS.items():
            columns = ("id", "external_reference", model.amount_field, "entry_count")
            for key, name, amount, count in model.objects.for_biller(self.biller).values_list(*columns):
                names[key], stored[name] = name, (amount, count)
                assert name[0] == kind
        assert names == {key: name for name, key in self.ids.items()}
        found = {name: [] for name in stored}
        entries = Entry.objects.for_biller(self.biller).order_by("obligation_id", "sequence")
        for kind, key, sequence, why, amount, total in entries.values_list(
            "obligation_kind", "obligation_id", "sequence", "kind", "amount", "total"
        ):
            story = found[names[encode(PREFIXES[kind], key)]]
            story.append((why, amount))
            assert sequence == len(story)
            assert total == sum(change for _, change in story)
        for name, story in found.items():
            assert story == self.book.ledger.get(name, [])
            assert stored[name] == (self.book[name]["amount_paid" if name[0] == "B" else "balance"], len(story))
            assert (stored[name][0] or 0) == sum(change for _, change in story)
        assert {name for name in self.book.ledger if self.book.ledger[name]} <= set(found)

    def everything_that_is_listed_is_as_the_model_has_it(self):
        """Compare all that the API tells with the model; at the end, as it is the dearest."""
        for kind, one in KINDS.items():
            told = self.call("GET", f"/billing/{one}s?limit=100").json()["data"]
            assert {row["external_reference"] for row in told} == set(self.book.rows[kind])
            for row in told:
                self.learn(row)
        everyones = self.call("GET", "/billing/payments?limit=100").json()["data"]
        own = self.call("GET", "/partner/payments?limit=100", by="partner").json()["data"]
        taken = [("biller" if row["partner"] is None else "partner", row) for row in everyones]
        known = {key for key, payment in self.book.payments.items() if payment}
        assert {(by, row["external_reference"]) for by, row in taken} == known
        assert {row["id"] for row in own} == {row["id"] for by, row in taken if by == "partner"}
        for by, row in taken:
            self.compare_payment(by, row)
        undone = [key for key, payment in self.book.payments.items() if payment and payment["reversed"]]
        assert Reversal.objects.for_biller(self.biller).count() == len(undone)
        remembered = {reference for (_, reference), payment in self.book.payments.items() if payment is None}
        early = Reference.objects.filter(payment_id=None).values_list("external_reference", flat=True)
        assert set(early) == remembered
        told = Event.objects.for_biller(self.biller).order_by("id").values_list("type", "body__external_reference")
        assert [(name, type_.partition(".")[2]) for type_, name in told] == self.book.events


@pytest.fixture
def silence():
    """Log nothing: what thousands of requests have to say would be kept for a failure's report."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def checked(examples):
    run_state_machine_as_test(
        partial(Billing, Callers()),
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


# Ten tests of 20 runs, for the runs to go to every worker.
@pytest.mark.parametrize("part", range(10))
@pytest.mark.django_db
@pytest.mark.usefixtures("silence")
def test_the_api_agrees_with_a_plain_model_of_it(part):
    checked(20)


@pytest.mark.prove
@pytest.mark.parametrize("part", range(20))
@pytest.mark.django_db
@pytest.mark.usefixtures("silence")
def test_the_api_agrees_with_a_plain_model_of_it_at_length(part):
    checked(100)
