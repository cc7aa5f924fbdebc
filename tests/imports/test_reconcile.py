"""A partner's own file beside what it took: each line matched, or told what is wrong with it."""

import csv
import gzip
import io
import json
from datetime import UTC, date, datetime, timedelta
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from workbooks import workbook

from billers.models import Enablement, Partner
from imports.management.commands import reconcile as command

HEADER = "external_reference,amount,currency"


@pytest.fixture
def biller(pair):
    """The biller that the partner collects for, not one for imports alone."""
    return pair["live"]


@pytest.fixture
def till(partner_api):
    return partner_api


@pytest.fixture
def taken(api, till):
    """Let the till take a payment, and undo it where asked."""
    numbers = count()
    bill = api.post(
        "/billing/bills",
        {
            "external_reference": "B",
            "currency": "ZAR",
            "amount_due": 90000,
            "customer": {"external_reference": "C"},
        },
    ).json()

    def take(reference, amount, *, undone=False):
        body = {"external_reference": reference, "currency": "ZAR", "method": "cash", "amount": amount}
        key = f"k-{next(numbers)}"
        paid = till.post("/partner/payments", {**body, "obligation": bill["id"]}, Idempotency_Key=key)
        assert paid.status_code == 201, paid.content
        if undone:
            done = till.post(f"/partner/payments/{reference}/reverse", {"reason": "x"}, Idempotency_Key=f"{key}-undo")
            assert done.status_code == 201
        return paid.json()

    return take


@pytest.fixture
def reconcile(tmp_path, partner):
    """Reconcile a file; return the exit code and the report."""

    def run(text, *options, name="theirs.csv", reference=partner.reference):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command("reconcile", str(file), "--partner", reference, "--json", *options, stdout=out, stderr=err)
        except SystemExit as ended:
            return ended.code, json.loads(out.getvalue())
        except CommandError as refused:
            assert out.getvalue() == ""
            return refused.returncode, str(refused)
        return 0, json.loads(out.getvalue())

    return run


def counts(report):
    return {name: value for name, value in report.items() if isinstance(value, int) and value}


def test_a_file_that_tells_the_same_is_matched(taken, reconcile):
    taken("T-1", 500)
    taken("T-2", 300, undone=True)
    code, report = reconcile(f"{HEADER}\nT-1,500,ZAR\nT-2,300,ZAR\nT-2,-300,ZAR\n")
    assert (code, counts(report), report["differences"]) == (0, {"matched": 3}, [])
    assert report["totals"] == {"matched": {"ZAR": {"count": 3, "ours": 500, "theirs": 500}}}


def test_each_kind_of_difference_is_told_with_its_line(taken, reconcile):
    for number in range(1, 5):
        taken(f"T-{number}", number * 100)
    code, report = reconcile(
        f"{HEADER}\nT-1,100,ZAR\nT-2,201,ZAR\nT-3,300,USD\nT-9,5,ZAR\nT-1,100,ZAR\n,5,ZAR\nT-5,five,ZAR\nT-6,5,XXX\n"
    )
    assert code == 1
    assert counts(report) == {
        "matched": 1,
        "amount_differs": 1,
        "currency_differs": 1,
        "missing_here": 1,
        "missing_there": 1,
        "duplicate": 1,
        "unreadable": 3,
    }
    found = [(one["finding"], one["line"], one["external_reference"]) for one in report["differences"]]
    assert found == [
        ("amount_differs", 3, "T-2"),
        ("currency_differs", 4, "T-3"),
        ("missing_here", 5, "T-9"),
        ("duplicate", 6, "T-1"),
        ("unreadable", 7, None),
        ("unreadable", 8, None),
        ("unreadable", 9, None),
        ("missing_there", None, "T-4"),
    ]
    differing = report["differences"][0]
    assert (differing["our_amount"], differing["their_amount"], differing["biller"]) == (200, 201, "acme")
    assert differing["payment_id"].startswith("pay_")
    assert report["differences"][3]["detail"] == "Line 2 tells of it already."


