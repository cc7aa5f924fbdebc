"""What a list tells as a table, and to whom: contract, section 4."""

import json
import re
from datetime import date

import pytest
from tabled import KINDS, LISTINGS, asked, content, issued, read, table

from accounts.models import Account
from api import exporting
from bench.loading import load
from bills.models import Bill
from core.spreadsheets import marked
from customers.models import Customer

HEADERS = {
    "customers": "external_reference,name,email,phone,currency,balance",
    "accounts": "external_reference,customer_external_reference,name,currency,balance",
    "bills": "external_reference,customer_external_reference,account_external_reference,currency,amount_due,"
    "amount_paid,bill_date,due_date,description",
    "payments": "id,external_reference,amount,currency,method,obligation,allocations,amount_remaining,paid_at,"
    "payer_name,status,partner,actor,created_at,reversed_at,reversal_reason",
    "entries": "id,obligation,payment_id,kind,amount,total,actor,reason,created_at",
}
OURS = {
    "customers": ["id", "created_at", "updated_at"],
    "accounts": ["id", "customer_id", "created_at", "updated_at"],
    "bills": [
        *("id", "customer_id", "account_id", "status", "voided_at", "void_reason", "created_at", "updated_at"),
    ],
    "payments": [],
    "entries": [],
}
PARENTS = {"customer_external_reference", "account_external_reference"}


@pytest.fixture
def told(records):
    """What a list tells as JSON, by id and in its order."""

    def told(caller, kind, query=""):
        return {row["id"]: row for row in caller.get(f"/billing/{kind}?limit=100{query}").json()["data"]}

    return told


def cell_of(row, name):
    """Return the cell that the JSON of a row makes, as text."""
    value = row["metadata"].get(name.removeprefix("metadata.")) if name.startswith("metadata.") else row[name]
    if name.endswith("_at") and value is not None:
        whole, _, fraction = value.removesuffix("Z").partition(".")
        return f"{whole}.{fraction.rstrip('0')}".removesuffix(".") + "Z"
    return "" if value is None else str(value) if isinstance(value, int) else marked(value)


# --- What it tells ---


@KINDS
def test_the_cells_of_a_table_are_the_values_of_the_list(api, told, kind):
    rows, listed = table(api, kind, "?columns=all"), told(api, kind)
    assert len(rows) == len(listed) > 1
    for row in rows:
        names = [name for name in row if name not in PARENTS]
        if kind == "payments":
            names = [name for name in names if name not in {"obligation", "allocations"}]
        assert {name: row[name] for name in names} == {name: cell_of(listed[row["id"]], name) for name in names}


def test_parents_are_told_by_reference_and_by_id(api, told):
    bills = {row["external_reference"]: row for row in table(api, "bills", "?columns=all")}
    named = [(bills[one]["customer_external_reference"], bills[one]["account_external_reference"]) for one in bills]
    assert dict(zip(bills, named, strict=True)) == {"B-1": ("'=C;1", "'-A"), "'+B": ("C-2", ""), "V": ("C-2", "")}
    assert bills["B-1"]["account_id"] == Account.objects.get(external_reference="-A").pk
    assert bills["B-1"]["customer_id"] == Customer.objects.get(external_reference="=C;1").pk
    assert bills["'+B"]["account_id"] == ""
    accounts = {row["external_reference"]: row["customer_external_reference"] for row in table(api, "accounts")}
    assert accounts == {"'-A": "'=C;1", "A-2": "C-2"}


def test_a_payment_names_its_one_obligation_or_lists_its_allocations(api, told):
    bills = dict(Bill.objects.values_list("external_reference", "pk"))
    payments = {row["external_reference"]: row for row in table(api, "payments")}
    assert (payments["'-P"]["obligation"], payments["'-P"]["allocations"]) == (bills["B-1"], "")
    assert payments["P2"]["obligation"] == ""
    parts = [(part["obligation"], part["amount"]) for part in json.loads(payments["P2"]["allocations"])]
    assert parts == [(bills["B-1"], 3), (bills["+B"], 4)]
    assert [payments[one]["status"] for one in ("'-P", "P2")] == ["REVERSED", "ACCEPTED"]
    assert [payments[one]["partner"] for one in ("'-P", "P2")] == ["", "corner"]


