"""Exports by command: what they write, what they refuse, and what they leave behind."""

import gzip
import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from tabled import KINDS, asked, content, issued, read

from api import exporting
from api.tables import BROKEN_OFF
from bench.loading import load, load_payments
from bench.serving import url_of_scratch


@KINDS
@pytest.mark.parametrize("columns", [None, "all"])
def test_a_command_writes_what_the_api_answers(api, export, records, kind, columns):
    written, report = export(kind, *(["--columns", columns] if columns else []))
    assert written == content(asked(api, kind, f"?columns={columns}" if columns else ""))
    names, rows = read(written)
    assert (report["exported"], report["columns"]) == (len(rows), names)
    assert len(rows) > 1


def test_filters_order_and_columns_are_options(api, export, records):
    options = ("--filter", "status=unpaid", "--filter", "currency=ZAR", "--sort=-external_reference", "--columns", "id")
    query = "?status=unpaid&currency=ZAR&sort=-external_reference&columns=id"
    assert export("bills", *options)[0] == content(asked(api, "bills", query))
    assert export("bills", *options)[1]["exported"] == 2


@KINDS
def test_a_biller_and_a_mode_are_exported_and_no_other(other, records, export, kind):
    for options in ({"reference": "other"}, {"mode": "test"}):
        told = ["--columns", "all", *(["--mode", "test"] if "mode" in options else [])]
        written, report = export(kind, *told, reference=options.get("reference", "acme"))
        assert (written.count(b"\n"), report["exported"]) == (1, 0)


def test_an_archive_is_compressed_and_the_same_rows_are_the_same_bytes(biller, export, records):
    first, _ = export("bills", name="a.csv.gz")
    second, _ = export("bills", name="b.csv.gz")
    plain, _ = export("bills")
    assert first == second
    assert gzip.decompress(first) == plain


def test_the_report_is_one_sentence_without_json(biller, records, tmp_path, capsys):
    path = tmp_path / "bills.csv"
    call_command("export_bills", "--biller", "acme", "-o", str(path))
    assert capsys.readouterr().out == f"Bills: 3 exported to {path}.\n"


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
        (["--biller", "acme", "--filter", "search=\0"], "--filter cannot hold a NUL."),
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
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 2


def test_too_many_keys_of_metadata_leave_no_file(biller, export, monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "MOST_KEYS", 1)
    issued(biller, "B", metadata={"a": "1", "b": "2"}, customer={"external_reference": "C"})
    with pytest.raises(CommandError, match="more than 1 keys") as refused:
        export("bills")
    assert refused.value.returncode == 2
    assert [*tmp_path.iterdir()] == []


def test_a_file_appears_whole_or_not_at_all(biller, tmp_path, copying, monkeypatch):
    load(biller, 0, 20_000)
    path = tmp_path / "bills.csv"
    path.write_text("yesterday's")
    whole = exporting.Export.chunks

    def cut(self):
        for chunk in whole(self):
            yield chunk
            with connection.cursor() as cursor:
                for pid in copying():
                    cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

    monkeypatch.setattr(exporting.Export, "chunks", cut)
    with pytest.raises(CommandError, match="The database broke off") as refused:
        call_command("export_bills", "--biller", "acme", "-o", str(path))
    assert refused.value.returncode == 2
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("bills.csv", "yesterday's")]


def started(*arguments, **options):
    """Start a command as a process of its own."""
    environment = {**os.environ, "DATABASE_URL": url_of_scratch(), "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stderr=subprocess.PIPE, **options)


def test_standard_output_is_the_tables_alone(biller, export):
    load(biller, 0, 5_000)
    written, _ = export("bills")
    with started("export_bills", "--biller", "acme", stdout=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, written)
    assert err.decode().splitlines()[-1] == "Bills: 5,000 exported."


def test_whoever_stops_reading_standard_output_meets_no_crash(biller, ended):
    load(biller, 0, 20_000)
    with started("export_bills", "--biller", "acme", stdout=subprocess.PIPE) as process:
        process.stdout.read(100)
        process.stdout.close()
        err = process.stderr.read().decode()
        assert process.wait(60) == 2
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert ended()


def test_standard_output_that_breaks_off_says_so_at_its_end(biller, copying):
    load(biller, 0, 20_000)
    with started("export_bills", "--biller", "acme", stdout=subprocess.PIPE) as process:
        start = process.stdout.read(100)
        with connection.cursor() as cursor:
            [pid] = copying()
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (start + out).decode().endswith(f"\n{BROKEN_OFF}")
    assert "The database broke off" in err.decode()


def peak(*arguments):
    """Return the most memory that a command took, in MB; `getrusage` would count what forked it too."""
    measured = (
        "import re,runpy,sys;sys.argv=sys.argv[1:]\ntry: runpy.run_path('manage.py', run_name='__main__')\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)"
    )
    environment = {**os.environ, "DATABASE_URL": url_of_scratch(), "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-c", measured, "manage.py", *arguments]
    done = subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    return int(done.stderr.split()[-1]) >> 10


def test_memory_does_not_grow_with_the_rows_and_stays_under_200_mb(biller, other, tmp_path):
    load_payments(biller, [], 300_000)
    large, none = (
        peak("export_payments", "--biller", name, "-o", str(tmp_path / f"{name}.csv")) for name in ("acme", "other")
    )
    assert (tmp_path / "acme.csv").stat().st_size > 25_000_000
    assert large - none < 12
    assert large < 200
