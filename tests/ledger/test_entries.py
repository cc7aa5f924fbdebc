"""Every change of a balance or an amount_paid is an entry, by whichever door: contract, sections 2 and 3."""

from itertools import accumulate

import pytest
import time_machine
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from billers.acts import perform
from billers.models import ApiKey
from bills.models import Bill
from bills.signals import recompute_bills
from customers.models import Customer
from events.models import Event
from ledger.models import Entry
from ledger.signals import posted

CUSTOMER = {"external_reference": "C", "currency": "ZAR", "balance": 30}
ACCOUNT = {"external_reference": "A", "currency": "ZAR", "balance": -20, "customer": CUSTOMER}
BILL = {"external_reference": "B", "currency": "ZAR", "amount_due": 100, "amount_paid": 10, "account": ACCOUNT}
AMOUNTS = {"bills": "amount_paid", "accounts": "balance", "customers": "balance"}
NAMES = {"bills": "B", "accounts": "A", "customers": "C"}
FIELDS = {"id", "obligation", "kind", "amount", "total", "payment_id", "actor", "reason", "created_at"}
every = pytest.mark.parametrize("kind", AMOUNTS)


@pytest.fixture
def records(api):
    """A bill, its account and its customer, each with an amount."""
    assert api.post("/billing/bills", BILL).status_code == 201
    return {kind: api.get(f"/billing/{kind}/{name}").json() for kind, name in NAMES.items()}


def entries(api, query=""):
    """Return the ledger as the API tells it, oldest first."""
    told = api.get(f"/billing/entries?sort=created_at&limit=100{query}")
    assert told.status_code == 200, told.content
    return told.json()["data"]


def test_a_composite_opens_each_amount_with_an_entry_in_the_name_of_the_key(api, records):
    told = entries(api)
    assert [set(entry) for entry in told] == [FIELDS] * 3
    actor = f"key:{ApiKey.objects.get().pk}"
    assert {(entry["obligation"], entry["kind"], entry["amount"], entry["total"]) for entry in told} == {
        (records["customers"]["id"], "opening", 30, 30),
        (records["accounts"]["id"], "opening", -20, -20),
        (records["bills"]["id"], "opening", 10, 10),
    }
    assert {(entry["actor"], entry["reason"], entry["payment_id"]) for entry in told} == {(actor, None, None)}


@every
@pytest.mark.parametrize("how", ["PATCH", "PUT", "nested PATCH", "nested PUT"])
def test_each_way_to_change_an_amount_writes_the_difference(api, records, kind, how):
    field = AMOUNTS[kind]
    start = records[kind][field]
    for amount in (50, 7, 7, 0, 90):
        part = {field: amount}
        path = f"/billing/{kind}/{NAMES[kind]}"
        if how.startswith("nested") and kind != "bills":
            path = "/billing/bills/B"
            named = {"external_reference": NAMES[kind]} if how == "nested PUT" else {}
            part = {kind.removesuffix("s"): {**named, **part}}
        changed = api.call(how.split()[-1], path, part)
        assert changed.status_code == 200, changed.content
        assert api.get(f"/billing/{kind}/{NAMES[kind]}").json()[field] == amount
    told = entries(api, f"&obligation={records[kind]['id']}")
    totals = [start, 50, 7, 0, 90]
    assert [entry["total"] for entry in told] == totals
    assert [entry["amount"] for entry in told] == [start, 50 - start, -43, -7, 90]
    assert [entry["kind"] for entry in told] == ["opening", *["adjustment"] * 4]
    stored = Entry.objects.filter(obligation_kind=kind.removesuffix("s")).order_by("sequence")
    assert list(stored.values_list("sequence", flat=True)) == [1, 2, 3, 4, 5]
    assert list(accumulate(entry.amount for entry in stored)) == [entry.total for entry in stored]
    others = [entry for entry in entries(api) if entry["obligation"] != records[kind]["id"]]
    assert len(others) == 2


def test_each_key_answers_for_its_own_entries(api, api_for, biller, records):
    second = api_for(biller)
    second.patch("/billing/bills/B", {"amount_paid": 60})
    actors = [entry["actor"] for entry in entries(api, f"&obligation={records['bills']['id']}")]
    first_key, second_key = ApiKey.objects.order_by("created_at")
    assert actors == [f"key:{first_key.pk}", f"key:{second_key.pk}"]


@every
def test_a_refused_change_writes_no_entry(api, records, everything, kind):
    before = everything()
    field = AMOUNTS[kind]
    crossed = {"payment_rules": {"min_amount": 2, "max_amount": 1}}
    refused = api.patch(f"/billing/{kind}/{NAMES[kind]}", {field: 77, **crossed})
    assert refused.status_code == 422
    stale = api.patch(f"/billing/{kind}/{NAMES[kind]}", {field: 77}, If_Match='"99"')
    assert stale.status_code == 412
    assert everything() == before


