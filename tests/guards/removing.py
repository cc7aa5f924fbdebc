"""What guards there are, read from the source and from PostgreSQL's catalogue, and how to try the tests without one."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from django.conf import settings
from django.db import connection

from bench.serving import url_of_scratch

ROOT = settings.BASE_DIR
APPS = ("accounts", "api", "billers", "bills", "customers", "events", "imports", "ledger", "payments")
LOCKS = ("locked", "select_for_update")
FILTERS = ("for_biller", "of_partner", "own", "collected_by", "ever_collected_by")
SQL = {
    r"FOR (NO KEY )?UPDATE( OF \w+)?( SKIP LOCKED)?": "",
    r" SKIP LOCKED": "",
    r"\b(\w+\.)?biller_id = (%\(biller\)s|\(SELECT %\(biller\)s::uuid\))": "true",
    r"\b(\w+\.)?biller_id = %s": "%s::uuid IS NOT NULL",
}
"""Locks and filters in SQL, and what each becomes."""
FOR_THE_INDEX = (
    r"for_biller\((one|reference|known)\.biller_id\)",
    r"for_biller\((job|imported)\.biller_id\)\.filter\((pk|import_id)=(job|imported)\.pk",
    r"biller_id = %\(biller\)s AND id = %\(job\)s",
    r"for_biller\(\S+\)\.filter\((endpoint_id=endpoint\.pk|payment_id=payment\.pk|pk=self\.imported\.pk)",
    r"for_biller\(self\.biller\)\.select_for_update\(no_key=True\)\n +self\.imported = mine",
    r"for_biller\(biller\)\.filter\(obligation_id=obligation_id, payment_id__isnull=False\)",
    r"biller_id = %\(biller\)s AND id = %\(delivery\)s",
    r"event\.biller_id = %\(biller\)s AND event\.id = waiting\.id",
    r"biller_id = \(SELECT %\(biller\)s::uuid\) AND obligation_id = bill\.id",
    r"biller_id = %\(biller\)s AND (\{on\}|id = named\.id|id = asked\.id)",
    r"(bill|account)\.biller_id = %\(biller\)s AND (bill|account)\.id = asked\.id",
)
"""Filters that narrow nothing: what is asked for is named by a row of the biller's that was found before, or is only
compared with such rows. They are there because each index begins with the biller."""
NEAREST = {
    "api/views.py": "imports/exports",
    "imports/models.py": "imports/test_jobs.py",
    "imports/paying.py": "imports/test_payments_file.py",
    "imports/running.py": "imports/test_jobs.py",
    "payments/looking_up.py": "payments/test_looking_up.py",
    "payments/reports.py": "payments/test_reports.py",
    "payments/settlements.py": "payments/test_settlements.py",
}
"""The tests of one module, which are tried before those that are about many."""

CATALOGUE = """
    SELECT tab.relname, con.conname, format('ALTER TABLE %I DROP CONSTRAINT %I CASCADE', tab.relname, con.conname)
    FROM pg_constraint AS con JOIN pg_class AS tab ON tab.oid = con.conrelid
    WHERE con.contype IN ('c', 'f', 'u') AND tab.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT tab.relname, tgname, format('DROP TRIGGER %I ON %I', tgname, tab.relname)
    FROM pg_trigger JOIN pg_class AS tab ON tab.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL
    SELECT tab.relname, idx.relname, format('DROP INDEX %I', idx.relname)
    FROM pg_index JOIN pg_class AS tab ON tab.oid = indrelid JOIN pg_class AS idx ON idx.oid = indexrelid
    WHERE indisunique AND NOT indisprimary AND tab.relnamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    ORDER BY 1, 2
