"""One engine, three doors: a file comes to the same by the command, over the API and from the console."""

import csv
import io
import json
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import reverse
from sheets import row, sheet

from accounts.models import Account
from billers.models import Biller
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from imports.models import Import
from imports.running import Runner
from ledger.models import Entry
from payments.models import Payment

pytestmark = pytest.mark.django_db(transaction=True)
CUSTOMERS = sheet(
    *({"external_reference": f"C{n}", "name": f"N {n}", "currency": "ZAR", "balance": n * 100} for n in range(8)),
    {"external_reference": "C9", "email": "nobody"},
)
BILLS = sheet(
    *(
        row(f"B{n}", amount_due=n + 10, amount_paid=n % 3, customer_external_reference=f"C{n % 4}",
            account_external_reference=f"A{n % 2}-{n % 4}", description="é;“x”")
        for n in range(40)
    ),
    row("B1"), row("B41", amount_due="-1"), row("B42", currency="zar", description="a\nb"),
)  # fmt: skip
MAJOR = "Ref,Amount,Payer,Note\n" + "".join(f"M{n},{n}.50,C{n % 3},x\n" for n in range(1, 20)) + "M99,1.234,C1,x\n"
PAID = {"amount": 5, "currency": "ZAR", "method": "cash"}
PAYMENTS = sheet(
    *({**PAID, "external_reference": f"P{n}", "bill_external_reference": f"B{n}"} for n in range(12)),
    {**PAID, "external_reference": "P99", "bill_external_reference": "none"},
)  # fmt: skip
MAPPED = {
    "map": ["external_reference=Ref", "amount_due=Amount", "customer_external_reference=Payer"],
    "ignore_unknown": True,
    "amounts": "major",
    "currency": "ZAR",
    "due_days": 7,
}
FILES = [
    ("customers", CUSTOMERS, {}),
    ("bills", BILLS, {"dry_run": True}),
    ("bills", BILLS, {"on_error": "abort"}),
    ("bills", BILLS, {"max_errors": 2}),
    ("bills", BILLS, {"events": True}),
    ("bills", MAJOR, MAPPED),
    ("bills", BILLS.encode("utf-16"), {}),
    ("bills", BILLS.replace(",", ";"), {}),
    ("payments", PAYMENTS, {}),
    ("payments", PAYMENTS, {}),
]
NAMES = ("read", "created", "updated", "unchanged", "rejected", "customers", "accounts", "totals", "warnings")


class Command:
    """The command, told the file by its path."""

    def __init__(self, biller, request):
        self.biller, self.folder = biller, request.getfixturevalue("tmp_path")

    def bring(self, kind, file, options):
        path = self.folder / "sent.csv"
        path.write_bytes(file)
        errors = self.folder / "errors.csv"
        errors.unlink(missing_ok=True)
        told = []
        for name, value in options.items():
            spelt = f"--{name.replace('_', '-')}"
            for one in value if isinstance(value, list) else [value]:
                told += [spelt] if one is True else [spelt, str(one)]
        out = io.StringIO()
        line = [
            f"import_{kind}",
            str(path),
            "--biller",
            self.biller.reference,
            "--json",
            "--errors",
            str(errors),
            *told,
        ]
        with suppress(SystemExit):
            call_command(*line, stdout=out, stderr=io.StringIO())
        return json.loads(out.getvalue()), errors.read_bytes() if errors.exists() else b""


class Api:
    """The API, and a worker."""

    def __init__(self, biller, request):
        self.caller = request.getfixturevalue("api_for")(biller)

    def bring(self, kind, file, options):
        asked = {"kind": kind, **{name: "true" if value is True else value for name, value in options.items()}}
        address = f"/billing/imports?{urlencode(asked, doseq=True)}"
        sent = self.caller.call("POST", address, file, Content_Type="text/csv")
        Runner(once=True).work()
        told = self.caller.get(f"/billing/imports/{sent.json()['id']}").json()
        errors = self.caller.get(told["errors_url"]).getvalue() if told["errors_url"] else b""
        return {name: told[name] for name in NAMES}, errors


class Console:
    """The console, and a worker."""

    def __init__(self, biller, request):
        self.biller, self.client = biller, request.getfixturevalue("client")
        self.client.force_login(User.objects.create_superuser("thandi", password="pass"))

    def bring(self, kind, file, options):
        add = f"{reverse('admin:imports_import_add')}?biller={self.biller.pk}"
        self.client.post(add, {"kind": kind, "file": SimpleUploadedFile("sent.csv", file)})
        draft = Import.objects.for_biller(self.biller).get(phase="draft")
        usual = {"amounts": "minor", "on_error": "skip", "date_format": "%Y-%m-%d"}
        told = {name: "\n".join(value) if isinstance(value, list) else value for name, value in options.items()}
        button = "try" if told.pop("dry_run", False) else "run"
        page = "admin:imports_import_{}"
        answer = self.client.post(
            reverse(page.format("preview"), args=[quote(draft.pk)]), {**usual, **told, button: ""}
        )
        assert answer.status_code == 302, answer.context["trouble"]
        Runner(once=True).work()
        ended = Import.objects.for_biller(self.biller).exclude(phase="draft").order_by("-created_at", "-id").first()
        if button == "try":
            self.client.post(reverse(page.format("preview"), args=[quote(draft.pk)]), {"discard": ""})
        kept = reverse(page.format("refused"), args=[quote(ended.pk)])
        errors = self.client.get(kept).getvalue() if ended.errors_until else b""
        return {name: ended.report[name] for name in NAMES}, errors


def stored(biller):
    """All that a biller has, without ids and times."""
    of = {model: model.objects.for_biller(biller) for model in (Customer, Account, Bill, Entry, Event, Payment)}
    names = {
        Customer: ("external_reference", "name", "email", "currency", "balance", "metadata", "version", "entry_count"),
        Account: ("external_reference", "customer__external_reference", "currency", "balance", "version"),
        Bill: (
            *(
                "external_reference",
                "customer__external_reference",
                "account__external_reference",
                "currency",
                "version",
            ),
            *("amount_due", "amount_paid", "bill_date", "due_date", "description", "status", "entry_count"),
        ),
        Entry: ("obligation_kind", "sequence", "amount", "total", "kind", "actor"),
        Payment: ("external_reference", "amount", "currency", "method", "actor"),
        Event: ("type",),
    }
    return {model.__name__: sorted(map(str, rows.values_list(*names[model]))) for model, rows in of.items()}


@pytest.fixture
def doors(request, db):
    """Each door, with a biller of its own behind it."""
    made = {}
    for door in (Command, Api, Console):
        owner = Biller.objects.found(name="Acme", reference=door.__name__.lower(), timezone="Africa/Johannesburg")[
            "live"
        ]
        made[door] = (owner, door(owner, request))
    return made


def test_files_come_to_the_same_by_every_door(doors):
    for kind, file, options in FILES:
        content = file if isinstance(file, bytes) else file.encode()
        told = {door: one.bring(kind, content, options) for door, (_, one) in doors.items()}
        report, errors = told[Command]
        assert report["read"] > 10 or kind == "customers"
        assert told[Api] == told[Console] == (report, errors), (kind, options)
        assert bool(errors) == bool(report["rejected"])
        found = [stored(owner) for owner, _ in doors.values()]
        assert found[0] == found[1] == found[2], (kind, options)
    rows = [*csv.DictReader(io.StringIO(errors.decode()))]
    assert [line["external_reference"] for line in rows] == ["P99"]
    assert len(found[0]["Bill"]) == 40 + 19
    assert len(found[0]["Payment"]) == 12
    call_command("check_ledger")
