"""What PostgreSQL itself refuses, whichever path writes: named rules, composite keys, the ledger, the audit trail."""

import json
import uuid
from functools import partial

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import Account
from billers.acts import perform
from billers.models import ApiKey, Biller, Enablement, Partner
from bills.models import Bill
from core.audit import History
from core.money import MAX_AMOUNT
from core.refusals import Conflict, ReferenceTaken, RuleBroken, explain, rules
from core.rules import AppendOnly, Rule
from customers.models import Customer
from events.models import Delivery, Event, WebhookEndpoint
from imports.models import Import, Piece
from ledger.models import Entry
from payments.models import PayerReference, Payment, Reference, Reversal

COMPOSITE = {
    "external_reference": "INV-1",
    "currency": "ZAR",
    "amount_due": 2000,
    "amount_paid": 500,
    "account": {
        "external_reference": "ACC-1",
        "currency": "ZAR",
        "balance": 700,
        "customer": {"external_reference": "C-1", "currency": "ZAR", "balance": 900},
    },
}
LABELS = ["customers", "accounts", "bills", "ledger", "events", "billers", "payments", "imports"]
DAY = "2026-01-01"
ELEVEN = {str(number): "x" for number in range(11)}
OF_EVERY_RECORD = {
    "external_reference_printable": {"external_reference": " padded"},
    "metadata_at_most_10_keys": {"metadata": ELEVEN},
    "metadata_is_text": {"metadata": {"a": 1}},
    "min_amount_above_max_amount": {"payment_rules": {"min_amount": 2, "max_amount": 1}},
}
OF_EVERY_BALANCE = {
    "balance_needs_currency": {"balance": 1, "currency": None},
    "balance_in_range": {"balance": MAX_AMOUNT + 1},
    "currency_well_formed": {"currency": "zar"},
    "currency_fixed_by_balance": {"currency": "USD"},
    "currency_fixed_by_payments": {"currency": "USD"},
    "balance_not_zero": {"balance": None},
}
OF_EVERY_LEDGER = {"biller_fixed": {"biller_id": uuid.uuid4()}, "has_entries": "removal"}
BREAKS = {
    **{f"{model.kind}_{n}": (model, c) for model in (Customer, Account, Bill) for n, c in OF_EVERY_LEDGER.items()},
    **{f"customer_{name}": (Customer, change) for name, change in {**OF_EVERY_RECORD, **OF_EVERY_BALANCE}.items()},
    **{f"account_{name}": (Account, change) for name, change in {**OF_EVERY_RECORD, **OF_EVERY_BALANCE}.items()},
    **{f"bill_{name}": (Bill, change) for name, change in OF_EVERY_RECORD.items()},
    "account_customer_fixed": (Account, {"customer_id": uuid.uuid4()}),
    "bill_amount_due_positive": (Bill, {"amount_due": 0}),
    "bill_amount_paid_in_range": (Bill, {"amount_paid": -1}),
    "amount_paid_below_payments": (Bill, {"amount_paid": 0}),
    "bill_currency_well_formed": (Bill, {"currency": "R"}),
    "bill_has_payments": (Bill, {"voided_at": timezone.now()}),
    "bill_voided": (Bill, {"amount_due": F("amount_due") + 1}),
    "bill_owner_fixed": (Bill, {"account_id": None}),
    "bill_currency_fixed": (Bill, {"currency": "USD"}),
    "bill_date_fixed": (Bill, {"bill_date": "2020-01-01"}),
    "entry_kind_known": (Entry, {"kind": "gift"}),
    "entry_names_its_payment": (Entry, {"kind": "payment", "payment_id": None}),
    "payment_amount_positive": (Payment, {"amount": 0}),
    "payment_currency_well_formed": (Payment, {"currency": "R"}),
    "payment_method_known": (Payment, {"method": "barter"}),
    "payment_external_reference_well_formed": (Payment, {"external_reference": "a b"}),
    "reference_of_payment_or_reversal": (Reference, {"reason": "x"}),
    "payer_reference_is_digits": (PayerReference, {"digits": "a"}),
    "payer_reference_of_one": (PayerReference, {"customer_id": None, "account_id": None, "bill_id": None}),
    "event_type_known": (Event, {"type": "bill.lost"}),
    "webhook_endpoint_url_https": (WebhookEndpoint, {"url": "http://hooks.example/"}),
    "webhook_endpoint_events_known": (WebhookEndpoint, {"events": ["bill.lost"]}),
    "webhook_endpoint_disabled_why": (WebhookEndpoint, {"enabled": False}),
    "delivery_due_while_pending": (Delivery, {"due_at": None}),
    "import_phase_known": (Import, {"phase": "lost"}),
    "payment_metadata_at_most_10_keys": (Payment, {"metadata": ELEVEN}),
    "payment_metadata_is_text": (Payment, {"metadata": {"a": 1}}),
    "import_kind_known": (Import, {"kind": "lost"}),
    "import_ended_at_its_end": (Import, {"finished_at": timezone.now()}),
    "piece_of_known_file": (Piece, {"what": "lost"}),
    "biller_mode_known": (Biller, {"mode": "both"}),
    "biller_billing_model_known": (Biller, {"billing_model": "barter"}),
    "biller_country_well_formed": (Biller, {"country": "za"}),
    "partner_mode_known": (Partner, {"mode": "both"}),
    "api_key_scope_known": (ApiKey, {"scope": "admin"}),
    "api_key_of_biller_or_partner": (ApiKey, {"biller": None}),
}
CONFLICTS = {
    *(f"{kind}_{name}" for kind in ("customer", "account", "bill") for name in OF_EVERY_LEDGER),
    *("account_customer_fixed", "bill_has_payments", "bill_voided"),
    *("bill_owner_fixed", "bill_currency_fixed", "bill_date_fixed"),
}
UNTRIGGERED = {
    "bill_currency_well_formed": "bills_bill",
    "entry_kind_known": "ledger_entry",
    "entry_names_its_payment": "ledger_entry",
    **{name: "payments_payment" for name in BREAKS if name.startswith("payment_")},
    **{name: "payments_payerreference" for name in BREAKS if name.startswith("payer_reference_")},
}
"""Where a trigger speaks before the check can: the check itself is met with the triggers off."""
for _kind, _table in (("customer", "customers_customer"), ("account", "accounts_account")):
    UNTRIGGERED |= {f"{_kind}_balance_needs_currency": _table, f"{_kind}_currency_well_formed": _table}