def test_amounts_are_minor_units_dates_are_iso_and_what_is_not_set_is_empty(api, biller):
    customer = {"external_reference": "C"}
    issued(biller, "B", currency="KWD", amount_due=20_000, amount_paid=5, customer=customer)
    issued(biller, "J", currency="JPY", amount_due=20, due_date=date(2026, 3, 1), description="")
    assert content(asked(api, "bills", "?sort=external_reference")) == (
        f'{HEADERS["bills"]}\nB,C,,KWD,20000,5,2026-01-31,,\nJ,C,,JPY,20,0,2026-01-31,2026-03-01,""\n'.encode()
    )


def test_quotes_commas_and_ends_of_lines_are_quoted(api, biller):
    issued(biller, 'B"1', customer={"external_reference": "C,D"}, description='a "b", c\r\nd\ne', metadata={'k"': "\n"})
    assert content(asked(api, "bills")) == (
        f'{HEADERS["bills"]},"metadata.k"""\n"B""1","C,D",,ZAR,100,0,2026-01-31,,"a ""b"", c\r\nd\ne","\n"\n'.encode()
    )


@pytest.mark.parametrize("start", "=+-@\t\r")
def test_text_that_a_spreadsheet_would_run_gets_a_quote_in_front(api, biller, start):
    text = f"{start}cmd|' /C calc'!A0"
    account = {"external_reference": "A", "name": text, "metadata": {"k": text}}
    account["customer"] = {"external_reference": "C", "name": text, "metadata": {"k": text}}
    issued(biller, "B", account=account, customer=None, description=text, metadata={"k": text})
    [customer], [account], [bill] = (table(api, kind) for kind in ("customers", "accounts", "bills"))
    cells = [customer["name"], customer["metadata.k"], account["name"], account["metadata.k"]]
    assert [*cells, bill["description"], bill["metadata.k"]] == [f"'{text}"] * 6


@KINDS
def test_no_cell_begins_as_a_formula_does_unless_it_is_a_number(api, records, kind):
    names, rows = read(content(asked(api, kind, "?columns=all")))
    cells = [*names, *(cell for row in rows for cell in row.values())]
    assert [cell for cell in cells if re.match(r"[=+\-@\t\r]", cell) and not re.fullmatch(r"[+-]\d+", cell)] == []
    assert any(re.match(r"'+[=+\-@\t\r]", cell) for cell in cells)


@KINDS
def test_an_empty_list_is_its_header_alone(api, biller, kind):
    assert content(asked(api, kind)) == f"{HEADERS[kind]}\n".encode()
    everything, _ = read(content(asked(api, kind, "?columns=all")))
    assert [name for name in everything if name not in HEADERS[kind].split(",")] == OURS[kind]
    assert [name for name in everything if name not in OURS[kind]] == HEADERS[kind].split(",")


def test_columns_are_those_asked_for_in_their_own_order(api, records):
    assert content(asked(api, "bills", "?columns=amount_due,external_reference&status=voided")) == (
        b"external_reference,amount_due\nV,100\n"
    )
    assert content(asked(api, "bills", "?columns=metadata.b,metadata.none,external_reference&metadata.b=x")) == (
        b"external_reference,metadata.b,metadata.none\nB-1,x,\n"
    )
    assert content(asked(api, "bills", "?columns=id&status=voided")) == (
        f"id\n{Bill.objects.get(external_reference='V').pk}\n".encode()
    )


# --- Which rows ---


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("bills", "status=unpaid"),
        ("bills", "metadata.b=x"),
        ("bills", "overdue=true"),
        ("bills", "customer=C-2"),
        ("bills", "amount_due_gte=100&status=voided"),
        ("bills", "search=b-"),
        ("bills", "external_reference=%2BB"),
        ("accounts", "customer=%3DC%3B1"),
        ("customers", "search=%2B2782"),
        ("customers", "currency=ZAR"),
        ("payments", "reversed=true"),
        ("payments", "reversed=false&partner=corner"),
        ("payments", "method=eft"),
        ("entries", "kind=payment"),
        ("entries", "as_of=2999-01-01&kind=reversal"),
        ("entries", "created_at_gte=2999-01-01"),
    ],
)
def test_filters_choose_the_rows_that_they_choose_in_the_list(api, told, kind, query):
    found = {row["id"] for row in table(api, kind, f"?columns=all&{query}")}
    assert found == set(told(api, kind, f"&{query}"))
    assert found < {row["id"] for row in table(api, kind, "?columns=all")}


