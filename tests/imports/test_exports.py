"""Lists as tables, by command and by text/csv: contract, section 4."""

import csv
import gzip
import http.client
import io
import json
import os
import random
import subprocess
import sys
import time
from datetime import date

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Account
from accounts.views import AccountViewSet
from api import exporting
from api.tables import BROKEN_OFF
from bench.loading import load, load_payments
from bench.serving import url_of_scratch
from billers.acts import perform
from billers.models import Biller
from bills.models import Bill
from bills.views import BillViewSet
from customers.models import Customer
from customers.views import CustomerViewSet
from ledger.models import Entry
from ledger.views import EntryViewSet
from payments.models import Payment
from payments.views import PaymentViewSet

LISTINGS = {
    "customers": CustomerViewSet,
    "accounts": AccountViewSet,
    "bills": BillViewSet,
    "payments": PaymentViewSet,
    "entries": EntryViewSet,
}
KINDS = pytest.mark.parametrize("kind", LISTINGS)
DAY = date(2026, 1, 31)
HOSTILE = [
    *("=1+1", "+1", "-1", "'=1+1", "''=1", "'-1", "@x", "\tx", "\rx\ny", 'a "quoted" word', "a,b;c\td|e", " x ", "'"),
    *("line\nline", "\r\n", "\\.", "\\N", '"', "NULL", "é漢\U0001f600", "-1\n", "--", "'+27821234567", "0", "\n=1"),
]
KEYS = ["route", "route ", "a,b;c;d;e;f;g;h;i;j;k;l;m;n", "=1", "a '", "\n", " x", "'", "Straße"]


@pytest.fixture
def pair(transactional_db):
    """Exports read over a connection of their own, which sees what has been committed."""
    return Biller.objects.found(name="Acme Water", reference="acme")


@pytest.fixture
def biller(pair):
    return pair["live"]


@pytest.fixture
def other(transactional_db):
    return Biller.objects.found(name="Other School", reference="other")["live"]


def issued(biller, reference, **fields):
    bill = {"currency": "ZAR", "amount_due": 100, "bill_date": DAY, "customer": "C"} | fields
    return perform(biller, "test", lambda act: Bill.objects.put(act, reference, **bill)[0])


@pytest.fixture
def records(api, biller, partner_api):
    """One of everything, some of it hostile; what the lists tell of it."""
    owner = {"external_reference": "=C;1", "name": "=HYPERLINK(1)", "email": "+jo@example.com"}
    account = {"external_reference": "-A", "name": "\tMain", "currency": "JPY", "balance": -7, "customer": owner}
    account |= {"metadata": {"route": "@7"}}
    issued(biller, "B-1", account=account, customer=None, description="-1+1", metadata={"route ": "'=x", "b": "x"})
    for kind in ("customers", "accounts"):
        api.post("/billing/customers", {"external_reference": kind, "phone": "+27821234567"})
    issued(biller, "+B", customer="customers", due_date=date(2026, 3, 1), amount_paid=30)
    perform(biller, "test", lambda act: Bill.objects.void(act, issued(biller, "V", customer="customers").pk, reason="="))
    bill = Bill.objects.get(external_reference="B-1").pk
    paid = {"obligation": bill, "amount": 10, "currency": "ZAR", "method": "cash"}
    assert api.post("/billing/payments", paid | {"external_reference": "-P"}, Idempotency_Key="1").status_code == 201
    assert api.post("/billing/payments/-P/reverse", {"reason": "@"}, Idempotency_Key="2").status_code == 201
    part = [{"obligation": bill, "amount": 3}, {"obligation": Bill.objects.get(external_reference="+B").pk, "amount": 4}]
    several = {"external_reference": "P2", "amount": 7, "currency": "ZAR", "method": "eft", "allocations": part}
    several |= {"metadata": {"till": "=7"}, "paid_at": "2026-01-31T10:00:00.25+02:00"}
    assert partner_api.post("/partner/payments", several, Idempotency_Key="3").status_code == 201


@pytest.fixture
def everything(biller, records):
    """What every list tells as JSON, by kind."""

    def read(caller, kind, query=""):
        return caller.get(f"/billing/{kind}?limit=100{query}").json()["data"]

    return read


def table(response):
    """Return the rows of a table that was answered."""
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(content(response).decode(), newline=""), strict=True))


def content(response):
    return b"".join(response.streaming_content)


def asked(caller, kind, query=""):
    return caller.get(f"/billing/{kind}{query}", Accept="text/csv")