def test_a_reversal_is_a_line_of_its_own_by_sign_or_by_kind(taken, reconcile):
    taken("T-1", 100, undone=True)
    for line in ("T-1,-100,ZAR,", "T-1,100,ZAR,Refund", "T-1,-100,ZAR,reversal"):
        assert reconcile(f"{HEADER},kind\nT-1,100,ZAR,\n{line}\n")[0] == 0
    code, report = reconcile(f"{HEADER}\nT-1,100,ZAR\n")
    assert (code, counts(report)) == (1, {"matched": 1, "missing_there": 1})
    assert report["differences"][0]["kind"] == "reversal"
    assert counts(reconcile(f"{HEADER},kind\nT-1,100,ZAR,loan\n")[1])["unreadable"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "External Reference;Amount;Currency\nT-1;100;ZAR\n",
        "REF\tValue\tCCY\nT-1\t100\tzar\n",
        "amount|external-reference|currency|note\n 100 | T-1 |ZAR|x\n",
        "\ufeffexternal_reference,amount,currency\nT-1,100,ZAR\n",
        "reference,amount,currency\nT-1,100,ZAR\n".encode("utf-16"),
        gzip.compress(b"reference,amount,currency\nT-1,100,ZAR\n", mtime=0),
    ],
)
def test_headers_delimiters_and_encodings_are_found_out(taken, reconcile, text):
    taken("T-1", 100)
    assert reconcile(text)[0] == 0


def test_a_partners_workbook_is_read_too_and_what_it_spoilt_is_unreadable(taken, reconcile, biller):
    taken("T-1", 500)
    taken("T-2", 700)
    theirs = (
        ["Reference", "Amount", "Currency", "Type", "Date"],
        ["T-1", 500, "ZAR", "payment", date(2026, 1, 1)],
        ["T-2", True, "ZAR", "payment", None],
        ["T-3", 5, "ZAR", True, None],
    )
    code, asked = reconcile(workbook(*theirs, more={"Notes": (["x"],)}))
    assert (code, "--sheet" in asked) == (2, True)
    code, report = reconcile(
        workbook(*theirs, more={"Notes": (["x"],)}), "--sheet", "Bills", "--date", str(biller.today())
    )
    assert (code, counts(report)) == (1, {"matched": 1, "missing_there": 1, "unreadable": 2})
    assert reconcile("reference;amount,currency\n")[0] == 2
    assert reconcile("reference|amount|currency\nT-1|500|ZAR\nT-2|700|ZAR\n", "--delimiter", "|")[0] == 0


def test_a_kind_with_a_nul_is_unreadable(taken, reconcile):
    code, report = reconcile(f"{HEADER},kind\nT,5,ZAR,a\0b\n")
    assert (code, counts(report)) == (1, {"unreadable": 1})


def test_amounts_may_be_in_the_major_unit_and_the_currency_an_option(taken, reconcile):
    taken("T-1", 2050)
    assert reconcile("reference,amount\nT-1,20.50\n", "--amounts", "major", "--currency", "ZAR")[0] == 0
    assert counts(reconcile("reference,amount\nT-1,20.505\n", "--amounts", "major", "--currency", "ZAR")[1]) == {
        "unreadable": 1,
        "missing_there": 1,
    }


def test_our_own_table_of_a_day_matches_itself(taken, reconcile, till):
    taken("-1-2", 100, undone=True)
    taken("T-2", 5)
    today = datetime.now(UTC).date().isoformat()
    table = b"".join(till.get(f"/partner/settlements/{today}", Accept="text/csv").streaming_content)
    code, report = reconcile(table, "--date", today)
    assert (code, counts(report)) == (0, {"matched": 3})
    assert report["period"] == [today, today]


def test_the_days_are_those_named_else_those_of_the_file_else_all(taken, reconcile):
    taken("T-1", 100)
    today = datetime.now(UTC).date()
    before = today - timedelta(days=1)
    empty = f"{HEADER}\nX,1,ZAR\n"
    assert counts(reconcile(empty, "--date", str(before))[1]) == {"missing_here": 1}
    assert counts(reconcile(empty, "--from", str(before), "--to", str(today))[1]) == {
        "missing_here": 1,
        "missing_there": 1,
    }
    dated = reconcile(f"{HEADER},Date\nX,1,ZAR,{before}T10:00:00Z\n")[1]
    assert (dated["period"], dated["missing_there"]) == ([str(before)] * 2, 0)
    undated = reconcile(empty)[1]
    assert (undated["period"], undated["missing_there"]) == (None, 1)