"""
NO_TESTS = 5
"""What pytest ends with when nothing was selected."""


@dataclass(frozen=True)
class Guard:
    """One guard: what it is called, which tests are likely to miss it and run first, and how it is taken away."""

    name: str
    near: tuple[tuple[str, ...], ...]
    statement: str = ""
    file: str = ""
    source: str = ""


def guards_of_the_database() -> Iterator[Guard]:
    """Return every constraint, trigger and unique index of our tables."""
    with connection.cursor() as cursor:
        cursor.execute(CATALOGUE)
        found = cursor.fetchall()
    for table, name, statement in found:
        app = table.split("_")[0]
        if app in APPS:
            rule = re.sub(r"^pgtrigger_(\w+)_\w+$", r"\1", name)
            near = (("tests/test_rules.py", "-k", rule), ("tests/test_rules.py",), (f"tests/{app}", "tests/payments"))
            yield Guard(f"{table}: {name}", near, statement=statement)


def guards_of_the_source() -> Iterator[Guard]:
    """Return every word or clause that locks rows, or narrows a query to whom it is for; of pages and demo none."""
    for path in sorted(path for app in APPS for path in (ROOT / app).rglob("*.py")):
        file = path.relative_to(ROOT)
        if {"migrations", "management"} & set(file.parts) or path.name in {"admin.py", "demo.py"}:
            continue
        source = path.read_text()
        for start, end, instead in sorted([*calls(source), *clauses(source)]):
            if any(re.match(rf"\.?{kept}", source[start:]) for kept in FOR_THE_INDEX):
                continue
            taken = " ".join(source[start:end].split())
            locks = any(word in taken for word in (*LOCKS, "UPDATE", "LOCKED"))
            tests = (
                ("test_races.py", "payments/test_payment_races.py") if locks else ("test_tenancy.py", "test_doors.py")
            )
            near = tuple(f"tests/{name}" for name in (*tests, file.parts[0]) if (ROOT / "tests" / name).exists())
            nearest = NEAREST.get(str(file))
            first = ((f"tests/{nearest}",),) if nearest else ()
            line = source.count("\n", 0, start) + 1
            changed = source[:start] + instead + source[end:]
            yield Guard(f"{file}:{line} {taken}", (*first, near), file=str(file), source=changed)


def calls(source: str) -> Iterator[tuple[int, int, str]]:
    """Find the calls that narrow or lock, with their parentheses, and what stands in for each."""
    for call in re.finditer(rf"(?<!super\(\))\.({'|'.join(LOCKS + FILTERS)})\(", source):
        depth, end = 1, call.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end += 1
        yield call.start(), end, ".all()"


def clauses(source: str) -> Iterator[tuple[int, int, str]]:
    """Find the same in SQL."""
    for pattern, instead in SQL.items():
        for clause in re.finditer(pattern, source):
            yield clause.start(), clause.end(), clause.expand(instead)


class Copies:
    """Copies of the project, each with a database of its own, lent to whoever tries a guard."""

    def __init__(self, folder: Path, count: int) -> None:
        self.url = url_of_scratch()
        self.template = connection.settings_dict["NAME"]
        # No database is copied while anybody is connected to it.
        connection.close()
        self.free: SimpleQueue[Path] = SimpleQueue()
        for number in range(count):
            copy = folder / f"guarded{number}"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "var", "__pycache__"))
            self.free.put(copy)

    def fails(self, guard: Guard) -> bool:
        """Tell whether a test fails without this guard."""
        copy = self.free.get()
        kept = (copy / guard.file).read_text() if guard.file else ""
        try:
            if guard.file:
                (copy / guard.file).write_text(guard.source)
            return any(self._failed(guard, copy, tests) for tests in (*guard.near, ("tests",)))
        finally:
            if guard.file:
                (copy / guard.file).write_text(kept)
            self._database(copy.name, "")
            self.free.put(copy)

    def _failed(self, guard: Guard, copy: Path, tests: tuple[str, ...]) -> bool:
        self._database(copy.name, f'TEMPLATE "{self.template}"')
        command = [sys.executable, "-m", "pytest", "-x", "--reuse-db", *tests]
        url = re.sub(r"/[^/?]+\?", f"/{copy.name}?", self.url)
        environment = {**os.environ, "DATABASE_URL": url, "PYTHONDONTWRITEBYTECODE": "1"}
        if guard.statement:
            command += ["-p", "without"]
            environment |= {"WITHOUT": guard.statement, "PYTHONPATH": str(copy / "tests" / "guards")}
        try:
            done = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, check=False, timeout=3600, text=True
            )
        except subprocess.TimeoutExpired:
            return True  # what waits for ever has noticed
        if done.returncode not in {0, 1, NO_TESTS}:
            raise RuntimeError(f"Without {guard.name} nothing ran: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done.returncode == 1

    @staticmethod
    def _database(name: str, made: str) -> None:
        """Drop the database of a copy, and make it again if told how."""
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "test_{name}" WITH (FORCE)')
            if made:
                cursor.execute(f'CREATE DATABASE "test_{name}" {made}')