@pytest.fixture
def export(tmp_path):
    """Run an export into a file; return its bytes and its report."""

    def export(kind, *options, reference="acme", name="out.csv"):
        path, out, err = tmp_path / name, io.StringIO(), io.StringIO()
        options = ["--biller", reference, "-o", str(path), "--json", *options]
        call_command(f"export_{kind}", *options, stdout=out, stderr=err)
        return path.read_bytes(), json.loads(out.getvalue())

    return export


def cell_of(value):
    """Return what a value of the JSON is in a table."""
    if value is None:
        return ""
    text = str(value)
    return text if isinstance(value, int) else exporting.marked(text) if hasattr(exporting, "marked") else text


# --- What a table tells ---


@KINDS
def test_a_table_tells_what_the_list_tells(api, everything, kind):
    rows = table(asked(api, kind, "?columns=all"))
    told = {row["id"]: row for row in everything(api, kind)}
    assert {row["id"] for row in rows} == set(told)
    assert len(rows) == len(told) > 0
    for row in rows:
        one = told[row["id"]]
        for name, cell in row.items():
            value = one["metadata"].get(name[9:]) if name.startswith("metadata.") else one.get(name.strip("'"))
            if name.endswith("_external_reference") or name == "obligation" and kind == "payments":
                continue
            if name == "allocations":
                assert json.loads(cell) == value
            elif name.endswith("_at") and value is not None:
                assert cell == value if "." in value else value.replace("Z", ".000000Z")
            elif isinstance(value, str):
                assert cell == exporting.Marked and False or cell in {value, f"'{value}"}
            else:
                assert cell == ("" if value is None else str(value)), name


def test_ids_of_a_table_name_parents_and_obligations(api, everything):
    bills = {row["external_reference"]: row for row in table(asked(api, "bills", "?columns=all"))}
    assert bills["B-1"]["account_external_reference"] == "'-A"
    assert bills["B-1"]["customer_external_reference"] == "'=C;1"
    assert bills["'+B"]["account_id"] == bills["'+B"]["account_external_reference"] == ""
    payments = {row["external_reference"]: row for row in table(asked(api, "payments"))}
    assert payments["'-P"]["obligation"] == bills["B-1"]["id"]
    assert payments["P2"]["obligation"] == ""
    assert [payments[name]["status"] for name in ("'-P", "P2")] == ["REVERSED", "ACCEPTED"]


@KINDS
def test_the_command_writes_what_the_api_answers(api, export, records, kind):
    for options, query in (((), ""), (("--columns", "all"), "?columns=all")):
        written, report = export(kind, *options)
        assert written == content(asked(api, kind, query))
        assert report["exported"] == len(list(csv.DictReader(io.StringIO(written.decode(), newline=""))))
        assert report["columns"] == [*dict.fromkeys(report["columns"])]


@KINDS
def test_without_rows_a_table_is_its_header(api, biller, kind):
    assert content(asked(api, kind)).count(b"\n") == 1
    assert content(asked(api, kind, "?created_at_gte=2999-01-01")).count(b"\n") == 1


def test_filters_orders_and_columns_are_those_of_the_list(api, everything):
    for kind, query in (
        ("bills", "&status=unpaid"),
        ("bills", "&metadata.b=x"),
        ("bills", "&overdue=true"),
        ("bills", "&customer=customers&sort=-due_date"),
        ("bills", "&sort=due_date"),
        ("bills", "&search=b-"),
        ("accounts", "&customer=%3DC%3B1"),
        ("customers", "&sort=name"),
        ("customers", "&sort=-name"),
        ("payments", "&reversed=true"),
        ("payments", "&reversed=false&partner=corner"),
        ("entries", "&kind=payment"),
        ("entries", "&as_of=2999-01-01&sort=created_at"),
        ("customers", "&external_reference=%20"),
    ):
        told = [row["id"] for row in everything(api, kind, query)]
        rows = [row["id"] for row in table(asked(api, kind, f"?columns=id,amount{query}".replace("amount&", "amount&")
                if kind in {"payments", "entries"} else f"?columns=id,created_at{query}"))]
        assert (rows if "sort" in query else sorted(rows)) == (told if "sort" in query else sorted(told)), query
    assert content(asked(api, "bills", "?columns=amount_due,external_reference&sort=amount_due&status=voided")) == (
        b"external_reference,amount_due\nV,100\n"
    )
    assert content(asked(api, "bills", "?columns=external_reference,metadata.b&external_reference=B-1")) == (
        b"external_reference,metadata.b\nB-1,x\n"
    )


