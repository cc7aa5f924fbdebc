"""`make bench`: ratios of one run, against plain DRF and against pgbench."""

import argparse
import json
import os
import statistics
import sys
import time
import uuid
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")

import django

django.setup()

from django.conf import settings
from django.db import connection
from django.test import Client
from rich.console import Console
from rich.table import Table

from bench import floor
from bench.client import Request, agree, http, rate
from bench.loading import BILL, BILLS_A_CUSTOMER, bill_number, load, load_payments, new_biller, scratch_database, settle
from bench.serving import OURS, PLAIN, served, url_of_scratch
from billers.models import ApiKey, Partner
from billing_project.database.server import PrivateServer
from core.ids import encode

TARGETS: dict[str, float | None] = {
    "get": 3.5,
    "list of 100": 2.5,
    "patch": 2.0,
    "composite create": 4.0,
    "payment": None,
    "lookup": 3.0,
}
"""How many times as many as plain DRF; None where it has no twin."""
FLOOR_TARGET = 0.25
STATEMENTS = {"payment": 10, "lookup": 4}
"""The most that a request may send."""
MOST_A_SECOND = 3_000
"""More payments than pgbench reaches: each is of a bill of its own."""
FLAT = 1.5
TOKEN = "7777777"
REPORTS = {
    "ageing": "/billing/reports/ageing",
    "collections of a year": "/billing/reports/collections?from=2026-01-01&to=2026-12-31",
    "collections of a year by method": "/billing/reports/collections?from=2026-01-01&to=2026-12-31&group=method",
    "collections of a month": "/billing/reports/collections?from=2026-03-01&to=2026-03-31",
    "settlement of a day": "/partner/settlements/2026-03-01",
}

console = Console()


def composite(reference: str) -> str:
    """Return a bill under a new account under a new customer."""
    customer = {"external_reference": f"C{reference}", "name": "John Doe", "phone": "+27821234567"}
    account = {"external_reference": f"A{reference}", "name": "Primary Account", "customer": customer}
    body = {"external_reference": f"B{reference}", "currency": "ZAR", "amount_due": 2000, "account": account}
    return json.dumps({**body, "due_date": "2026-12-31", "description": "Water and electricity"})


def requests(key: str, bills: int, run: str) -> dict[str, Request]:
    """Return the measured requests; `run` keeps the references of two runs apart."""
    return {
        "get": lambda n: http("GET", f"/billing/bills/INV-{n * 7919 % bills}", key),
        "list of 100": lambda n: http("GET", "/billing/bills?limit=100", key),
        "patch": lambda n: http(
            "PATCH", f"/billing/bills/INV-{n * 7919 % bills}", key, json.dumps({"amount_paid": n % 90 + 1})
        ),
        "composite create": lambda n: http(
            "POST", "/billing/bills", key, composite(f"{run}-{n}"), Idempotency_Key=f"{run}-{n}"
        ),
    }


def partner_requests(key: str, bills: int, run: str) -> dict[str, Request]:
    """Return what a partner asks: payments of the bills from `bills` on, lookups of those before them."""
    return {
        "payment": lambda n: http(
            "POST",
            "/partner/payments",
            key,
            payment(f"{run}-{n}", bills + n * 7919 % bills),
            Idempotency_Key=f"{run}-{n}",
        ),
        "lookup": lambda n: http("GET", lookup(n, bills), key),
    }


def payment(reference: str, serial: int) -> str:
    """Return a payment of a part of the bill with this serial."""
    obligation = encode("bill", uuid.UUID(int=bill_number(serial)))
    body = {"external_reference": reference, "obligation": obligation, "amount": 1, "currency": "ZAR", "method": "cash"}
    return json.dumps(body)


def lookup(n: int, bills: int) -> str:
    """Return the address that tells what is owed under a customer's reference, and every other time under a bill's."""
    serial = n * 7919 % bills
    reference = f"INV-{serial}" if n % 2 else f"C-{serial // BILLS_A_CUSTOMER}"
    return f"/partner/obligations?biller=bench&reference={reference}"