def test_an_entry_is_told_by_nobody_but_the_ledger(api, records):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert api.call(method, "/billing/entries", {}).status_code == 405
    assert "entries" not in records["bills"]


# --- The list ---------------------------------------------------------------------------------------------------------


def test_entries_are_listed_newest_first(api, records):
    for paid in (11, 12, 13):
        api.patch("/billing/bills/B", {"amount_paid": paid})
    listed = api.get("/billing/entries?limit=3").json()
    assert [entry["total"] for entry in listed["data"]] == [13, 12, 11]
    rest = api.get(f"/billing/entries?limit=3&cursor={listed['next_cursor']}").json()
    assert {entry["kind"] for entry in rest["data"]} == {"opening"}
    assert (len(rest["data"]), rest["next_cursor"]) == (3, None)


def test_entries_are_found_by_obligation_kind_payment_and_time(api, records):
    api.patch("/billing/bills/B", {"amount_paid": 60})
    bill = records["bills"]["id"]
    assert [entry["total"] for entry in entries(api, f"&obligation={bill}")] == [10, 60]
    assert [entry["total"] for entry in entries(api, "&kind=adjustment")] == [60]
    assert len(entries(api, "&kind=opening")) == 3
    assert entries(api, f"&kind=opening&obligation={bill}") == entries(api, f"&obligation={bill}")[:1]
    last = entries(api)[-1]["created_at"]
    assert [entry["total"] for entry in entries(api, f"&created_at_gte={last}")] == [60]
    assert len(entries(api, f"&created_at_lte={last}")) == 4
    assert entries(api, "&created_at_lte=2020-01-01") == []


def test_entries_of_a_payment_are_found_by_its_id(api, records):
    bill = api.get("/billing/bills/B").json()
    body = {"external_reference": "P", "currency": bill["currency"], "amount": 90, "method": "eft"}
    payment = api.post("/billing/payments", {**body, "obligation": bill["id"]}, Idempotency_Key="p").json()["id"]
    [told] = entries(api, f"&payment={payment}")
    assert (told["payment_id"], told["kind"], told["amount"], told["total"]) == (payment, "payment", 90, 100)
    assert api.get("/billing/bills/B").json()["status"] == "PAID"


@pytest.mark.parametrize("query", ["obligation=none", "payment=none", f"obligation=bill_{'0' * 22}"])
def test_a_name_of_nothing_finds_nothing(api, records, query):
    assert entries(api, f"&{query}") == []


def test_another_billers_entries_are_not_found(api_for, other, records):
    stranger = api_for(other)
    assert entries(stranger) == entries(stranger, f"&obligation={records['bills']['id']}") == []


@pytest.mark.parametrize("query", ["kind=gift", "colour=red", "created_at_gte=x", "status=PAID", "sort=amount"])
def test_a_filter_that_is_none_is_refused(api, db, query):
    refused = api.get(f"/billing/entries?{query}")
    assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/problem+json")


def test_the_time_of_an_entry_is_the_databases(api, records):
    with time_machine.travel("2020-01-01T00:00:00Z"):
        api.patch("/billing/bills/B", {"amount_paid": 60})
    assert entries(api, f"&obligation={records['bills']['id']}")[-1]["created_at"] > "2026"


# --- What COMMIT refuses ----------------------------------------------------------------------------------------------


def refused_at_commit(write, biller):
    """Return the name of what COMMIT refuses; the statements before it are all taken."""
    reached = []

    def verb(act):
        write(act)
        reached.append(True)

    with pytest.raises(IntegrityError) as caught:
        perform(biller, "test", verb)
    assert reached
    return caught.value.__cause__.diag.constraint_name


def bulk_create(act):
    bill = Bill.objects.get()
    bill.pk, bill.external_reference, bill.entry_count = Bill._meta.pk.get_default(), "copy", 0
    Bill.objects.bulk_create([bill])


def bulk_update(act):
    bill = Bill.objects.get()
    bill.amount_paid = 99
    Bill.objects.bulk_update([bill], ["amount_paid"])


def bulk_entries(act):
    Entry.objects.bulk_create([Entry.of(act, Bill.objects.get(), 5, "adjustment", before=10)])


def save_by_hand(act):
    bill = Bill.objects.get()
    bill.amount_paid = 99
    bill.save()


def sql(statement):
    def write(act):
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return write


