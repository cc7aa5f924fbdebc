"""Files of customers and of accounts: the rules of PUT, a record each row; contract, section 4."""

import pytest
from sheets import sheet

from accounts.models import Account
from billers.acts import perform
from customers.models import Customer
from events.models import Event
from imports.models import Import
from ledger.models import Entry


def customer(reference="C1", **fields):
    return {"external_reference": reference, **fields}


def account(reference="A1", **fields):
    return {"external_reference": reference, "customer_external_reference": "C1", **fields}


@pytest.fixture
def customers(bring):
    """Import rows of customers."""
    return lambda *rows, options=(): bring(sheet(*rows), *options, kind="customers", name="customers.csv")


@pytest.fixture
def accounts(bring):
    """Import rows of accounts."""
    return lambda *rows, options=(): bring(sheet(*rows), *options, kind="accounts", name="accounts.csv")


ANN = {"name": "Ann", "email": "ann@example.com", "phone": "+27821234567", "currency": "ZAR", "balance": 2000}


def test_customers_are_created_with_all_that_a_row_tells(customers):
    run = customers(
        customer(**ANN, **{"metadata.meter": "7"}), customer("C2", name="Bob"), customer("C3", currency="USD")
    )
    assert (run.code, run.read, run.created, run.updated, run.unchanged) == (0, 3, 3, 0, 0)
    assert run.customers == {"created": 3, "updated": 0}
    assert run.totals == {"ZAR": {"balance": 2000}}
    ann, bob, _ = Customer.objects.order_by("external_reference")
    assert {name: getattr(ann, name) for name in ANN} == ANN
    assert ann.metadata == {"meter": "7"}
    assert (bob.name, bob.currency, bob.balance, bob.metadata) == ("Bob", None, None, {})
    assert [*Entry.objects.values_list("obligation_kind", "kind", "amount", "total", "actor")] == [
        ("customer", "import", 2000, 2000, "import_customers")
    ]


def test_a_customer_that_exists_is_updated_where_a_cell_says_something(customers):
    customers(customer(**ANN))
    run = customers(customer(balance=500, name="", email="new@example.com"))
    assert (run.created, run.updated, run.unchanged, run.totals) == (0, 1, 0, {"ZAR": {"balance": 500}})
    ann = Customer.objects.get()
    assert (ann.name, ann.email, ann.balance, ann.version, ann.entry_count) == ("Ann", "new@example.com", 500, 2, 2)
    assert [*Entry.objects.order_by("sequence").values_list("amount", "total")] == [(2000, 2000), (-1500, 500)]


@pytest.mark.parametrize("kind", ["customers", "accounts"])
def test_the_same_file_twice_changes_nothing(bring, stored, kind):
    rows = [{"external_reference": f"R{number}", "currency": "ZAR", "balance": number} for number in range(50)]
    rows = [{**told, "customer_external_reference": "C1"} if kind == "accounts" else told for told in rows]
    bring(sheet(*rows), kind=kind)
    before = stored()
    run = bring(sheet(*rows), kind=kind)
    assert (run.code, run.created, run.updated, run.unchanged) == (0, 0, 0, 50)
    assert run.totals == {"ZAR": {"balance": sum(range(50))}}
    assert stored() == before


def test_accounts_are_created_with_their_customers(accounts):
    run = accounts(
        account(name="Primary", currency="ZAR", balance=5000, customer_name="John Doe"),
        account("A2", name="Secondary", currency="ZAR", balance=2000),
        account("A3", customer_external_reference="C2", **{"metadata.meter": "7", "customer_metadata.route": "9"}),
    )
    assert (run.code, run.created) == (0, 3)
    assert (run.customers, run.accounts) == ({"created": 2, "updated": 0}, {"created": 3, "updated": 0})
    assert run.totals == {"ZAR": {"balance": 7000}}
    told = Account.objects.order_by("external_reference").values_list(
        "external_reference", "name", "balance", "metadata", "customer__external_reference", "customer__name"
    )
    assert [*told] == [
        ("A1", "Primary", 5000, {}, "C1", "John Doe"),
        ("A2", "Secondary", 2000, {}, "C1", "John Doe"),
        ("A3", None, None, {"meter": "7"}, "C2", None),
    ]
    assert Customer.objects.get(external_reference="C2").metadata == {"route": "9"}


def test_an_account_stays_with_its_customer(accounts, stored):
    accounts(account(currency="ZAR", balance=10))
    before = stored()
    run = accounts(account(customer_external_reference="C2", balance=20))
    assert (run.code, run.codes()) == (2, {2: ["account_of_another_customer"]})
    assert stored() == before
    assert accounts(account(customer_external_reference="", balance=20)).updated == 1