def compare(arguments: argparse.Namespace) -> None:
    """Print ours beside plain DRF and beside pgbench."""
    with scratch_database("billing_bench"):
        biller, key = new_biller("bench")
        partner = Partner.objects.found(name="Till", reference="till")["live"]
        till = ApiKey.objects.issue(partner)[1]
        # Looked at and changed the first, paid the second, and the others paid once each by pgbench.
        load(biller, 0, 2 * arguments.bills + arguments.rounds * _paid_by_pgbench(arguments))
        load_payments(biller, [partner], arguments.bills)
        settle()
        database = {"DATABASE_URL": url_of_scratch()}
        found: dict[tuple[str, str], list[float]] = {}
        sent: dict[str, int] = {}
        with (
            served(OURS, database) as ours,
            served(PLAIN, database) as plain,
        ):
            ports = {"ours": ours, "plain": plain}
            for n in range(2):
                agree(ports.values(), http("GET", lookup(n, arguments.bills), till))
            for turn in range(-1, arguments.rounds):
                for name, target in TARGETS.items():
                    for who, port in ports.items():
                        if who == "plain" and target is None:
                            continue
                        asked = requests(key, arguments.bills, f"{who}{turn}")
                        asked |= partner_requests(till, arguments.bills, f"{who}{turn}")
                        reached = rate(port, asked[name], arguments.seconds)
                        if turn >= 0:  # the first turn warms up
                            found.setdefault((name, who), []).append(reached)
                            console.print(f"  {name:17} {who:6} {reached:8.0f}/s", style="dim")
                if turn >= 0:
                    for name, tps in floors(key, till, turn, sent, arguments).items():
                        found.setdefault((name, "floor"), []).append(tps)
        report(found, sent)


def _paid_by_pgbench(arguments: argparse.Namespace) -> int:
    return MOST_A_SECOND * max(2, round(arguments.seconds))


def floors(key: str, till: str, turn: int, sent: dict[str, int], arguments: argparse.Namespace) -> dict[str, float]:
    """Return what pgbench reaches with the statements of a create and a payment; count them, and those of a lookup."""
    server = None if settings.DATABASE_URL else PrivateServer.at(Path(settings.DATA_DIR)).binaries().folder
    pgbench = floor.pgbench_beside(server)
    token = f"{TOKEN}{time.time_ns() % 10**9}"
    unpaid = 2 * arguments.bills + turn * _paid_by_pgbench(arguments)
    floor.fresh_from_now()
    time.sleep(0.01)
    create = _captured(key, "/billing/bills", composite(token), token)
    paid = _captured(till, "/partner/payments", payment(token, unpaid), token)
    looked_up = _captured(till, lookup(0, arguments.bills))
    sent |= {name: len(one) + 2 for name, one in {"composite create": create, "payment": paid}.items()}
    sent["lookup"] = len(looked_up)
    if pgbench is None:
        console.print("pgbench is not installed: no floor.")
        return {}
    seconds = max(2, round(arguments.seconds))
    reached = {}
    for name, statements in {"composite create": create, "payment": paid}.items():
        start = time.time_ns() // 10**6
        bill = {uuid.UUID(int=bill_number(unpaid)): BILL.format(serial=f"{unpaid + 1} + :k")}
        reached[name] = floor.rate(pgbench, floor.script(statements, token, start, bill), start, seconds)
    return reached


def _captured(key: str, path: str, body: str = "", token: str = "") -> list[floor.Statement]:
    """Return the statements of a request, without BEGIN and COMMIT, once the key is known."""
    caller = Client(headers={"Authorization": f"Bearer {key}"})
    caller.get("/billing/bills/INV-1" if path.startswith("/billing") else "/partner/billers")
    with floor.captured() as statements:
        if body:
            answer = caller.post(path, body, content_type="application/json", headers={"Idempotency-Key": token})
        else:
            answer = caller.get(path)
    if answer.status_code not in {200, 201}:
        raise RuntimeError(answer.content.decode())
    return statements