@pytest.mark.parametrize(
    ("kind", "sort"),
    [
        *(("bills", sign + name) for name in ("due_date", "amount_due", "external_reference") for sign in ("", "-")),
        *(("customers", sign + "name") for sign in ("", "-")),
        *((kind, sign + "created_at") for kind in ("payments", "entries") for sign in ("", "-")),
    ],
)
def test_a_table_is_sorted_as_the_list_is(api, told, kind, sort):
    assert [row["id"] for row in table(api, kind, f"?columns=all&sort={sort}")] == [*told(api, kind, f"&sort={sort}")]


@KINDS
def test_another_biller_and_another_mode_see_nothing_of_it(api, api_for, pair, other, records, kind):
    assert len(table(api, kind)) > 0
    for stranger in (other, pair["test"]):
        told = content(asked(api_for(stranger), kind, "?columns=all"))
        assert told.count(b"\n") == 1
        assert b"metadata." not in told


@pytest.mark.parametrize("query", ["customer={customer}", "account={account}"])
def test_another_billers_parents_in_a_filter_find_nothing(api, api_for, other, records, query):
    bill = Bill.objects.get(external_reference="B-1")
    query = query.format(customer=bill.customer_id, account=bill.account_id)
    assert [row["external_reference"] for row in table(api, "bills", f"?{query}")] == ["B-1"]
    issued(other, "B-1", customer={"external_reference": "C"})
    assert table(api_for(other), "bills", f"?{query}") == []


@KINDS
def test_a_table_needs_a_key_of_a_biller_and_a_key_that_reads_is_enough(
    api_for, nobody, records, biller, partner, kind
):
    assert asked(nobody, kind).status_code == 401
    assert asked(api_for(partner), kind).status_code == 403
    assert len(table(api_for(biller, scope="read"), kind)) > 0


# --- Metadata ---


def test_each_key_of_metadata_has_a_column(api, biller):
    issued(biller, "B", metadata={"b": "2", "a": "1"}, customer={"external_reference": "C"})
    issued(biller, "D", metadata={"c": "", "route ": "3"})
    names, rows = read(content(asked(api, "bills", "?sort=external_reference")))
    keys = [name for name in names if name.startswith("metadata.")]
    assert keys == ["metadata.a", "metadata.b", "metadata.c", "metadata.route "]
    assert [[row[key] for key in keys] for row in rows] == [["1", "2", "", ""], ["", "", "", "3"]]


def test_more_keys_than_a_table_has_columns_are_refused_until_some_are_named(api, biller, monkeypatch):
    monkeypatch.setattr(exporting, "MOST_KEYS", 3)
    issued(biller, "B", metadata={"a": "1", "b": "2"}, customer={"external_reference": "C"})
    issued(biller, "C", metadata={"c": "3"})
    assert len(table(api, "bills")) == 2
    issued(biller, "D", metadata={"d": "4"})
    refused = asked(api, "bills")
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (400, "columns")
    assert content(asked(api, "bills", "?columns=external_reference,metadata.d&external_reference=D")) == (
        b"external_reference,metadata.d\nD,4\n"
    )
    assert len(table(api, "bills", "?columns=metadata.a,metadata.b,metadata.c")) == 3
    assert asked(api, "bills", "?columns=metadata.a,metadata.b,metadata.c,metadata.d").status_code == 400
    assert len(table(api, "bills", "?external_reference=B")) == 1


def test_a_table_has_columns_for_500_keys_of_metadata(biller):
    assert exporting.MOST_KEYS == 500


