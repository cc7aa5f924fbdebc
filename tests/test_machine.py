"""The API beside a plain-Python model of it: after every call, whatever it was, the two agree."""

import json
from collections import defaultdict
from copy import deepcopy

import pytest
from django.db import connection, transaction
from django.test import Client
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Account
from api.authentication import key_ring
from billers.models import ApiKey, Biller
from bills.models import Bill
from core.ids import encode
from customers.models import Customer
from events.models import Event
from ledger.models import PREFIXES, Entry

CURRENCIES = ("ZAR", "JPY")
MOST = 999_999_999_999
references = st.integers(0, 2)
anyone = st.integers(0, 5)
amounts = st.one_of(st.integers(0, 30), st.sampled_from([MOST - 1, MOST]))
balances = st.one_of(st.none(), st.integers(-30, 30))
texts = st.sampled_from(["x", "y", "é", None])
metadata = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]), max_size=2)
patched_metadata = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2", None]), max_size=2)


def some(**strategies):
    """Return a body with some of these fields."""
    return st.fixed_dictionaries({}, optional=strategies)


customer_fields = some(name=texts, currency=st.sampled_from([*CURRENCIES, None]), balance=balances, metadata=metadata)
account_fields = customer_fields
bill_fields = some(amount_paid=amounts, description=texts, metadata=metadata)
bill_changes = some(amount_paid=amounts, amount_due=st.integers(1, 30), description=texts, metadata=patched_metadata)
owner_changes = some(
    name=texts, currency=st.sampled_from([*CURRENCIES, None]), balance=balances, metadata=patched_metadata
)
KINDS = {"C": "customers", "A": "accounts", "B": "bills"}
MODELS = {"C": Customer, "A": Account, "B": Bill}


class Refused(Exception):  # noqa: N818 an answer, not an error
    """What the model says no with: the status and the code that must be answered."""

    def __init__(self, status, *codes):
        super().__init__(status, codes)
        self.status, self.codes = status, codes


class Book:
    """Customers, accounts and bills as the contract tells of them, and nothing else."""

    def __init__(self):
        self.rows = {"C": {}, "A": {}, "B": {}}
        self.ledger = defaultdict(list)
        self.events = []

    @staticmethod
    def amount(kind):
        return "amount_paid" if kind == "B" else "balance"

    def create(self, kind, reference, fields, **owner):
        if reference in self.rows[kind]:
            raise Refused(409, "external_reference_taken")
        defaults = (
            {"amount_paid": 0, "description": None}
            if kind == "B"
            else {"name": None, "currency": None, "balance": None}
        )
        row = {**defaults, "void": False, "metadata": {}, **fields, **owner}
        self.rows[kind][reference] = row
        if row[self.amount(kind)]:
            self.ledger[kind, reference].append(("opening", row[self.amount(kind)]))
        self.events.append((kind, reference, "created"))
        self.judge(kind, row)
        return row

    def judge(self, kind, row):
        one = KINDS[kind].removesuffix("s")
        if kind != "B" and row["balance"] is not None and row["currency"] is None:
            raise Refused(422, f"{one}_balance_needs_currency")

    @staticmethod
    def status(kind, row):
        if kind != "B":
            return None
        if row["void"]:
            return "VOIDED"
        return "PAID" if row["amount_paid"] >= row["amount_due"] else "UNPAID"

    def change(self, kind, reference, changes):
        row = self.rows[kind][reference]
        one = KINDS[kind].removesuffix("s")
        merged = {**row["metadata"], **changes.get("metadata", {})}
        changes = {**changes, "metadata": {key: value for key, value in merged.items() if value is not None}}
        changed = {name: value for name, value in changes.items() if row[name] != value}
        if not changed:
            return False
        if row["void"] and set(changed) - {"metadata"}:
            raise Refused(409, "bill_voided")
        broken = []
        if kind != "B":
            if "balance" in changed and changed["balance"] is None and row["balance"]:
                broken.append(f"{one}_balance_not_zero")
            if "currency" in changed and row["balance"]:
                broken.append(f"{one}_currency_fixed_by_balance")
        if broken:
            raise Refused(422, *broken)
        was, before = self.status(kind, row), row[self.amount(kind)] or 0
        row.update(changed)
        self.judge(kind, row)
        after = row[self.amount(kind)] or 0
        if after != before:
            self.ledger[kind, reference].append(("adjustment", after - before))
        self.events.append((kind, reference, "updated"))
        if self.status(kind, row) == "PAID" != was:
            self.events.append((kind, reference, "paid"))
        return True