# --- Who may see it, and what is refused ---


@KINDS
def test_another_biller_and_another_mode_see_nothing_of_it(api_for, pair, other, records, export, kind):
    for stranger in (other, pair["test"]):
        caller = api_for(stranger)
        header = content(asked(caller, kind, "?columns=all"))
        assert header.count(b"\n") == 1
        assert b"metadata." not in header
    for named in ("other", "acme"):
        written, report = export(kind, "--columns", "all", *(["--mode", "test"] if named == "acme" else []), reference=named)
        assert (written.count(b"\n"), report["exported"]) == (1, 0)


@pytest.mark.parametrize("query", ["customer={customer}", "account={account}"])
def test_another_billers_parents_in_a_filter_find_nothing(api_for, other, records, query):
    named = query.format(customer=Customer.objects.first().pk, account=Account.objects.first().pk)
    assert content(asked(api_for(other), "bills", f"?{named}")).count(b"\n") == 1


@KINDS
def test_every_table_is_of_one_biller(biller, kind):
    sql = str(LISTINGS[kind].exported(biller, {}).queryset.query)
    assert f'"biller_id" = {Biller._meta.pk.get_db_prep_value(biller.pk, connection)}' in sql


@KINDS
def test_a_table_needs_a_key_of_a_biller_and_reading_is_enough(api_for, nobody, biller, partner, kind):
    assert asked(nobody, kind).status_code == 401
    assert asked(api_for(partner), kind).status_code == 403
    assert asked(api_for(biller, scope="read"), kind).status_code == 200


def test_what_is_of_pages_or_unknown_is_refused_as_a_problem(api, biller):
    for query, code in {
        "limit=5": "invalid_parameter",
        "cursor=x": "invalid_parameter",
        "expand=customer": "invalid_parameter",
        "as_of=2026-01-01": "invalid_parameter",
        "columns=nonsense": "invalid_parameter",
        "columns=": "invalid_parameter",
        "columns=metadata.": "invalid_parameter",
        "columns=metadata." + "x" * 41: "invalid_parameter",
        "columns=payment_rules": "invalid_parameter",
        "columns=id&columns=id": "repeated_parameter",
        "sort=nonsense": "invalid_sort",
        "status=nonsense": "invalid_parameter",
        "nonsense=1": "unknown_parameter",
        "columns=metadata.%00": "invalid_parameter",
    }.items():
        refused = asked(api, "bills", f"?{query}")
        assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/problem+json"), query
        assert refused.json()["code"] == code, query
    assert asked(api, "bills", "?columns=metadata." + "x" * 40).status_code == 200
    assert api.get("/billing/bills?columns=id").json()["code"] == "unknown_parameter"
    assert asked(api, "entries", "?columns=metadata.x").status_code == 400


def test_only_these_lists_have_a_table(api, records):
    bill = Bill.objects.first().pk
    for path in ("events", "webhook_endpoints", "deliveries", f"bills/{bill}", "payments/-P", "customers/customers"):
        refused = asked(api, path)
        assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable"), path
    for method in ("POST", "PUT"):
        assert api.call(method, "/billing/bills", {}, Accept="text/csv").status_code == 406


def test_a_table_is_named_for_saving_and_caches_learn_what_it_depends_on(api, biller):
    response = asked(api, "bills")
    assert response.headers["Content-Disposition"] == 'attachment; filename="bills.csv"'
    assert response.headers["Vary"] == api.get("/billing/bills").headers["Vary"] == "Accept"
    assert "Next-Cursor" not in response.headers
    assert api.call("HEAD", "/billing/bills", Accept="text/csv").status_code == 200


# --- There and back ---


def hostile_bills(biller, count, seed=5):
    chance = random.Random(seed)

    def some():
        return chance.choice(HOSTILE) + chance.choice(["", *HOSTILE])

    def reference(number):
        return chance.choice(["=", "+", "-", "@", "'=", "''-", "'", "", '"', "a;b|"]) + str(number)

    for name in range(3):
        customer = {"external_reference": reference(name), "name": some()}
        account = {"external_reference": reference(name), "customer": customer, "name": some()}
        issued(biller, reference(f"A{name}"), customer=None, account=account)
    owners = [{"customer": row} for row in Customer.objects.for_biller(biller).values_list("pk", flat=True)]
    owners += [{"customer": None, "account": row} for row in Account.objects.for_biller(biller).values_list("pk", flat=True)]
    for number in range(count):
        fields = {
            "description": chance.choice([None, "", some()]),
            "due_date": chance.choice([None, date(2026, 3, 1)]),
            "amount_paid": chance.choice([0, 30, 100, 250]),
            "metadata": {key: chance.choice(["", some()]) for key in chance.sample(KEYS, chance.randrange(4))},
        }
        bill = issued(biller, reference(f"B{number}"), **chance.choice(owners), **fields)
        if chance.random() < 0.2 and not bill.amount_paid:
            perform(biller, "test", lambda act, bill=bill: Bill.objects.void(act, bill.pk))