@pytest.fixture
def bill(api, partners):
    """A bill with money on it, under an account and a customer that have a balance."""
    assert api.post("/billing/webhook_endpoints", {"url": "https://hooks.example/"}).status_code == 201
    assert api.post("/billing/bills", COMPOSITE).status_code == 201
    assert api.get("/billing/events").status_code == 200
    bill = Bill.objects.get()
    sent = api.call("POST", "/billing/imports?kind=bills", b"a,b\n", Content_Type="text/csv")
    assert sent.status_code == 202
    check_now()
    return bill


@pytest.fixture
def paid(api, bill):
    """The bill, with a payment of its biller, and one of either balance, beside what it was issued with."""
    listed = [{"obligation": key, "amount": 1} for key in (bill.pk, bill.account_id, bill.customer_id)]
    body = {"external_reference": "P", "amount": 3, "currency": "ZAR", "method": "cash", "allocations": listed}
    assert api.post("/billing/payments", body, Idempotency_Key="p").status_code == 201
    assert api.post(f"/billing/bills/{bill.pk}/payer_reference").status_code == 201
    check_now()
    return bill


def check_now():
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def write_and_check(write):
    write()
    check_now()


def run(sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def refused(write):
    """Return the name of what PostgreSQL refuses this write for, at once or at COMMIT."""
    return error_of(write).__cause__.diag.constraint_name


def error_of(write):
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        write_and_check(write)
    return caught.value


def without_triggers(table, write):
    # No deferred check may be waiting while the table is altered.
    check_now()
    run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    try:
        return error_of(write)
    finally:
        run(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def checks_and_rules():
    for model in (model for label in LABELS for model in apps.get_app_config(label).get_models()):
        named = [rule for rule in model._meta.constraints if isinstance(rule, models.CheckConstraint)]
        named += [rule for rule in getattr(model._meta, "triggers", []) if isinstance(rule, Rule)]
        for rule in named:
            yield rule.name, model


def test_every_check_and_rule_is_broken_below():
    assert dict(checks_and_rules()) == {name: model for name, (model, _) in BREAKS.items()}


def broken(name, bill):
    """Break a rule by SQL; return PostgreSQL's error."""
    model, change = BREAKS[name]
    if name == "bill_voided":
        new_bill(biller_id=bill.biller_id, customer_id=bill.customer_id, voided_at=timezone.now())()
        bill = Bill.objects.get(external_reference="INV-2")
    if name.endswith("_currency_fixed_by_payments"):
        perform(bill.biller, "test", lambda act: model.objects.amend(act, model.objects.get().pk, balance=0))
    rows = model.objects.filter(pk=bill.pk) if model is Bill else model.objects.all()
    table = UNTRIGGERED.get(name)
    write = (
        partial(run, f"DELETE FROM {model._meta.db_table}") if change == "removal" else partial(rows.update, **change)
    )
    return without_triggers(table, write) if table else error_of(write)


@pytest.mark.parametrize("name", BREAKS)
def test_the_database_refuses_by_name_and_it_is_explained_in_the_rules_own_words(paid, name):
    error = broken(name, paid)
    assert error.__cause__.diag.constraint_name == name
    refusal = explain(error, {})
    assert type(refusal) is (Conflict if name in CONFLICTS else RuleBroken)
    [reason] = refusal.reasons
    assert (reason.code, reason.detail, reason.pointer) == (name, rules()[name], "")
    # A sentence for people: not what Django says of a constraint that has none.
    assert reason.detail.endswith(".")
    assert "constraint" not in reason.detail.lower()
    assert "%" not in reason.detail


def test_a_broken_rule_is_explained_at_the_place_it_came_from_beside_all_others_of_its_class(bill):
    customer = Customer.objects.get()
    customer.currency, customer.metadata = None, ELEVEN
    error = error_of(lambda: Customer.objects.update(currency=None, metadata=ELEVEN))
    refusal = explain(error, {"": Bill.objects.get(), "/account/customer": customer})
    assert [(reason.code, reason.pointer) for reason in refusal.reasons] == [
        ("customer_currency_fixed_by_balance", "/account/customer"),
        ("customer_metadata_at_most_10_keys", "/account/customer"),
        ("customer_balance_needs_currency", "/account/customer"),
    ]


def test_a_taken_reference_is_explained_before_a_broken_rule(bill):
    draft = Customer(biller_id=bill.biller_id, external_reference="C-1", balance=1)
    refusal = explain(error_of(lambda: draft.save(force_insert=True)), {"/customer": draft})
    [reason] = refusal.reasons
    assert (type(refusal), reason.code, reason.pointer) == (
        ReferenceTaken,
        "external_reference_taken",
        "/customer/external_reference",
    )
    assert reason.extra == {"existing_id": bill.customer_id}


@pytest.mark.parametrize("kind", ["ledger", "key"])
def test_a_defect_of_ours_is_no_refusal(bill, other, kind):
    """What no caller can cause has no sentence: it is an error."""
    if kind == "ledger":
        error = error_of(lambda: Bill.objects.update(amount_paid=7))
    else:
        error = error_of(new_bill(biller=other, customer_id=bill.customer_id))
    assert explain(error, {}) is None


@pytest.mark.parametrize("model", [Customer, Account, Bill])
def test_a_reference_is_unique_within_its_biller(bill, model):
    copy = model.objects.first()
    copy.pk = model._meta.pk.get_default()
    # Written as any caller of SQL may: not through the verbs.
    assert refused(lambda: model.objects.bulk_create([copy])) == f"{model.kind}_external_reference_taken"


def new_bill(**fields):
    fields = {"external_reference": "INV-2", "currency": "ZAR", "amount_due": 1, "bill_date": DAY, **fields}
    return lambda: Bill.objects.bulk_create([Bill(**fields)])


def test_a_bill_under_another_billers_customer_is_refused(bill, other):
    assert refused(new_bill(biller=other, customer_id=bill.customer_id)) == "bill_customer_of_biller"


def test_a_bill_under_another_billers_account_is_refused(bill, other):
    owner = Customer(biller=other, external_reference="own")
    owner.save(force_insert=True)
    write = new_bill(biller=other, customer_id=owner.pk, account_id=bill.account_id)
    assert refused(write) == "bill_account_of_customer"


def test_a_bill_under_an_account_of_another_customer_is_refused(bill, biller):
    owner = Customer(biller=biller, external_reference="second")
    owner.save(force_insert=True)
    write = new_bill(biller=biller, customer_id=owner.pk, account_id=bill.account_id)
    assert refused(write) == "bill_account_of_customer"


def test_an_account_under_another_billers_customer_is_refused(bill, other):
    stray = Account(biller=other, external_reference="stray", customer_id=bill.customer_id)
    assert refused(lambda: Account.objects.bulk_create([stray])) == "account_customer_of_biller"


def test_a_customer_of_no_biller_is_refused(bill):
    stray = Customer(biller_id=uuid.uuid4(), external_reference="stray")
    assert refused(lambda: Customer.objects.bulk_create([stray])) == "customer_of_known_biller"


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("customers_customer", "account_customer_of_biller"),
        ("accounts_account", "bill_account_of_customer"),
        ("bills_bill", "bill_customer_of_biller"),
    ],
)
def test_a_row_with_kin_cannot_move_to_another_biller(bill, other, table, key):
    to_other = (
        f"UPDATE {table} SET biller_id = (SELECT id FROM billers_biller WHERE reference = 'other' AND mode = 'live')"
    )
    # The rule that keeps a record with its ledger speaks first; the composite key holds without it.
    assert without_triggers(table, lambda: run(to_other)).__cause__.diag.constraint_name == key