class Billing(RuleBasedStateMachine):
    """Two billers call the API; only the first one's book changes."""

    def __init__(self):
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        key_ring.forget()
        self.biller = Biller.objects.found(name="Ours", reference="ours")["live"]
        self.theirs = Biller.objects.found(name="Theirs", reference="theirs")["live"]
        self.keys = [ApiKey.objects.issue(biller)[1] for biller in (self.biller, self.theirs)]
        self.client = Client(raise_request_exception=False)
        self.book = Book()
        self.kept = []
        self.number = 0

    def teardown(self):
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @initialize()
    def fill_the_other_billers_books(self):
        bill = {"external_reference": "B0", "currency": "ZAR", "amount_due": 5, "amount_paid": 3}
        customer = {"external_reference": "C0", "currency": "ZAR", "balance": 8}
        account = {"external_reference": "A0", "currency": "ZAR", "balance": -8, "customer": customer}
        assert self.call("POST", "bills", {**bill, "account": account}, key=1).status_code == 201
        self.foreign = self.books_of(self.theirs)
        self.foreign_ids = {kind: self.call("GET", path, key=1).json()["data"][0]["id"] for kind, path in KINDS.items()}

    def books_of(self, biller):
        tables = (*MODELS.values(), Entry, Event)
        return [list(table.objects.for_biller(biller).order_by("id").values()) for table in tables]

    def call(self, method, path, body=None, *, key=0, **headers):
        with transaction.atomic():
            response = self.client.generic(
                method,
                f"/billing/{path}",
                b"" if body is None else json.dumps(body).encode(),
                content_type="application/json",
                headers={"Authorization": f"Bearer {self.keys[key]}", **headers},
            )
            # What COMMIT would check, it checks now.
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        return response

    def expect(self, method, path, body, change, *, created=201, idempotent=True):
        """Make the call, and the change of the model; they must be answered alike."""
        before = deepcopy(self.book)
        try:
            is_new = change()
            expected = (created if is_new else 200, ())
        except Refused as refusal:
            self.book = before
            expected = (refusal.status, refusal.codes)
        self.number += 1
        headers = {"Idempotency-Key": f"key-{self.number}"} if idempotent else {}
        response = self.call(method, path, body, **headers)
        assert response.status_code == expected[0], (method, path, body, response.content, expected)
        if response.status_code >= 400:
            assert response.json()["code"] in expected[1], (response.content, expected)
        elif idempotent:
            self.kept.append((method, path, body, headers, response))
        return response

    # --- What callers do ---

    @rule(number=references, fields=customer_fields)
    def create_a_customer(self, number, fields):
        name = f"C{number}"
        body = {"external_reference": name, **fields}
        self.expect("POST", "customers", body, lambda: self.book.create("C", name, fields))

    @rule(number=references, owner=references, fields=account_fields)
    def create_an_account_of_an_existing_customer(self, number, owner, fields):
        def change():
            if f"C{owner}" not in self.book.rows["C"]:
                raise Refused(422, "customer_not_found")
            return self.book.create("A", f"A{number}", fields, customer=f"C{owner}")

        body = {"external_reference": f"A{number}", "customer": f"C{owner}", **fields}
        self.expect("POST", "accounts", body, change)

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
            taken = [name for name in names if name in self.book.rows[name[0]] and (with_account or name[0] != "A")]
            if taken:
                raise Refused(409, "external_reference_taken")
            self.book.create("C", names[0], fields[0])
            if with_account:
                self.book.create("A", names[1], fields[1], customer=names[0])
            account = names[1] if with_account else None
            self.book.create("B", names[2], {**terms, **fields[2]}, customer=names[0], account=account)
            self.tell_if_paid(names[2])
            return True

        customer = {"external_reference": names[0], **fields[0]}
        account = {"external_reference": names[1], "customer": customer, **fields[1]}
        owner = {"account": account} if with_account else {"customer": customer}
        self.expect("POST", "bills", {"external_reference": names[2], **terms, **fields[2], **owner}, change)

    def tell_if_paid(self, name):
        if Book.status("B", self.book.rows["B"][name]) == "PAID":
            self.book.events.append(("B", name, "paid"))

    @rule(
        number=references,
        owner=st.tuples(st.sampled_from("CA"), references),
        fields=bill_fields,
        due=st.integers(1, 30),
    )
    def create_a_bill_of_an_existing_owner(self, number, owner, fields, due):
        name, named = f"B{number}", f"{owner[0]}{owner[1]}"
        terms = {"currency": "ZAR", "amount_due": due}
        kind = KINDS[owner[0]].removesuffix("s")

        def change():
            if named not in self.book.rows[owner[0]]:
                raise Refused(422, f"{kind}_not_found")
            account = named if owner[0] == "A" else None
            customer = self.book.rows["A"][named]["customer"] if account else named
            self.book.create("B", name, {**terms, **fields}, customer=customer, account=account)
            self.tell_if_paid(name)
            return True

        self.expect("POST", "bills", {"external_reference": name, **terms, **fields, kind: named}, change)

    @rule(number=references, fields=owner_changes)
    def put_a_customer(self, number, fields):
        name = f"C{number}"
        self.expect("PUT", f"customers/{name}", fields, lambda: self.settled("C", name, fields))

    def settled(self, kind, name, fields, **owner):
        """Create or update; return whether it is new."""
        if name in self.book.rows[kind]:
            self.book.change(kind, name, fields)
            return False
        kept = {key: value for key, value in fields.get("metadata", {}).items() if value is not None}
        self.book.create(kind, name, {**fields, "metadata": kept}, **owner)
        return True

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
            if names[0] in book.rows["C"]:
                book.change("C", names[0], fields[0])
            if account and account["customer"] != names[0]:
                raise Refused(409, "account_customer_fixed")
            if account:
                book.change("A", names[1], fields[1])
            if known:
                moved = (known["customer"], known["account"]) != (names[0], names[1])
                codes = ["bill_owner_fixed"] * moved + ["bill_currency_fixed"] * (known["currency"] != "ZAR")
                if codes:
                    raise Refused(409, *codes)
            if names[0] not in book.rows["C"]:
                self.settled("C", names[0], fields[0])
            if not account:
                self.settled("A", names[1], fields[1], customer=names[0])
            is_new = self.settled("B", names[2], terms, customer=names[0], account=names[1])
            if is_new:
                self.tell_if_paid(names[2])
            return is_new

        customer = {"external_reference": names[0], **fields[0]}
        account = {"external_reference": names[1], "customer": customer, **fields[1]}
        self.expect("PUT", f"bills/{names[2]}", {**terms, "account": account}, change)

    @rule(kind=st.sampled_from("CA"), which=anyone, fields=owner_changes)
    def patch_an_owner(self, kind, which, fields):
        name = self.existing(kind, which)

        def change():
            self.book.change(kind, name, fields)

        self.expect("PATCH", f"{KINDS[kind]}/{name}", fields, change)

    @rule(
        which=anyone,
        fields=bill_changes,
        customer=st.one_of(st.just({}), owner_changes),
        account=st.one_of(st.just({}), owner_changes),
    )
    def patch_a_bill_and_its_owners(self, which, fields, customer, account):
        name = self.existing("B", which)

        def change():
            bill = self.book.rows["B"][name]
            if account and bill["account"] is None:
                raise Refused(422, "bill_without_account")
            self.book.change("C", bill["customer"], customer)
            if account:
                self.book.change("A", bill["account"], account)
            self.book.change("B", name, fields)

        body = {**fields, **({"customer": customer} if customer else {}), **({"account": account} if account else {})}
        self.expect("PATCH", f"bills/{name}", body, change)

    def existing(self, kind, which):
        """Return the name of a record that is there."""
        names = sorted(self.book.rows[kind])
        assume(names)
        return names[which % len(names)]

    @rule(which=anyone)
    def void_a_bill(self, which):
        name = self.existing("B", which)

        def change():
            bill = self.book.rows["B"][name]
            if bill["void"]:
                raise Refused(409, "bill_voided")
            if bill["amount_paid"]:
                raise Refused(409, "bill_has_payments")
            bill["void"] = True
            self.book.events.append(("B", name, "voided"))

        self.expect("POST", f"bills/{name}/void", {}, change)

    @precondition(lambda self: self.kept)
    @rule(which=st.integers(0, 1000), stale=st.booleans())
    def repeat_a_request_under_its_key(self, which, stale):
        method, path, body, headers, first = self.kept[which % len(self.kept)]
        again = self.call(method, path, body, **headers, **({"If-Match": '"999"'} if stale else {}))
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.headers.get("ETag") == first.headers.get("ETag")

    @precondition(lambda self: self.kept)
    @rule(which=st.integers(0, 1000), name=texts)
    def use_a_key_for_another_request(self, which, name):
        _, _, _, headers, _ = self.kept[which % len(self.kept)]
        refused = self.call("PUT", "customers/C0", {"name": name, "email": "never@example.com"}, **headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")

    @rule(kind=st.sampled_from("CAB"), which=anyone, sent=patched_metadata, behind=st.integers(1, 3))
    def patch_with_a_stale_version(self, kind, which, sent, behind):
        name, fields = self.existing(kind, which), {"metadata": sent}
        path = f"{KINDS[kind]}/{name}"
        version = int(self.call("GET", path).headers["ETag"].strip('"'))
        stale = self.call("PATCH", path, fields, **{"If-Match": f'"{version - behind}"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale")
        current = self.call("PATCH", path, fields, **{"If-Match": f'"{version}"'})
        assert current.status_code == 200
        changed = self.book.change(kind, name, fields)
        assert (current.headers["ETag"] != f'"{version}"') == changed

    @rule(kind=st.sampled_from("CAB"))
    def reach_for_the_other_billers_record(self, kind):
        foreign = self.foreign_ids[kind]
        for method, body in (("GET", None), ("PATCH", {"metadata": {"a": "b"}})):
            assert self.call(method, f"{KINDS[kind]}/{foreign}", body).status_code == 404

    # --- What holds after each ---

    @invariant()
    def the_other_billers_books_are_as_they_were(self):
        assert self.books_of(self.theirs) == self.foreign

    @invariant()
    def every_record_is_as_the_model_has_it(self):
        told = {kind: self.call("GET", f"{path}?limit=100").json()["data"] for kind, path in KINDS.items()}
        ids = {}
        for kind, path in KINDS.items():
            rows = {row["external_reference"]: row for row in told[kind]}
            assert set(rows) == set(self.book.rows[kind]), path
            ids |= {name: row["id"] for name, row in rows.items()}
        for kind in KINDS:
            for row in told[kind]:
                self.compare(kind, row, self.book.rows[kind][row["external_reference"]], ids)
        assert len(set(ids.values())) == len(ids)

    def compare(self, kind, row, model, ids):
        same = (
            ("amount_due", "amount_paid", "description", "currency") if kind == "B" else ("name", "currency", "balance")
        )
        assert {name: row[name] for name in (*same, "metadata")} == {name: model[name] for name in (*same, "metadata")}
        if kind != "C":
            assert row["customer_id"] == ids[model["customer"]]
        if kind == "B":
            assert row["account_id"] == (ids[model["account"]] if model["account"] else None)
            assert row["status"] == Book.status("B", model)
            due, paid = model["amount_due"], model["amount_paid"]
            assert (row["amount_remaining"], row["amount_overpaid"]) == (max(due - paid, 0), max(paid - due, 0))

    @invariant()
    def every_amount_is_the_sum_of_its_entries(self):
        names = {encode(PREFIXES[kind], key): (kind[0].upper(), reference) for kind, key, reference in self.named()}
        found = defaultdict(list)
        entries = Entry.objects.for_biller(self.biller).order_by("obligation_id", "sequence")
        for entry in entries:
            story = found[names[entry.obligation]]
            story.append((entry.kind, entry.amount))
            assert entry.sequence == len(story)
            assert entry.total == sum(amount for _, amount in story)
        assert dict(found) == {key: story for key, story in self.book.ledger.items() if story}
        for (kind, name), story in found.items():
            amount = self.book.rows[kind][name][Book.amount(kind)] or 0
            assert amount == sum(change for _, change in story)

    def named(self):
        for model in MODELS.values():
            for key, reference in model.objects.for_biller(self.biller).values_list("id", "external_reference"):
                yield model.kind, model._meta.pk.get_db_prep_value(key, connection), reference

    @invariant()
    def what_happened_was_told_in_its_order_and_nothing_else(self):
        told = Event.objects.for_biller(self.biller).order_by("id").values_list("type", "body__external_reference")
        short = [(type_[0].upper(), name, type_.partition(".")[2]) for type_, name in told]
        assert short == self.book.events


@pytest.mark.django_db
def test_the_api_agrees_with_a_plain_model_of_it():
    checked(examples=8, steps=25)


@pytest.mark.prove
@pytest.mark.django_db
def test_the_api_agrees_with_a_plain_model_of_it_at_length():
    checked(examples=60, steps=60)


def checked(examples, steps):
    run_state_machine_as_test(
        Billing,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