def told_of(biller):
    """What a file of bills tells of them; an empty text is as good as none."""
    return sorted(
        (
            bill.external_reference, bill.customer.external_reference, bill.account and bill.account.external_reference,
            bill.currency, bill.amount_due, bill.amount_paid, bill.bill_date, bill.due_date, bill.description or None,
            sorted((key, value) for key, value in bill.metadata.items() if value),
        )
        for bill in Bill.objects.for_biller(biller).select_related("customer", "account")
    )  # fmt: skip


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_an_export_that_is_imported_changes_nothing(biller, export, bring, stored, name):
    hostile_bills(biller, 150)
    before = stored()
    export("bills", name=name)
    run = bring(str(export.__closure__[0].cell_contents / name))
    assert (run.code, run.rejected, run.created, run.updated) == (0, 0, 0, 0), run.err
    assert run.read == run.unchanged == Bill.objects.count()
    assert stored() == before


def test_an_export_that_is_imported_elsewhere_is_the_same_there(biller, other, export, bring, tmp_path):
    hostile_bills(biller, 150, seed=6)
    export("bills", "--filter", "status=unpaid")
    run = bring(str(tmp_path / "out.csv"), reference="other")
    assert (run.code, run.rejected, run.created) == (0, 0, Bill.objects.for_biller(biller).filter(status="UNPAID").count())
    unpaid = {bill.external_reference for bill in Bill.objects.for_biller(biller).filter(status="UNPAID")}
    assert told_of(other) == [told for told in told_of(biller) if told[0] in unpaid]


def test_all_columns_are_imported_by_those_who_ignore_what_is_ours_to_say(biller, export, bring, stored, tmp_path):
    hostile_bills(biller, 20, seed=7)
    before = stored()
    export("bills", "--columns", "all")
    assert bring(str(tmp_path / "out.csv")).code == 2
    assert bring(str(tmp_path / "out.csv"), "--ignore-unknown").unchanged == Bill.objects.count()
    assert stored() == before


def test_refused_rows_keep_their_marks_until_they_are_mended(biller, bring, tmp_path):
    head = '"external_reference","currency","amount_due","customer_external_reference","description","metadata.a;b \'"\n'
    run = bring(f"{head}'=B,ZAR,zero,'=C,''=D,'-x\n")
    assert (run.code, run.rejected) == (2, 1)
    mended = (tmp_path / "bills.csv.errors.csv").read_text().replace("zero", "7")
    assert bring(mended, name="mended.csv").code == 0
    bill = Bill.objects.get()
    assert (bill.external_reference, bill.customer.external_reference) == ("=B", "=C")
    assert (bill.description, bill.metadata) == ("'=D", {"a;b ": "-x"})


def test_a_quote_that_no_export_made_stays(biller, bring):
    head = "external_reference,currency,amount_due,customer_external_reference,description\n"
    assert bring(f"{head}'B,ZAR,7,'-5,'tis\n").code == 0
    bill = Bill.objects.get()
    assert (bill.external_reference, bill.customer.external_reference, bill.description) == ("'B", "'-5", "'tis")


# --- Metadata ---


def test_each_key_of_metadata_has_a_column_and_of_too_many_the_caller_chooses(api, biller, export, monkeypatch, tmp_path):
    issued(biller, "B", metadata={"a": "1", "b": "2"}, customer={"external_reference": "C"})
    issued(biller, "C", metadata={"c": "3"})
    monkeypatch.setattr(exporting, "MOST_KEYS", 3)
    rows = table(asked(api, "bills"))
    assert [name for name in rows[0] if name.startswith("metadata.")] == ["metadata.a", "metadata.b", "metadata.c"]
    issued(biller, "D", metadata={"d": "4"})
    refused = asked(api, "bills")
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (400, "columns")
    with pytest.raises(CommandError, match="more than 3 keys"):
        export("bills")
    assert [*tmp_path.iterdir()] == []
    assert content(asked(api, "bills", "?columns=external_reference,metadata.d&external_reference=D")) == (
        b"external_reference,metadata.d\nD,4\n"
    )
    assert asked(api, "bills", "?columns=metadata.a,metadata.b,metadata.c").status_code == 200
    assert asked(api, "bills", "?columns=metadata.a,metadata.b,metadata.c,metadata.d").status_code == 400
    assert asked(api, "bills", "?external_reference=B").status_code == 200