FORGETFUL = {
    "bulk_create": (bulk_create, "bill"),
    "bulk_update": (bulk_update, "bill"),
    "entries in bulk": (bulk_entries, "bill"),
    "save": (save_by_hand, "bill"),
    "update": (lambda act: Bill.objects.update(amount_paid=99), "bill"),
    "entry_count": (sql("UPDATE bills_bill SET entry_count = 0"), "bill"),
    "an amount in SQL": (sql("UPDATE bills_bill SET amount_paid = amount_paid + 1"), "bill"),
    "a balance in SQL": (sql("UPDATE customers_customer SET balance = balance - 1"), "customer"),
    "a balance set to 0 in SQL": (sql("UPDATE accounts_account SET balance = 0"), "account"),
    "an entry in SQL": (
        sql(
            """
            INSERT INTO ledger_entry
                (id, biller_id, obligation_kind, obligation_id, sequence, amount, total, kind, actor)
            SELECT gen_random_uuid(), biller_id, 'customer', id, 2, 1, 31, 'adjustment', 'test' FROM customers_customer
            """
        ),
        "customer",
    ),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", FORGETFUL)
def test_a_path_that_forgets_the_ledger_cannot_commit(api, biller, records, everything, path):
    write, kind = FORGETFUL[path]
    before = everything()
    assert refused_at_commit(write, biller) == f"{kind}_agrees_with_ledger"
    assert everything() == before


@pytest.mark.django_db(transaction=True)
def test_a_signal_that_is_missing_cannot_commit_and_its_event_goes_with_it(biller, records, everything):
    before = everything()
    posted.disconnect(recompute_bills, sender=Entry)
    try:
        name = refused_at_commit(lambda act: Bill.objects.amend(act, "B", amount_paid=99), biller)
    finally:
        posted.connect(recompute_bills, sender=Entry)
    assert name == "bill_agrees_with_ledger"
    assert everything() == before


@pytest.mark.django_db(transaction=True)
def test_what_agrees_by_the_end_of_the_transaction_commits(biller, records):
    def verb(act):
        Bill.objects.update(amount_paid=15)
        bulk_entries(act)
        Bill.objects.update(entry_count=2)

    perform(biller, "test", verb)
    assert (Bill.objects.get().amount_paid, Bill.objects.get().entry_count) == (15, 2)


# --- What it costs ----------------------------------------------------------------------------------------------------


def long_history(biller, count):
    """Write `count` entries of bill B in bulk, as an importer may."""

    def write(act):
        bill = Bill.objects.locked().get()
        rows = []
        for sequence in range(bill.entry_count + 1, count + 1):
            bill.entry_count = sequence - 1
            rows.append(Entry.of(act, bill, 1, "import", before=bill.amount_paid + len(rows)))
        Entry.objects.bulk_create(rows, batch_size=1000)
        Bill.objects.recompute(rows[-1:])

    perform(biller, "test", write)


def plan(statement, parameters):
    """Run a statement in EXPLAIN; return how many rows each table gave and each trigger's calls."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        [(found,)] = cursor.fetchall()
    rows = {}

    def walk(node):
        if "Relation Name" in node:
            touched = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
            rows[node["Relation Name"]] = rows.get(node["Relation Name"], 0) + touched
        for child in node.get("Plans", []):
            walk(child)

    walk(found[0]["Plan"])
    return rows


def test_an_entry_costs_the_same_at_the_10_000th_as_at_the_first(api, biller, records):
    api.patch("/billing/bills/B", {"amount_due": 1_000_000})

    def cost():
        paid = api.get("/billing/bills/B").json()["amount_paid"]
        with CaptureQueriesContext(connection) as captured:
            assert api.patch("/billing/bills/B", {"amount_paid": paid + 1}).status_code == 200
        return len(captured)

    def recomputed():
        bill = Bill.objects.get()
        key = Bill._meta.pk.get_db_prep_value(bill.pk, connection)
        tenant = biller._meta.pk.get_db_prep_value(biller.pk, connection)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE ledger_entry")
        return plan(Bill.recompute_sql(), [[key], tenant, tenant])

    few = cost()
    long_history(biller, 10_000)
    assert Bill.objects.get().entry_count == 10_000
    assert cost() == few
    assert recomputed()["ledger_entry"] == 1


@pytest.mark.parametrize("model", [Customer, Account, Bill])
def test_a_recompute_of_other_kinds_writes_nothing(records, model):
    others = [entry for entry in Entry.objects.all() if entry.obligation_kind != model.kind]
    with CaptureQueriesContext(connection) as captured:
        model.objects.recompute(others)
    assert (len(others), len(captured)) == (2, 0)
    assert Event.objects.count() == 3
