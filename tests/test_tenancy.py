"""A tenant's rows are told apart everywhere: in the tables, their indexes and keys, and each statement."""

import re

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billers.tenancy import Tenanted
from core.audit import History
from events.models import Delivery
from imports.models import Import, Piece, What

COMPOSITE = {
    "external_reference": "INV-1",
    "currency": "ZAR",
    "amount_due": 2000,
    "amount_paid": 5,
    "metadata": {"route": "7"},
    "account": {
        "external_reference": "ACC-1",
        "name": "Main",
        "customer": {"external_reference": "C-1", "name": "Jo", "currency": "ZAR", "balance": 3},
    },
}
TENANTED = [model for model in apps.get_models() if issubclass(model, Tenanted)]
TRACKED = [model for model in apps.get_models() if issubclass(model, History) and model.pgh_tracked_model in TENANTED]
TABLES = sorted(model._meta.db_table for model in [*TENANTED, *TRACKED])


def ask(sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def test_the_tables_of_tenants_are_these():
    assert TABLES == [
        "accounts_account",
        "accounts_accounthistory",
        "bills_bill",
        "bills_billhistory",
        "customers_customer",
        "customers_customerhistory",
        "events_delivery",
        "events_event",
        "events_webhookendpoint",
        "events_webhookendpointhistory",
        "events_webhooksecret",
        "imports_import",
        "imports_job",
        "imports_piece",
        "imports_profile",
        "ledger_entry",
        "payments_payerreference",
        "payments_payment",
        "payments_reversal",
    ]


def test_no_other_table_names_a_biller_but_the_directories_of_keys_and_partners(db):
    """A new table that holds a biller's rows is a tenant's, or is told here why not."""
    found = ask(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'biller_id' AND table_schema = 'public'"
    )
    assert {name for (name,) in found} - set(TABLES) == {
        "billers_apikey",
        "billers_apikeyhistory",
        "billers_enablement",
        "billers_enablementhistory",
        "events_numbering",  # one row a biller, which is its key
        "payments_reference",  # who took a payment, partner or biller, is its key
    }


@pytest.mark.parametrize("table", TABLES)
def test_a_tenants_table_names_the_biller(db, table):
    [(nullable,)] = ask(
        "SELECT is_nullable FROM information_schema.columns WHERE table_name = %s AND column_name = 'biller_id'", table
    )
    assert nullable == "NO"


@pytest.mark.parametrize("table", TABLES)
def test_every_index_begins_with_the_biller(db, table):
    indexes = ask(
        """
        SELECT index.indexrelid::regclass::text, (
            SELECT attname FROM pg_attribute WHERE attrelid = index.indrelid AND attnum = index.indkey[0]
        )
        FROM pg_index AS index WHERE index.indrelid = %s::regclass AND NOT index.indisprimary
        """,
        table,
    )
    assert indexes
    others = {name: first for name, first in indexes if first != "biller_id"}
    # A partner's own list goes across its billers.
    assert others == ({"payment_of_partner_newest": "partner_id"} if table == "payments_payment" else {})


@pytest.mark.parametrize("table", TABLES)
def test_the_planner_takes_every_biller_for_an_average_one(db, table):
    """Statistics of the billers there were would mislead it about the next one: tests/test_plans.py."""
    [(target,)] = ask(
        "SELECT attstattarget FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'biller_id'", table
    )
    assert target == 0


def test_every_key_between_tenants_tables_contains_the_biller(db):
    keys = ask(
        """
        SELECT conname, 'biller_id' IN (
            SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)
        ) AND 'biller_id' IN (
            SELECT attname FROM pg_attribute WHERE attrelid = confrelid AND attnum = ANY (confkey)
        )
        FROM pg_constraint WHERE contype = 'f'
            AND conrelid::regclass::text = ANY (%s) AND confrelid::regclass::text = ANY (%s)
        """,
        TABLES,
        TABLES,
    )
    assert dict(keys) == {
        "account_customer_of_biller": True,
        "bill_customer_of_biller": True,
        "bill_account_of_customer": True,
        "webhook_secret_of_endpoint": True,
        "delivery_endpoint_of_biller": True,
        "delivery_event_of_biller": True,
        "entry_of_payment": True,
        "job_of_import": True,
        "piece_of_import": True,
        "reversal_of_payment": True,
        **{f"payer_reference_of_billers_{kind}": True for kind in ("customer", "account", "bill")},
    }


NAMED = re.compile(rf"\b({'|'.join(TABLES)})\b")
OF_ONE_BILLER = r"""\bbiller_id"? = '[0-9a-f-]{32,36}'"""
UPDATED = {"description": "x", "account": {"name": "New", "customer": {"name": "Jane", "balance": 4}}}
PUT = {
    "currency": "ZAR",
    "amount_due": 9,
    "account": {"external_reference": "ACC-2", "customer": {"external_reference": "C-2"}},
}
PAYMENT = {"external_reference": "T-1", "amount": 1, "currency": "ZAR", "method": "cash"}
LISTS = [
    "bills",
    "bills?status=UNPAID&limit=1",
    "bills?customer=C-1&account=ACC-1",
    "bills?search=INV&metadata.route=7",
    "bills?due_date_lte=2030-01-01&sort=due_date&expand=customer",
    "bills?overdue=true",
    "accounts?customer=C-1&search=Main",
    "customers?external_reference=C-1",
    "customers?search=Jo&sort=-created_at",
    "bills?as_of=2999-01-01&expand=customer,account",
    "bills/INV-1?as_of=2999-01-01",
    "reports/ageing",
    "reports/collections",
    "entries",
    "entries?obligation={bill}",
    "payments",
    "payments?partner=corner&reversed=false&obligation={bill}",
    "payments/PAID",
    "events",
    "webhook_endpoints?enabled=true",
    "webhook_endpoints/{endpoint}",
    "deliveries?state=pending",
    "deliveries?endpoint={endpoint}&event={event}",
    "deliveries/{delivery}",
    "imports",
    "imports?kind=bills&status=running&dry_run=false",
    "imports/{sent}",
    "imports/{sent}/errors",
]
CALLS = [
    ("POST", "bills", {**COMPOSITE, "external_reference": "INV-2", "account": "ACC-1"}),
    ("POST", "bills", {**COMPOSITE, "external_reference": "INV-3", "account": PUT["account"]}),
    ("POST", "bills", COMPOSITE),
    ("GET", "bills/INV-1", None),
    ("GET", "bills/{bill}", None),
    ("GET", "accounts/{account}", None),
    ("GET", "customers/{customer}", None),
    ("PATCH", "bills/INV-1", UPDATED),
    ("PATCH", "bills/{bill}", {"amount_paid": 7}),
    ("PATCH", "accounts/ACC-1", {"currency": "ZAR", "balance": 4, "customer": {"name": "Jim"}}),
    ("PATCH", "customers/C-1", {"balance": -4}),
    ("PUT", "bills/NEW", PUT),
    ("PUT", "bills/INV-1", {"account": {"external_reference": "ACC-1", "name": "Put"}}),
    ("PUT", "accounts/ACC-1", {"customer": {"external_reference": "C-1", "email": "jo@example.com"}}),
    ("PUT", "customers/C-9", {"name": "Nine"}),
    ("POST", "bills/VOID/void", None),
    ("POST", "bills/INV-1/payer_reference", None),
    ("POST", "customers/{customer}/payer_reference", None),
    ("POST", "payments", {**PAYMENT, "obligation": "{bill}"}),
    ("POST", "payments", {**PAYMENT, "payer": "{customer}", "allocations": "oldest_first"}),
    ("POST", "payments", {**PAYMENT, "allocations": [{"obligation": "{customer}", "amount": 1}]}),
    ("POST", "payments/PAID/reverse", {"reason": "x"}),
    ("POST", "webhook_endpoints", {"url": "https://hooks.example/"}),
    ("PATCH", "webhook_endpoints/{endpoint}", {"enabled": False}),
    ("POST", "webhook_endpoints/{endpoint}/rotate", None),
    ("POST", "deliveries/{delivery}/redeliver", None),
    ("POST", "imports?kind=bills", b"a,b\n"),
    ("POST", "imports/{sent}/cancel", None),
    *(("GET", path, None) for path in LISTS),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[f"{method} {path}" for method, path, _ in CALLS])
def test_every_statement_about_a_tenants_table_names_the_biller(api, method, path, body):
    bill = api.post("/billing/bills", COMPOSITE).json()
    api.post("/billing/bills", {"external_reference": "VOID", "currency": "ZAR", "amount_due": 1, "customer": "C-1"})
    endpoint = api.post("/billing/webhook_endpoints", {"url": "https://hooks.example/"}).json()
    api.get("/billing/events")
    delivery = api.get("/billing/deliveries").json()["data"][0]
    Delivery.objects.update(attempts=1)
    api.post("/billing/customers", {"external_reference": "told"})
    payment = {**PAYMENT, "external_reference": "PAID", "obligation": bill["id"]}
    assert api.post("/billing/payments", payment, Idempotency_Key="before").status_code == 201
    ids = {"bill": bill["id"], "account": bill["account_id"], "customer": bill["customer_id"]}
    sent = api.call("POST", "/billing/imports?kind=bills", b"a\n", Content_Type="text/csv").json()["id"]
    Piece.objects.keep(Import.objects.get(pk=sent), What.REFUSED, [b"a\r\n"])
    path = path.format(**ids, sent=sent, endpoint=endpoint["id"], delivery=delivery["id"], event=delivery["event_id"])
    with CaptureQueriesContext(connection) as captured:
        sheet = {"Content_Type": "text/csv"} if isinstance(body, bytes) else {}
        response = api.call(method, f"/billing/{path}", told(body, **ids), Idempotency_Key="once", **sheet)
        _ = response.getvalue()
    assert response.status_code in ({409} if body is COMPOSITE else {200, 201, 202}), response.content
    about = [query["sql"] for query in captured if NAMED.search(query["sql"])]
    assert about
    assert [sql for sql in about if "biller_id" not in sql] == []
    finding = [sql for sql in about if not sql.lstrip().startswith(("INSERT", "COPY", "WITH part0 AS (INSERT"))]
    assert [sql for sql in finding if not re.search(OF_ONE_BILLER, sql.partition(" WHERE ")[2])] == []


def told(body, **ids):
    """Return a body with ids where it says `{bill}` and the like."""
    if isinstance(body, dict):
        return {name: told(value, **ids) for name, value in body.items()}
    if isinstance(body, list):
        return [told(value, **ids) for value in body]
    return ids.get(body.strip("{}"), body) if isinstance(body, str) else body


OF_ONE_PARTNER = r"""\bpartner_id"? = '[0-9a-f-]{32,36}'"""
PARTNERS_CALLS = [
    ("GET", "billers", None),
    ("GET", "obligations?biller=acme&reference=C-1", None),
    ("GET", "obligations?biller=acme&phone=%2B27820000000", None),
    ("POST", "payments", {**PAYMENT, "obligation": "{bill}"}),
    ("POST", "payments", {**PAYMENT, "payer": "{customer}", "allocations": "oldest_first"}),
    ("POST", "payments/PAID/reverse", {"reason": "x"}),
    ("POST", "payments/EARLY/reverse", {"reason": "x"}),
    ("GET", "payments", None),
    ("GET", "payments?biller=acme&reversed=false", None),
    ("GET", "payments/PAID", None),
    ("GET", "settlements/2026-01-01", None),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), PARTNERS_CALLS, ids=[f"{m} {path}" for m, path, _ in PARTNERS_CALLS]
)
def test_every_statement_of_a_partner_names_a_biller_or_the_partner(api, partner_api, method, path, body):
    bill = api.post("/billing/bills", COMPOSITE).json()
    payment = {**PAYMENT, "external_reference": "PAID", "obligation": bill["id"]}
    assert partner_api.post("/partner/payments", payment, Idempotency_Key="before").status_code == 201
    ids = {"bill": bill["id"], "account": bill["account_id"], "customer": bill["customer_id"]}
    with CaptureQueriesContext(connection) as captured:
        response = partner_api.call(method, f"/partner/{path}", told(body, **ids), Idempotency_Key="once")
    assert response.status_code in ({404} if "phone" in path else {200, 201, 202}), response.content
    finding = [query["sql"] for query in captured if NAMED.search(query["sql"])]
    finding = [sql for sql in finding if not sql.lstrip().startswith(("INSERT", "WITH part0 AS (INSERT"))]
    named = re.compile(f"{OF_ONE_BILLER}|{OF_ONE_PARTNER}")
    assert [sql for sql in finding if not named.search(sql.partition(" WHERE ")[2])] == []
    assert finding or path == "billers" or "EARLY" in path


def test_another_billers_records_do_not_exist(api, api_for, other):
    bill = api.post("/billing/bills", COMPOSITE).json()
    stranger = api_for(other)
    for path in ("bills/INV-1", f"bills/{bill['id']}", f"accounts/{bill['account_id']}", "customers/C-1"):
        assert stranger.get(f"/billing/{path}").status_code == 404
        assert stranger.patch(f"/billing/{path}", {"metadata": {"a": "b"}}).status_code == 404
    for path in ("bills", "accounts", "customers", "entries"):
        assert stranger.get(f"/billing/{path}").json()["data"] == []
    mine = stranger.post("/billing/bills", COMPOSITE)
    assert mine.status_code == 201
    assert mine.json()["id"] != bill["id"]
    under = {"external_reference": "x", "currency": "ZAR", "amount_due": 1, "customer": bill["customer_id"]}
    assert stranger.post("/billing/bills", under).json()["code"] == "customer_not_found"