def test_keys_are_found_though_only_late_rows_hold_them(api, biller):
    load(biller, 0, 1_500)
    issued(biller, "B", customer="C-1", metadata={"late": "1"})
    for bill in Bill.objects.exclude(external_reference="B")[:1_200]:
        Bill.objects.filter(pk=bill.pk).update(metadata={"early": "1"})
    assert {"metadata.early", "metadata.late"} <= set(table(asked(api, "bills"))[0])


# --- The command ---


def test_an_archive_is_compressed_and_the_same_rows_are_the_same_bytes(biller, export, records):
    first, _ = export("bills", name="a.csv.gz")
    second, _ = export("bills", name="b.csv.gz")
    plain, _ = export("bills")
    assert first == second
    assert gzip.decompress(first) == plain


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--biller", "nobody"], "There is no biller “nobody” in live mode."),
        (["--biller", "acme", "--filter", "nonsense=1"], "“nonsense” is no filter of this list."),
        (["--biller", "acme", "--filter", "status"], "--filter status: give NAME=VALUE."),
        (["--biller", "acme", "--filter", "status=x"], "status: "),
        (["--biller", "acme", "--filter", "limit=1"], "is for JSON"),
        (["--biller", "acme", "--filter", "sort=due_date"], "that is the option --sort"),
        (["--biller", "acme", "--filter", "status=paid", "--filter", "status=unpaid"], "stands twice"),
        (["--biller", "acme", "--sort", "nonsense"], "Sort by "),
        (["--biller", "acme", "--columns", "nonsense"], "There is no column “nonsense”."),
        (["--biller", "acme", "--json"], "--json needs -o FILE"),
        (["--biller", "acme", "-o", "/nonsense/bills.csv"], "/nonsense/bills.csv: No such file or directory."),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_with_exit_code_2(biller, options, sentence):
    with pytest.raises(CommandError) as refused:
        call_command("export_bills", *options)
    assert sentence in str(refused.value)
    assert refused.value.returncode == 2


def test_a_file_appears_whole_or_not_at_all(biller, records, tmp_path, monkeypatch):
    path = tmp_path / "bills.csv"
    path.write_text("yesterday's")

    def broken(self):
        yield b"half"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting.Export, "chunks", broken)
    with pytest.raises(CommandError, match="No space left on device"):
        call_command("export_bills", "--biller", "acme", "-o", str(path))
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("bills.csv", "yesterday's")]