def report(found: dict[tuple[str, str], list[float]], sent: dict[str, int]) -> None:
    """Print the medians and what they make of the targets."""
    table = Table("", "ours /s", "plain DRF", "ratio (target)", "pgbench", "of it (target)", "statements", "")
    for name, target in TARGETS.items():
        ours = found[name, "ours"]
        cells, met = [f"{statistics.median(ours):.0f}", "", "", "", "", ""], True
        if target is not None:
            plain = found[name, "plain"]
            ratio = statistics.median([a / b for a, b in zip(ours, plain, strict=True)])
            cells[1:3] = [f"{statistics.median(plain):.0f}", f"{ratio:.2f} ({target:.1f})"]
            met = ratio >= target
        if reached := found.get((name, "floor")):
            share = statistics.median([a / b for a, b in zip(ours, reached, strict=True)])
            cells[3:5] = [f"{statistics.median(reached):.0f}", f"{share:.0%} ({FLOOR_TARGET:.0%})"]
            met = met and share >= FLOOR_TARGET
        if name in sent:
            most = STATEMENTS.get(name)
            cells[5] = f"{sent[name]} ({most})" if most else f"{sent[name]}"
            met = met and (most is None or sent[name] <= most)
        table.add_row(name, *cells, "met" if met else "missed")
    console.print(table)


def growth(arguments: argparse.Namespace) -> None:
    """Print how get, list and create change from ten thousand bills to millions, one biller holding half."""
    medians: dict[str, list[float]] = {}
    with scratch_database("billing_growth"):
        biller, key = new_biller("half")
        others = [new_biller(f"other{n}")[0] for n in range(10)]
        loaded = 0
        for size in (10_000, arguments.growth):
            load(biller, loaded // 2, size // 2 - loaded // 2)
            for place, other in enumerate(others):
                share = (size - loaded) // 20
                load(other, 10**9 * (place + 1) + loaded // 20, share)
            loaded = size
            settle()
            with served(OURS, {"DATABASE_URL": url_of_scratch()}) as port:
                for name, request in requests(key, size // 2, f"g{size}").items():
                    if name != "patch":
                        measured = [rate(port, request, arguments.seconds) for _ in range(arguments.rounds + 1)][1:]
                        medians.setdefault(name, []).append(statistics.median(measured))
    table = Table("", "10,000 bills", f"{arguments.growth:,} bills", "slower by", "")
    for name, (small, large) in medians.items():
        slower = small / large
        table.add_row(
            name, f"{small:.0f}/s", f"{large:.0f}/s", f"{slower:.2f} times", "flat" if slower <= FLAT else "grows"
        )
    console.print(table)


def reports(arguments: argparse.Namespace) -> None:
    """Print how long reports take of one biller with so many unpaid bills, and a fifth as many payments in a year."""
    with scratch_database("billing_reports"):
        biller, key = new_biller("reports")
        partners = [Partner.objects.found(name=f"Partner {n}", reference=f"p{n}")["live"] for n in range(5)]
        load(biller, 0, arguments.reports)
        load_payments(biller, partners, arguments.reports // 5)
        settle()
        callers = {"billing": key, "partner": ApiKey.objects.issue(partners[0])[1]}
        table = Table("", "median", "slowest", "bytes")
        for name, path in REPORTS.items():
            caller = Client(headers={"Authorization": f"Bearer {callers[path.split('/')[1]]}"})
            times, size = [], 0
            for _ in range(arguments.rounds + 1):
                started = time.perf_counter()
                answer = caller.get(path)
                size = len(answer.content)
                times.append(time.perf_counter() - started)
                if answer.status_code != 200:
                    raise RuntimeError(answer.content.decode())
            taken = times[1:]  # the first warms up
            table.add_row(name, f"{statistics.median(taken) * 1000:.0f} ms", f"{max(taken) * 1000:.0f} ms", f"{size:,}")
        console.print(table)


def main(words: list[str]) -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--bills", type=int, default=20_000, help="loaded before measuring (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="medians are of so many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--growth", type=int, metavar="BILLS", help="measure growth to so many bills instead")
    parser.add_argument("--reports", type=int, metavar="BILLS", help="measure reports over so many bills instead")
    arguments = parser.parse_args(words)
    (reports if arguments.reports else growth if arguments.growth else compare)(arguments)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1:])
