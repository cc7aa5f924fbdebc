"""The bulk path and the verbs, on the same random rows, leave the same records and refuse the same rows."""

import random
from datetime import date

import pytest
from django.db.models import Sum
from sheets import row, sheet

from accounts.models import Account
from billers.acts import perform
from billers.models import Biller
from bills.models import Bill
from core.money import MAX_AMOUNT
from core.refusals import Refusal
from customers.models import Customer
from ledger.models import Entry

CURRENCIES = {"C0": "ZAR", "C1": "JPY", "C2": "KWD"}
"""One for each customer: which of two in one file is meant is said by the last row, not by the order of writing."""


@pytest.fixture
def biller(modes):
    """The one that files are imported for."""
    return modes["live"]


@pytest.fixture
def modes(transactional_db):
    """One biller in live mode, for the files, and in test mode, for the verbs; both begin with the same records."""
    pair = Biller.objects.found(name="Acme", reference="acme")

    def begin(act):
        customer = {"external_reference": "C0", "name": "Ann", "currency": "ZAR", "balance": 70}
        account = {"external_reference": "A0", "customer": customer, "currency": "ZAR", "balance": 0}
        bill = {"currency": "ZAR", "amount_due": 100, "bill_date": date(2026, 1, 1)}
        Bill.objects.put(act, "B0", account=account, amount_paid=40, description="First", **bill)

    def go_on(act):
        bill = {"currency": "ZAR", "amount_due": 100, "bill_date": date(2026, 1, 1)}
        Bill.objects.put(act, "B1", customer="C0", metadata={f"k{n}": "v" for n in range(9)}, **bill)
        void, _ = Bill.objects.put(act, "B2", customer="C0", due_date=date(2026, 3, 1), **bill)
        Bill.objects.void(act, void.pk)

    for biller in pair.values():
        perform(biller, "api:test", begin)
        perform(biller, "api:test", go_on)
    return pair


def random_row(chance):
    """Return a row that may be good, and may break any rule that the database and the verbs hold."""

    def maybe(odds, name, *values):
        return {name: chance.choice(values)} if chance.random() < odds else {}

    customer = chance.choice(["C0", "C1", "C2"])
    told = {
        **row(f"B{chance.randrange(100)}", currency=None, amount_due=None, customer_external_reference=None),
        **maybe(0.9, "currency", "ZAR", "ZAR", "ZAR", "JPY", "zar"),
        **maybe(0.9, "amount_due", 100, 100, 250, 1, MAX_AMOUNT, 0, MAX_AMOUNT + 1),
        **maybe(0.5, "amount_paid", 0, 40, 100, 250, -1),
        **maybe(0.4, "bill_date", "2026-01-01", "2026-01-01", "2026-01-02"),
        **maybe(0.4, "due_date", "2026-03-01", "2026-04-01"),
        **maybe(0.3, "description", "First", "Second"),
        **maybe(0.2, "metadata.k0", "v", "w"),
        **maybe(0.2, "metadata.other", "v"),
        **maybe(0.2, "metadata.more", "v"),
    }
    if chance.random() < 0.95:
        told |= {"customer_external_reference": customer}
        told |= maybe(0.3, "customer_name", "Ann", "Bob")
        if chance.random() < 0.3:
            # Never 0 where another row asks for a new currency: row by row, the order of the two would decide.
            balance = chance.choice([70, -5] if customer == "C0" else [0, 70, -5])
            told |= {"customer_balance": balance, "customer_currency": CURRENCIES[customer]}
        told |= {"customer_currency": "USD"} if customer == "C0" and chance.random() < 0.1 else {}
    if chance.random() < 0.5:
        mine = f"A{customer[1]}"
        account = chance.choice([mine, mine, mine, "A0"])
        if "customer_external_reference" in told or account == "A0":
            told |= {"account_external_reference": account} | maybe(0.3, "account_name", "Meter", "Yard")
    return told


def put(biller, told):
    """Write one row by the verbs; tell whether it was accepted."""
    fields, customer, account = {}, {}, {}
    for column, value in told.items():
        parent, under, name = column.partition("_")
        place = {"customer": customer, "account": account}.get(parent, fields) if under else fields
        name = column if place is fields else name
        if name.startswith("metadata."):
            place.setdefault("metadata", {})[name.removeprefix("metadata.")] = value
        else:
            place[name] = date.fromisoformat(value) if name.endswith("_date") else value
    reference = fields.pop("external_reference")
    try:
        perform(
            biller,
            "import_bills",
            lambda act: Bill.objects.put(act, reference, customer=customer or None, account=account or None, **fields),
        )
    except Refusal:
        return False
    return True


def left(biller):
    """Everything a biller has, without what differs between any two runs: ids, versions, moments."""
    beside = {"customer": (), "account": ("customer__external_reference",)}
    beside["bill"] = ("customer__external_reference", "account__external_reference", "status", "currency", "bill_date")
    columns = {
        Customer: ("name", "currency", "balance"),
        Account: ("name", "currency", "balance"),
        Bill: ("amount_due", "amount_paid", "due_date", "description"),
    }
    records = {
        model.kind: sorted(
            model.objects.for_biller(biller).values_list(
                "external_reference", "metadata", *columns[model], *beside[model.kind]
            ),
            key=repr,
        )
        for model in columns
    }
    sums = Entry.objects.for_biller(biller).values_list("obligation_kind").annotate(sum=Sum("amount"))
    return records | {"entries": sorted(sums.exclude(sum=0))}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.prove) for seed in range(3, 40))])
def test_a_file_and_the_verbs_agree(modes, bring, seed):
    chance = random.Random(seed)
    for _ in range(3):  # the later files find the bills of the earlier ones
        rows = [random_row(chance) for _ in range(100)]
        run = bring(sheet(*rows))
        seen, expected = set(), set()
        for line, told in enumerate(rows, start=2):
            duplicate = told["external_reference"] in seen
            seen.add(told["external_reference"])
            if duplicate or not put(modes["test"], told):
                expected.add(line)
        refused = run.codes() if run.rejected else {}
        more = {line: (refused.get(line), rows[line - 2]) for line in {*refused} ^ expected}
        assert not more
        assert left(modes["live"]) == left(modes["test"])
        assert (run.read, run.rejected) == (100, len(expected))
        assert run.created + run.updated + run.unchanged == 100 - len(expected)
