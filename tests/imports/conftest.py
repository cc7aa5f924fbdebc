import csv
import io
import json
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from accounts.models import Account
from billers.acts import perform
from billers.models import Biller
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from ledger.models import Entry

SHARED = settings.BASE_DIR.parent / "shared" / "data"
collect_ignore = [] if SHARED.is_dir() else ["test_golden.py", "test_hostile_files.py"]


def pytest_terminal_summary(terminalreporter):
    if collect_ignore:
        terminalreporter.write_line(f"tests/imports: without {SHARED}, its real and hostile files were not imported.")


@pytest.fixture
def shared():
    """The folder of real and hostile files, beside the project."""
    return SHARED


@pytest.fixture
def pair(db):
    """One biller in live and test mode, ahead of UTC."""
    return Biller.objects.found(name="Acme", reference="acme", timezone="Africa/Johannesburg")


@pytest.fixture
def made(biller):
    """Make records through the verbs, as the API does."""

    def make(verb, *place, **fields):
        return perform(biller, "api:test", lambda act: verb(act, *place, **fields))

    return make


class Outcome:
    """What one run of import_bills came to."""

    def __init__(self, path, options, code, out, err):
        self.code, self.out, self.err = code, out.strip(), err
        self.report = json.loads(self.out) if self.out else None
        named = options[options.index("--errors") + 1] if "--errors" in options else f"{path}.errors.csv"
        self.errors_path = named

    def __getattr__(self, name):
        return self.report[name]

    @property
    def errors(self):
        """The refused rows, as the file of errors tells them."""
        with Path(self.errors_path).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def codes(self):
        """The codes of each refused row, by its line."""
        found = {}
        for row in self.errors:
            told = row["_errors"]
            found[int(row["_line"])] = [part.partition(")")[0] for part in told.split("(")[1:] if ")" in part]
        return found


@pytest.fixture
def bring(biller, tmp_path):
    """Import text, or bytes, or a file, and return what came of it."""

    def bring(file, *options, kind="bills", name="bills.csv", reference="acme"):
        path = file
        if isinstance(file, str | bytes):
            path = tmp_path / name
            path.write_bytes(file if isinstance(file, bytes) else file.encode())
        options = [str(option) for option in options]
        out, err, code = io.StringIO(), io.StringIO(), 0
        try:
            call_command(f"import_{kind}", str(path), "--biller", reference, "--json", *options, stdout=out, stderr=err)
        except SystemExit as left:
            code = left.code
        except CommandError as refusal:
            code = refusal.returncode
            err.write(str(refusal))
        return Outcome(path, options, code, out.getvalue(), err.getvalue())

    return bring


@pytest.fixture
def stored():
    """Everything that a run might move, of all billers: rows with their versions, entries, events."""

    def stored():
        return {
            model.__name__: [*model.objects.order_by("pk").values_list()] for model in (Customer, Account, Bill, Entry)
        } | {"Event": [*Event.objects.exclude(type="import.completed").order_by("pk").values_list()]}

    return stored