def manage(*arguments, **options):
    """Run a command as a process of its own."""
    environment = {**os.environ, "DATABASE_URL": url_of_scratch(), "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stderr=subprocess.PIPE, **options)


def test_standard_output_is_the_tables_and_whoever_stops_reading_is_no_crash(biller, export):
    load(biller, 0, 5_000)
    written, _ = export("bills")
    with manage("export_bills", "--biller", "acme", stdout=subprocess.PIPE) as whole:
        out, err = whole.communicate(timeout=60)
    assert (whole.returncode, out) == (0, written)
    assert err.decode().splitlines()[-1] == "Bills: 5,000 exported."
    with manage("export_bills", "--biller", "acme", stdout=subprocess.PIPE) as cut:
        cut.stdout.read(100)
        cut.stdout.close()
        err = cut.stderr.read().decode()
        assert cut.wait(60) == 2
    assert "Traceback" not in err
    assert "Exception ignored" not in err


# --- How it is read ---


def test_the_sessions_own_settings_do_not_show(biller, api, records):
    before = content(asked(api, "bills", "?columns=all&sort=created_at"))
    name = connection.settings_dict["NAME"]
    told = {"datestyle": "'SQL, DMY'", "timezone": "'Asia/Tokyo'", "statement_timeout": "'1ms'", "bytea_output": "escape"}
    with connection.cursor() as cursor:
        try:
            for setting, value in told.items():
                cursor.execute(f'ALTER DATABASE "{name}" SET {setting} = {value}')
            assert content(asked(api, "bills", "?columns=all&sort=created_at")) == before
        finally:
            cursor.execute(f'ALTER DATABASE "{name}" RESET ALL')


def test_an_export_that_takes_too_long_is_told_to_try_again(biller, api, records, settings):
    settings.EXPORT_TIMEOUT_SECONDS = 1
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE bills_bill IN ACCESS EXCLUSIVE MODE")
        refused = asked(api, "bills")
        cursor.execute("ROLLBACK")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert asked(api, "bills").status_code == 200


def copying():
    """Return the processes of the database that write a table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY (%'")
        return [pid for (pid,) in cursor.fetchall()]


def test_whoever_goes_away_half_way_leaves_nothing_open(biller):
    load(biller, 0, 20_000)
    chunks = BillViewSet.exported(biller, {}).chunks()
    next(chunks)
    assert len(copying()) == 1
    chunks.close()
    assert copying() == []


def test_a_table_that_breaks_off_says_so_and_is_not_imported(biller, api, bring):
    load(biller, 0, 20_000)
    response = asked(api, "bills")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", copying())
    lines = []
    with pytest.raises(Exception, match="terminat|clos|SSL|connection"):
        lines.extend(iter(response.streaming_content))
    told = b"".join(lines).decode()
    assert told.endswith("\n" + BROKEN_OFF)
    run = bring(told)
    assert (run.code, Bill.objects.filter(version__gt=1).count()) == (2, 0)
    assert "never closed" in run.err


def test_a_caller_who_goes_away_frees_the_server_too(server_port, api_for, biller):
    load(biller, 0, 100_000)
    line = http.client.HTTPConnection("127.0.0.1", server_port, timeout=60)
    line.request("GET", "/billing/bills", headers={"Authorization": f"Bearer {api_for(biller).key}", "Accept": "text/csv"})
    response = line.getresponse()
    assert response.read(1000).startswith(b"external_reference,")
    assert len(copying()) == 1
    line.sock.close() if line.sock else None
    response.close()
    until = time.monotonic() + 30
    while copying() and time.monotonic() < until:
        time.sleep(0.1)
    assert copying() == []


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize("few", [10_000, 100])
def test_parents_are_looked_up_by_key_for_few_rows_and_read_once_for_many(biller, other, monkeypatch, few):
    """Also where the statistics have not met the biller: docs/decisions/0008."""
    load(other, 10**9, 20_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    load(biller, 0, 2_000)
    monkeypatch.setattr(exporting, "_FEW", few)
    plans = []

    def explained(self, rows):
        sql, parameters = self._composed(rows)
        raw = self.own.connection.cursor()
        # Bound as COPY binds them: a plan for these very values.
        raw.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + raw.connection.cursor().mogrify(sql, parameters)
                    if hasattr(raw, "mogrify") else "EXPLAIN (ANALYZE, FORMAT JSON) " + sql, parameters)
        plans.extend(raw.fetchone()[0])
        return iter(())

    monkeypatch.setattr(exporting._Reading, "copied", explained)
    list(BillViewSet.exported(biller, {}).chunks())
    rows = {}
    for node in nodes(plans[0]["Plan"]):
        if "Relation Name" in node:
            looked = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            rows[node["Relation Name"]] = rows.get(node["Relation Name"], 0) + looked
    kinds = {node["Node Type"] for node in nodes(plans[0]["Plan"])}
    assert rows["bills_bill"] == 2_000
    if few == 100:
        assert "Nested Loop" not in kinds
        assert (rows["customers_customer"], rows["accounts_account"]) == (400, 400)
    else:
        assert rows["customers_customer"] == 2_000
        assert rows["accounts_account"] <= 2_000


def peak(*arguments):
    """Return the most memory that a command took, in MB."""
    measured = "import resource,runpy,sys;sys.argv=sys.argv[1:]\ntry: runpy.run_path('manage.py', run_name='__main__')\n"
    measured += "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, file=sys.stderr)"
    environment = {**os.environ, "DATABASE_URL": url_of_scratch(), "LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        [sys.executable, "-c", measured, "manage.py", *arguments],
        cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return int(done.stderr.split()[-1])


def test_memory_does_not_depend_on_how_many_rows_there_are(biller, other, tmp_path):
    load_payments(biller, [], 300_000)
    load_payments(other, [], 10)
    large, small = (
        peak("export_payments", "--biller", name, "-o", str(tmp_path / f"{name}.csv")) for name in ("acme", "other")
    )
    assert (tmp_path / "acme.csv").stat().st_size > 30_000_000
    assert large - small < 12
    assert Payment.objects.for_biller(biller).count() == 300_000
    assert Entry.objects.count() == 0
