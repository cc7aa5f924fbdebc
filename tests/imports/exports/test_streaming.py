"""How a table is read: over a connection of its own, in one moment, to its end or visibly not."""

import http.client
import logging
from contextlib import closing

import psycopg
import pytest
from django.db import OperationalError, connection
from tabled import asked, content, issued

from api import exporting
from api.tables import BROKEN_OFF
from bench.loading import load
from bills.models import Bill
from bills.views import BillViewSet


def test_the_sessions_own_settings_do_not_show(biller, api, records):
    before = content(asked(api, "bills", "?columns=all&sort=created_at"))
    name = connection.settings_dict["NAME"]
    told = {
        "datestyle": "'SQL, DMY'",
        "timezone": "'Asia/Tokyo'",
        "statement_timeout": "'1ms'",
        "bytea_output": "escape",
    }
    with connection.cursor() as cursor:
        try:
            for setting, value in told.items():
                cursor.execute(f'ALTER DATABASE "{name}" SET {setting} = {value}')
            assert content(asked(api, "bills", "?columns=all&sort=created_at")) == before
        finally:
            cursor.execute(f'ALTER DATABASE "{name}" RESET ALL')


def test_an_export_that_takes_too_long_is_told_to_try_again(biller, api, records, settings, ended):
    settings.EXPORT_TIMEOUT_SECONDS = 1
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE bills_bill IN ACCESS EXCLUSIVE MODE")
        refused = asked(api, "bills")
        cursor.execute("ROLLBACK")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert ended()
    assert content(asked(api, "bills")).count(b"\n") == 4


def test_a_table_is_of_one_moment(biller, api):
    load(biller, 0, 20_000)
    response = asked(api, "bills")
    issued(biller, "late", customer="C-1")
    assert content(response).count(b"\n") == 20_001
    assert content(asked(api, "bills")).count(b"\n") == 20_002


def test_whoever_goes_away_half_way_leaves_nothing_open(biller, copying, ended):
    load(biller, 0, 20_000)
    chunks = BillViewSet.exported(biller, {}).chunks()
    next(chunks)
    assert len(copying()) == 1
    chunks.close()
    assert ended()


def test_an_answer_of_which_nothing_is_read_leaves_nothing_open(biller, api, copying, ended):
    load(biller, 0, 20_000)
    response = asked(api, "bills")
    assert len(copying()) == 1
    response.close()
    assert ended()


@pytest.fixture
def cut_off(biller, api, copying, caplog):
    """A table whose connection ended half-way, as it came to the caller."""
    load(biller, 0, 20_000)
    response = asked(api, "bills")
    with connection.cursor() as cursor:
        [pid] = copying()
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    chunks = []
    with caplog.at_level(logging.ERROR, "api.tables"), pytest.raises(OperationalError):
        chunks.extend(iter(response))
    assert "table_broke_off" in caplog.text
    return b"".join(chunks)


def test_a_table_that_breaks_off_says_so_in_its_last_line(cut_off):
    header, *rows, last = cut_off.decode().split("\n")
    assert last == BROKEN_OFF
    assert 0 < len(rows) < 20_000
    assert {row.count(",") for row in rows} == {header.count(",")}


def test_a_table_that_broke_off_is_refused_whole_by_imports(cut_off, bring, stored):
    before = stored()
    run = bring(cut_off)
    assert run.code == 2
    assert "a quote that opens in this row is never closed" in run.err
    assert stored() == before


@pytest.fixture
def line(server_port):
    """A connection to a server of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", server_port, timeout=60)) as line:
        yield line


def test_a_server_passes_a_whole_table_on(line, api, biller):
    load(biller, 0, 20_000)
    line.request("GET", "/billing/bills", headers={"Authorization": f"Bearer {api.key}", "Accept": "text/csv"})
    response = line.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert sorted(response.read().splitlines()) == sorted(content(asked(api, "bills")).splitlines())


def test_a_caller_who_goes_away_ends_the_statement_behind_a_server(line, api, biller, copying, ended):
    load(biller, 0, 100_000)
    line.request("GET", "/billing/bills", headers={"Authorization": f"Bearer {api.key}", "Accept": "text/csv"})
    response = line.getresponse()
    assert response.read(1000).startswith(b"external_reference,")
    assert len(copying()) == 1
    response.close()
    line.close()
    assert ended()


def test_a_head_behind_a_server_has_no_body_and_leaves_nothing_open(line, api, biller, ended):
    load(biller, 0, 20_000)
    for _ in range(2):
        line.request("HEAD", "/billing/bills", headers={"Authorization": f"Bearer {api.key}", "Accept": "text/csv"})
        response = line.getresponse()
        assert (response.status, response.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert response.read() == b""
    assert ended()


def test_what_breaks_off_behind_a_server_is_marked(line, api, biller, copying):
    load(biller, 0, 100_000)
    line.request("GET", "/billing/bills", headers={"Authorization": f"Bearer {api.key}", "Accept": "text/csv"})
    response = line.getresponse()
    start = response.read(1000)
    with connection.cursor() as cursor:
        [pid] = copying()
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert (start + response.read()).decode().endswith(f"\n{BROKEN_OFF}")


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize(("few", "is_few"), [(10_000, True), (2_000, True), (1_999, False)])
def test_parents_are_looked_up_by_key_for_few_rows_and_read_once_for_many(biller, other, monkeypatch, few, is_few):
    """Also where the statistics have not met the biller: docs/decisions/0008."""
    load(other, 10**9, 20_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    load(biller, 0, 2_000)
    monkeypatch.setattr(exporting, "_FEW", few)
    plans = []

    def explained(self, rows):
        sql, parameters = self._composed(rows)
        # Bound as COPY binds them: a plan for these very values.
        cursor = psycopg.ClientCursor(self.own.connection)
        plans.extend(cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters).fetchone()[0])
        return iter(())

    monkeypatch.setattr(exporting._Reading, "copied", explained)
    list(BillViewSet.exported(biller, {}).chunks())
    [plan] = plans
    looked_at, kinds = {}, set()
    for node in nodes(plan["Plan"]):
        kinds.add(node["Node Type"])
        if name := node.get("Relation Name"):
            rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            looked_at[name] = looked_at.get(name, 0) + rows
    assert looked_at["bills_bill"] == Bill.objects.for_biller(biller).count() == 2_000
    assert ("Nested Loop" in kinds) == is_few
    if is_few:
        assert looked_at["customers_customer"] == 2_000
        assert looked_at["accounts_account"] <= 2_000
    else:
        assert (looked_at["customers_customer"], looked_at["accounts_account"]) == (400, 400)