def test_a_parent_with_children_cannot_be_removed(bill, biller):
    owner = Customer(biller=biller, external_reference="second")
    owner.save(force_insert=True)
    account = Account(biller=biller, external_reference="second", customer_id=owner.pk)
    account.save(force_insert=True)
    new_bill(biller=biller, customer_id=owner.pk, account_id=account.pk)()
    for table, key in (
        ("accounts_account", "bill_account_of_customer"),
        ("customers_customer", "account_customer_of_biller"),
    ):
        assert refused(lambda table=table: run(f"DELETE FROM {table} WHERE external_reference = 'second'")) == key


@pytest.fixture
def everything_on_record(api, partner_api, paid):
    """The paid bill with all that may hang on it: payer references, payments of either taker, a reversal."""
    for path in ("customers/C-1", "accounts/ACC-1"):
        assert api.post(f"/billing/{path}/payer_reference").status_code == 201
    body = {"external_reference": "T", "amount": 1, "currency": "ZAR", "method": "cash", "obligation": paid.pk}
    assert partner_api.post("/partner/payments", body, Idempotency_Key="t").status_code == 201
    assert api.post("/billing/payments/P/reverse", {"reason": "x"}, Idempotency_Key="undo").status_code == 201
    check_now()


ANY_ID = "gen_random_uuid()"
KEYS = {
    "billers_apikey_biller_id_2066d274_fk_billers_biller_id": ("billers_apikey", "biller_id", ANY_ID),
    "billers_apikey_partner_id_fa2cf261_fk_billers_partner_id": ("billers_apikey", "partner_id", ANY_ID),
    "delivery_endpoint_of_biller": ("events_delivery", "endpoint_id", ANY_ID),
    "delivery_event_of_biller": ("events_delivery", "sequence", "sequence + 1000"),
    "entry_of_payment": ("ledger_entry", "payment_id", ANY_ID),
    "job_of_import": ("imports_job", "id", ANY_ID),
    "piece_of_import": ("imports_piece", "import_id", ANY_ID),
    "payer_reference_of_billers_account": ("payments_payerreference", "account_id", ANY_ID),
    "payer_reference_of_billers_bill": ("payments_payerreference", "bill_id", ANY_ID),
    "payer_reference_of_billers_customer": ("payments_payerreference", "customer_id", ANY_ID),
    "payment_of_enabled_partner": ("payments_payment", "partner_id", ANY_ID),
    "reference_of_payment": ("payments_reference", "payment_id", ANY_ID),
    "reversal_of_payment": ("payments_reversal", "payment_id", ANY_ID),
    "webhook_secret_of_endpoint": ("events_webhooksecret", "endpoint_id", ANY_ID),
}