def test_a_new_account_needs_its_customer(accounts):
    run = accounts(account(customer_external_reference="", name="Lost"))
    assert (run.code, run.codes()) == (2, {2: ["required"]})
    assert (Account.objects.count(), Customer.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"balance": "1.5", "currency": "ZAR"}, "invalid_type"),
        ({"balance": 1}, "customer_balance_needs_currency"),
        ({"currency": "zar"}, "invalid_currency"),
        ({"email": "nobody"}, "invalid_email"),
        ({"phone": "0821234567"}, "invalid_phone"),
        ({"name": "n" * 256}, "too_long"),
        ({"external_reference": " C1"}, "invalid_reference"),
        ({"external_reference": ""}, "required"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_and_the_others_are_written(customers, told, code):
    run = customers(customer("C0", name="Good"), customer(**told))
    assert (run.code, run.created, run.rejected) == (1, 1, 1)
    assert run.codes() == {3: [code]}
    assert [*Customer.objects.values_list("external_reference", flat=True)] == ["C0"]


def test_the_refusals_name_the_columns_of_the_file(customers):
    run = customers(customer(balance="x", currency="ZAR", email="nobody"))
    assert [told.partition(":")[0] for told in run.errors[0]["_errors"].split(") ")] == ["balance", "email"]


def test_a_reference_is_in_a_file_once(customers, accounts):
    assert customers(customer(), customer("C2"), customer()).codes() == {4: ["duplicate_in_file"]}
    assert accounts(account(), account("A2"), account()).codes() == {4: ["duplicate_in_file"]}
    assert (Customer.objects.count(), Account.objects.count()) == (2, 2)


def test_the_currency_of_a_balance_stays(customers, stored):
    customers(customer(**ANN))
    before = stored()
    run = customers(customer(currency="USD"))
    assert (run.code, run.codes()) == (2, {2: ["customer_currency_fixed_by_balance"]})
    assert stored() == before


def test_the_currency_option_is_every_rows(customers):
    run = customers(customer(balance=20), customer("C2", balance=30), options=["--currency", "ZAR"])
    assert (run.code, run.totals) == (0, {"ZAR": {"balance": 50}})
    assert {*Customer.objects.values_list("currency", flat=True)} == {"ZAR"}


def test_balances_in_major_units_are_read_by_their_currency(customers):
    customers(
        customer("C1", currency="JPY", balance="20"),
        customer("C2", currency="KWD", balance="-20.000"),
        options=["--amounts", "major"],
    )
    assert [*Customer.objects.order_by("external_reference").values_list("balance", flat=True)] == [20, -20000]
    run = customers(customer("C2", balance="1.5"), options=["--amounts", "major"])
    assert (run.code, Customer.objects.get(external_reference="C2").balance) == (0, 1500)


@pytest.mark.parametrize("kind", ["customers", "accounts"])
def test_a_dry_run_tells_the_same_and_writes_nothing(bring, stored, kind):
    first = [account("R0", currency="ZAR", balance=5), account("R1", currency="ZAR", balance=6)]
    second = [*first[:1], account("R1", balance=7), account("R2", name="New"), account("R3", balance="x")]
    if kind == "customers":
        for told in (*first, *second):
            told.pop("customer_external_reference", None)
    bring(sheet(*first), kind=kind)
    before = stored()
    dry = bring(sheet(*second), "--dry-run", kind=kind)
    assert stored() == before
    assert not Import.objects.exclude(phase="completed").exists()
    real = bring(sheet(*second), kind=kind)
    assert dry.report == real.report
    assert (real.created, real.updated, real.unchanged, real.rejected) == (1, 1, 1, 1)


def test_a_column_of_another_kind_of_file_is_unknown(bring):
    for kind, column in (("customers", "amount_due"), ("customers", "customer_name"), ("accounts", "account_name")):
        run = bring(f"external_reference,{column}\nX,1\n", kind=kind)
        assert (run.code, column in run.err) == (2, True)
    assert not Customer.objects.exists()


def test_events_are_told_when_asked_for(customers):
    customers(customer(**ANN), options=["--events"])
    customers(customer(balance=500), options=["--events"])
    told = Event.objects.exclude(type="import.completed").order_by("pk")
    assert [*told.values_list("type", flat=True)] == ["customer.created", "customer.updated"]
    assert told[1].body["balance"] == 500


def test_an_amount_is_not_read_by_the_currency_of_another_billers_record(customers, other):
    told = {"external_reference": "C1", "currency": "JPY", "balance": 20}
    perform(other, "api:test", lambda act: Customer.objects.enrol(act, **told))
    run = customers(customer(balance="20"), options=["--amounts", "major"])
    assert (run.code, run.codes()) == (2, {2: ["currency_needed"]})