def test_keys_are_found_though_only_late_rows_hold_them(api, biller):
    load(biller, 0, 1_500)
    Bill.objects.update(metadata={"early": "1"})
    issued(biller, "late", customer="C-1", metadata={"late": "1"})
    names, _ = read(content(asked(api, "bills")))
    assert names[-2:] == ["metadata.early", "metadata.late"]


# --- How it is asked for ---


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=5", "invalid_parameter"),
        ("cursor=x", "invalid_parameter"),
        ("expand=customer", "invalid_parameter"),
        ("as_of=2026-01-01", "invalid_parameter"),
        ("columns=nonsense", "invalid_parameter"),
        ("columns=", "invalid_parameter"),
        ("columns=metadata.", "invalid_parameter"),
        ("columns=metadata." + "x" * 41, "invalid_parameter"),
        ("columns=metadata.%00", "invalid_parameter"),
        ("columns=payment_rules", "invalid_parameter"),
        ("columns=id&columns=id", "repeated_parameter"),
        ("sort=nonsense", "invalid_sort"),
        ("status=nonsense", "invalid_parameter"),
        ("nonsense=1", "unknown_parameter"),
    ],
)
def test_what_no_table_can_be_asked_is_refused_as_a_problem(api, biller, copying, query, code):
    refused = asked(api, "bills", f"?{query}")
    assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/problem+json")
    assert refused.json()["code"] == code
    assert copying() == []


def test_a_key_of_metadata_may_be_as_long_as_keys_are_and_entries_have_none(api, biller):
    assert table(api, "bills", "?columns=metadata." + "x" * 40) == []
    assert asked(api, "entries", "?columns=metadata.x").status_code == 400


def test_columns_are_for_tables_alone(api, biller):
    refused = api.get("/billing/bills?columns=id")
    assert (refused.status_code, refused.json()["code"]) == (400, "unknown_parameter")


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/csv, application/json;q=0.5", "text/csv; charset=utf-8"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/csv, application/json", "text/csv; charset=utf-8"),
        ("application/json, text/csv", "application/json"),
        ("text/csv, */*;q=0.1", "text/csv; charset=utf-8"),
        ("text/csv;q=nonsense", "text/csv; charset=utf-8"),
        ("text/*", "text/csv; charset=utf-8"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
    ],
)
def test_what_is_accepted_decides_the_form_and_caches_are_told(api, biller, accept, answered):
    response = api.get("/billing/bills", Accept=accept)
    b"".join(response)
    assert (response.status_code, response.headers["Content-Type"]) == (200, answered)
    assert response.headers["Vary"] == "Accept"


def test_a_table_is_named_for_saving_and_has_no_pages(api, biller):
    response = asked(api, "bills")
    assert content(response)
    assert response.headers["Content-Disposition"] == 'attachment; filename="bills.csv"'
    assert not {"Next-Cursor", "Prev-Cursor", "Link"} & set(response.headers)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "", ";", "a"])
def test_a_form_that_lists_do_not_have_is_refused(api, biller, accept):
    refused = api.get("/billing/bills", Accept=accept)
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(
    "accept", [",", "text/csv;q", "text/csv;=", "*/*;q=nan", "text/csv," * 60, "x" * 9000, "*;q=é"]
)
def test_no_accept_header_is_an_error_of_ours(api, biller, accept):
    response = api.get("/billing/bills", Accept=accept)
    b"".join(response)
    assert response.status_code in {200, 406}


def test_what_is_no_such_list_has_no_table(api, records):
    bill = Bill.objects.get(external_reference="V").pk
    for path in ("events", "webhook_endpoints", "deliveries", f"bills/{bill}", "payments/-P", "customers/C-2"):
        refused = asked(api, path)
        assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable"), path
    refused = api.post("/billing/customers", {"external_reference": "new"}, Accept="text/csv")
    assert refused.status_code == 406
    assert not Customer.objects.filter(external_reference="new").exists()


def test_the_lists_that_have_a_table_are_these():
    assert {listing.table.name for listing in LISTINGS.values()} == set(LISTINGS)


@KINDS
def test_asking_for_the_head_alone_leaves_nothing_open(api, records, ended, kind):
    response = api.call("HEAD", f"/billing/{kind}", Accept="text/csv")
    response.close()
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert ended()