def test_another_partners_payments_and_those_in_test_mode_are_none_of_it(taken, reconcile, biller, pair, partners):
    taken("T-1", 100)
    stranger = Partner.objects.found(name="Bank", reference="bank")["live"]
    Enablement.objects.enable(stranger, [biller])
    assert counts(reconcile(f"{HEADER}\nT-1,100,ZAR\n", reference="bank")[1]) == {"missing_here": 1}
    assert counts(reconcile(f"{HEADER}\nT-1,100,ZAR\n", "--mode", "test")[1]) == {"missing_here": 1}


def test_one_biller_alone_may_be_compared(taken, reconcile, partner, other):
    taken("T-1", 100)
    Enablement.objects.enable(partner, [other])
    assert reconcile(f"{HEADER}\nT-1,100,ZAR\n", "--biller", "acme")[0] == 0
    assert counts(reconcile(f"{HEADER}\nT-1,100,ZAR\n", "--biller", "other")[1]) == {"missing_here": 1}
    assert reconcile(f"{HEADER}\nT-1,100,ZAR\n", "--biller", "nobody") == (2, "There is no biller “nobody”.")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", (), "The file is empty"),
        ("a,b\n1,2\n", (), "No column of the file is called external_reference."),
        ("reference,amount\nT-1,1\n", (), "no column currency"),
        (f"{HEADER}\nT-1,1,ZAR\n", ("--currency", "ZAR"), "--currency is not for it"),
        (f"{HEADER}\nT-1,1,ZAR\n", ("--currency", "zar"), "ISO 4217"),
        (f"{HEADER},Amount\nT-1,1,ZAR,1\n", (), "Two columns"),
        (f"{HEADER}\nT-1,1,ZAR\n", ("--date", "yesterday"), "YYYY-MM-DD"),
        (f"{HEADER}\nT-1,1,ZAR\n", ("--date", "2026-01-01", "--to", "2026-01-01"), "--date, or"),
        (f"{HEADER}\nT-1,1,ZAR\n", ("--from", "2026-01-01"), "both"),
        (f"{HEADER}\nT-1,1,ZAR\n", ("--from", "2026-01-02", "--to", "2026-01-01"), "before"),
        (f'{HEADER}\n"T-1,1,ZAR\n', (), "never closed"),
        (f"{HEADER}\nT-1,1,ZAR\n", ("--encoding", "klingon"), "no encoding"),
        (f"{HEADER}\nT-1,1,ZAR\n", ("--output", "/nowhere/at/all.csv"), "No such file"),
    ],
)
def test_what_cannot_be_done_says_why_and_ends_with_2(reconcile, text, options, said):
    code, told = reconcile(text, *options)
    assert code == 2
    assert said in told


def test_an_unknown_partner_and_a_file_that_is_not_there_end_with_2(reconcile, partner):
    assert reconcile(HEADER, reference="nobody") == (2, "There is no partner “nobody” in live mode.")
    with pytest.raises(CommandError) as refused:
        call_command("reconcile", "/nowhere.csv", "--partner", partner.reference)
    assert refused.value.returncode == 2


def test_every_difference_is_written_where_wanted_and_only_the_first_are_told(reconcile, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_MOST_TOLD", 2)
    output = tmp_path / "differences.csv"
    lines = "".join(f"={n},1,ZAR\n" for n in range(5))
    code, report = reconcile(f"{HEADER}\n{lines}", "--output", str(output))
    assert (code, report["missing_here"], len(report["differences"])) == (1, 5, 2)
    rows = list(csv.DictReader(output.open()))
    assert [row["external_reference"] for row in rows] == [f"'={n}" for n in range(5)]


def test_a_person_reads_sentences(taken, tmp_path, partner):
    taken("T-1", 100)
    taken("T-2", 2050)
    file = tmp_path / "theirs.csv"
    file.write_text(f"{HEADER}\nT-1,100,ZAR\nT-2,2000,ZAR\nT-3,1,ZAR\nT-3,1,ZAR\n\n")
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile", str(file), "--partner", partner.reference, stdout=out, stderr=err)
    assert ended.value.code == 1
    assert out.getvalue().splitlines() == [
        "All that there is.",
        "Matched: 1, ZAR 1.00.",
        "Missing here: 1, ZAR 0.01.",
        "Of another amount: 1, ZAR 20.50.",
        "Told twice: 1, ZAR 0.01.",
        "  line 3: payment T-2 ZAR 20.50 here, ZAR 20.00 there",
        "  line 4: payment T-3 ZAR 0.01 is not here",
        "  line 5: payment T-3 Line 4 tells of it already.",
    ]
    assert "Reading: 100 %" in err.getvalue()