OF_KIN = {
    *("account_customer_of_biller", "bill_account_of_customer", "bill_customer_of_biller", "customer_of_known_biller"),
    *("enablement_biller_of_mode", "enablement_partner_of_mode"),
}
"""Keys that have tests of their own."""


def test_every_key_of_our_tables_is_broken_here(db):
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
                AND split_part(conrelid::regclass::text, '_', 1) = ANY (%s)
            """,
            [LABELS],
        )
        assert {name for (name,) in cursor.fetchall()} == set(KEYS) | OF_KIN


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.usefixtures("everything_on_record")
def test_nothing_points_at_what_is_not_there(key):
    table, column, stray = KEYS[key]
    error = without_triggers(table, lambda: run(f"UPDATE {table} SET {column} = {stray} WHERE {column} IS NOT NULL"))
    assert error.__cause__.diag.constraint_name == key


def copied(model, *place, **changes):
    """Return what PostgreSQL refuses a copy of a row for."""
    row = model.objects.filter(**dict(place)).first()
    row.pk = model._meta.pk.get_default()
    for name, value in changes.items():
        setattr(row, name, value)
    return refused(lambda: model.objects.bulk_create([row]))


@pytest.mark.usefixtures("everything_on_record")
def test_what_there_is_once_is_refused_a_second_time():
    assert copied(ApiKey) == "api_key_public_part_unique"
    assert copied(Biller) == "biller_reference_taken"
    assert copied(Partner) == "partner_reference_taken"
    assert copied(Event, ("sequence", 1)) == "event_sequence_unique"
    assert copied(Delivery) == "delivery_once"
    assert copied(Reversal) == "payment_reversed"
    assert copied(Import) == "import_under_way"
    assert copied(Piece) == "piece_once"
    for kind in ("customer", "account", "bill"):
        given = (f"{kind}_id__isnull", False)
        assert copied(PayerReference, given, digits="18") == f"payer_reference_of_{kind}"
    digits = PayerReference.objects.get(bill_id__isnull=False).digits
    assert copied(PayerReference, ("bill_id__isnull", True), digits=digits) == "payer_reference_unique"


# --- Partners and keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("biller_mode", "partner_mode", "mode", "key"),
    [
        ("live", "test", "test", "enablement_biller_of_mode"),
        ("live", "test", "live", "enablement_partner_of_mode"),
        ("test", "live", "live", "enablement_biller_of_mode"),
        ("test", "live", "test", "enablement_partner_of_mode"),
    ],
)
def test_a_partner_is_never_enabled_for_a_biller_of_the_other_mode(
    pair, partners, biller_mode, partner_mode, mode, key
):
    Enablement.objects.all().delete()
    stray = Enablement(biller=pair[biller_mode], partner=partners[partner_mode], mode=mode)
    assert refused(lambda: Enablement.objects.bulk_create([stray])) == key
    if mode == partner_mode:
        assert refused(lambda: Enablement.objects.enable(partners[partner_mode], [pair[biller_mode]])) == key
    assert Enablement.objects.count() == 0


@pytest.mark.parametrize(
    ("model", "key"), [(Biller, "enablement_biller_of_mode"), (Partner, "enablement_partner_of_mode")]
)
def test_who_is_enabled_changes_neither_mode_nor_is_removed(partners, model, key):
    model.objects.filter(mode="test").update(reference="apart")
    assert refused(lambda: model.objects.filter(mode="test").update(mode="live")) == key
    assert refused(lambda: run(f"DELETE FROM {model._meta.db_table}")) == key


def test_a_partner_is_enabled_once_for_a_biller(partner, biller):
    twice = Enablement(biller=biller, partner=partner, mode="live")
    assert refused(lambda: Enablement.objects.bulk_create([twice])) == "enablement_unique"


def test_a_key_belongs_to_a_biller_or_a_partner_and_never_to_both_or_nobody(api, partner):
    for change in ({"partner": partner}, {"biller": None}):
        assert refused(lambda change=change: ApiKey.objects.update(**change)) == "api_key_of_biller_or_partner"
    assert ApiKey.objects.update(biller=None, partner=partner) == 1


# --- The ledger -------------------------------------------------------------------------------------------------------


WRITTEN_ONCE = sorted(
    model._meta.db_table
    for model in apps.get_models()
    if issubclass(model, History) or any(isinstance(rule, AppendOnly) for rule in getattr(model._meta, "triggers", []))
)


@pytest.mark.parametrize("table", WRITTEN_ONCE)
def test_what_is_written_once_stays(api, paid, table):
    assert api.post("/billing/payments/P/reverse", {"reason": "x"}, Idempotency_Key="undo").status_code == 201
    check_now()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        column = cursor.description[0].name
        assert cursor.rowcount
    for write in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
        with pytest.raises(DatabaseError, match="Cannot update or delete rows from"), transaction.atomic():
            run(write)


def entry(obligation, **fields):
    key = obligation._meta.pk.get_db_prep_value(obligation.pk, connection)
    about = {"biller_id": obligation.biller_id, "obligation_kind": obligation.kind, "obligation_id": key}
    following = {"sequence": obligation.entry_count + 1, "amount": 10, "total": (obligation.amount or 0) + 10}
    return Entry(**{**about, **following, "kind": "adjustment", "actor": "test", **fields})


@pytest.mark.parametrize(
    "wrong",
    [{"total": 1}, {"amount": 11}, {"sequence": 3}, {"sequence": 1, "total": 10, "obligation_id": uuid.uuid4()}, {}],
    ids=["total", "amount", "gap", "nobody", "alone"],
)
def test_an_entry_that_does_not_continue_its_ledger_is_refused(bill, wrong):
    expected = "entry_continues_ledger" if len(wrong) == 1 else "bill_agrees_with_ledger"
    assert refused(lambda: Entry.objects.bulk_create([entry(bill, **wrong)])) == expected


def test_a_sequence_is_used_once(bill):
    twice = entry(bill, sequence=1, amount=10, total=10)
    assert refused(lambda: Entry.objects.bulk_create([twice])) == "entry_sequence_unique"


def test_a_first_entry_starts_at_nothing(bill):
    first = entry(bill, obligation_id=uuid.uuid4(), sequence=1, total=11)
    assert refused(lambda: Entry.objects.bulk_create([first])) == "entry_continues_ledger"


def test_one_wrong_entry_among_many_is_refused(bill):
    rows = [entry(bill), entry(bill, sequence=3, total=520), entry(bill, sequence=4, total=531)]
    assert refused(lambda: Entry.objects.bulk_create(rows)) == "entry_continues_ledger"


def test_entries_written_in_one_go_are_taken_once_the_bill_agrees(bill):
    rows = [entry(bill), entry(bill, sequence=3, total=520)]
    Entry.objects.bulk_create(rows)
    Bill.objects.recompute(rows)
    check_now()
    bill.refresh_from_db()
    assert (bill.amount_paid, bill.entry_count) == (520, 3)


@pytest.mark.parametrize("model", [Customer, Account, Bill])
@pytest.mark.parametrize("what", ["amount", "entry_count", "both"])
def test_an_amount_written_by_hand_is_refused_at_commit(bill, model, what):
    record = model.objects.get()
    changes = {model.amount_field: record.amount + 1, "entry_count": record.entry_count + 1}
    if what != "both":
        changes.pop("entry_count" if what == "amount" else model.amount_field)
    assert refused(lambda: model.objects.update(**changes)) == f"{model.kind}_agrees_with_ledger"


@pytest.mark.parametrize("model", [Customer, Account, Bill])
@pytest.mark.parametrize("what", ["amount", "entry_count"])
def test_a_row_created_with_an_amount_and_no_entry_is_refused_at_commit(bill, model, what):
    copy = model.objects.get()
    copy.pk, copy.external_reference = model._meta.pk.get_default(), "copy"
    setattr(copy, "entry_count" if what == "amount" else model.amount_field, 0)
    assert refused(lambda: model.objects.bulk_create([copy])) == f"{model.kind}_agrees_with_ledger"


@pytest.mark.parametrize("model", [Customer, Account, Bill])
def test_an_entry_alone_is_refused_at_commit(bill, model):
    record = model.objects.get()
    assert refused(lambda: Entry.objects.bulk_create([entry(record)])) == f"{model.kind}_agrees_with_ledger"


def test_an_entry_of_another_biller_does_not_count(bill, other):
    stray = entry(bill, biller_id=other.pk, sequence=1, amount=10, total=10)
    assert refused(lambda: Entry.objects.bulk_create([stray])) == "bill_agrees_with_ledger"


def test_a_disagreement_mended_before_commit_is_taken(bill):
    Bill.objects.update(amount_paid=510)
    Entry.objects.bulk_create([entry(bill)])
    Bill.objects.update(entry_count=2)
    check_now()


@pytest.mark.parametrize("model", [Customer, Account, Bill, WebhookEndpoint, Delivery])
def test_the_version_counts_every_change_and_cannot_be_set(bill, model):
    before = model.objects.first()
    model.objects.filter(pk=before.pk).update(created_at=timezone.now(), version=99)
    run(f"UPDATE {model._meta.db_table} SET created_at = now(), version = 1 WHERE biller_id IS NOT NULL")
    after = model.objects.get(pk=before.pk)
    assert (after.version, after.updated_at > before.updated_at) == (before.version + 2, True)


# --- The audit trail --------------------------------------------------------------------------------------------------


HISTORIES = {Customer: "customers_customerhistory", Account: "accounts_accounthistory", Bill: "bills_billhistory"}
PATHS = {Customer: "/billing/customers/C-1", Account: "/billing/accounts/ACC-1", Bill: "/billing/bills/INV-1"}


def history(model=Bill):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pgh_label, metadata, version, pgh_context FROM {HISTORIES[model]} ORDER BY pgh_id")
        rows = cursor.fetchall()
    return [
        (label, json.loads(metadata), version, context and json.loads(context))
        for label, metadata, version, context in rows
    ]


@pytest.mark.parametrize("model", HISTORIES)
def test_every_path_leaves_a_copy_and_the_apis_says_who(bill, api, model):
    actor = f"key:{ApiKey.objects.get().pk}"
    created = history(model)
    # Where a nested row opens with an amount, its insert is all there is to it.
    assert [row[0] for row in created] == ["insert"]
    assert created[0][3]["actor"] == actor
    for method, change in (("PATCH", {"metadata": {"by": "patch"}}), ("PUT", {"metadata": {"by": "put"}})):
        changed = api.call(method, PATHS[model], change, X_Request_ID=f"req-{method}-12345678")
        assert changed.status_code == 200
        label, metadata, version, context = history(model)[-1]
        assert (label, metadata, f'"{version}"') == ("update", change["metadata"], changed.headers["ETag"])
        assert context == {"actor": actor, "request_id": f"req-{method}-12345678"}
        assert changed.headers["X-Request-ID"] == f"req-{method}-12345678"
    run("SELECT set_config('pghistory.context_metadata', '', true)")
    model.objects.update(metadata={"by": "bulk"})
    record = model.objects.get()
    record.metadata = {"by": "bulk_update"}
    model.objects.bulk_update([record], ["metadata"])
    run(f"""UPDATE {model._meta.db_table} SET metadata = '{{"by": "sql"}}'""")
    told = [(row[0], row[1]["by"], row[3]) for row in history(model)[len(created) :]]
    nobody = [("update", name, None) for name in ("bulk", "bulk_update", "sql")]
    assert [row[:2] for row in told[:2]] == [("update", "patch"), ("update", "put")]
    assert told[2:] == nobody


def test_a_change_of_amount_leaves_a_copy_too(bill, api):
    before = len(history())
    api.patch("/billing/bills/INV-1", {"amount_paid": 777})
    api.post("/billing/bills", {**COMPOSITE, "external_reference": "INV-2", "amount_paid": 0, "account": "ACC-1"})
    api.post("/billing/bills/INV-2/void", {"reason": "typo"}, Idempotency_Key="void")
    assert [row[0] for row in history()[before:]] == ["update", "insert", "update"]


@pytest.mark.parametrize("model", HISTORIES)
def test_what_is_refused_or_changes_nothing_leaves_no_copy(bill, api, model):
    before = history(model)
    assert api.patch(PATHS[model], {"metadata": {}}).status_code == 200
    crossed = {"metadata": {"a": "b"}, "payment_rules": {"min_amount": 2, "max_amount": 1}}
    assert api.patch(PATHS[model], crossed).status_code == 422
    assert history(model) == before


def test_a_bulk_change_leaves_a_copy_of_each_row(bill, biller):
    for number in range(3):
        new_bill(biller=biller, customer_id=bill.customer_id, external_reference=f"more-{number}")()
    before = len(history())
    Bill.objects.update(metadata={"by": "all"})
    assert [row[:2] for row in history()[before:]] == [("update", {"by": "all"})] * 4


def unattached(model, bill, partner, other):
    """Write a row that nothing hangs on, without any verb."""
    of_biller = {"biller_id": bill.biller_id, "external_reference": "free"}
    fields = {
        Customer: of_biller,
        Account: {**of_biller, "customer_id": bill.customer_id},
        Bill: {**of_biller, "customer_id": bill.customer_id, "currency": "ZAR", "amount_due": 1, "bill_date": DAY},
        WebhookEndpoint: {"biller_id": bill.biller_id, "url": "https://free.example/"},
        Biller: {"reference": "free", "name": "Free"},
        Partner: {"reference": "free", "name": "Free"},
        Enablement: {"biller": other, "partner": partner, "mode": "live"},
        ApiKey: {"partner": partner, "public_part": "free", "digest": b"free"},
    }
    [row] = model.objects.bulk_create([model(**fields[model])])
    return model.objects.filter(pk=row.pk)


@pytest.mark.parametrize(
    "copies", sorted((model for model in apps.get_models() if issubclass(model, History)), key=str)
)
def test_what_sql_writes_changes_and_removes_leaves_a_copy_each_time(bill, partner, other, copies):
    before = copies.objects.count()
    rows = unattached(copies.pgh_tracked_model, bill, partner, other)
    assert rows.update(created_at=timezone.now()) == 1
    assert rows._raw_delete("default") == 1
    labels = copies.objects.order_by("pgh_id").values_list("pgh_label", flat=True)
    assert list(labels)[before:] == ["insert", "update", "delete"]
