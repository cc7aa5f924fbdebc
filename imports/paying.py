"""The lines of a file of payments: each is taken by the verb that takes a payment of the API, in its own savepoint.

A payment that is there already is never changed: a line that says the same of it is unchanged, any other refused.
"""
# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction

from billers.acts import Act
from bills.models import Bill, Status
from core.ids import encode
from core.refusals import Conflict, Missing, Reason, Refusal, explain
from imports.cells import OLDEST_FIRST
from imports.staging import rows, run, stored
from payments import collecting
from payments.models import Payment

_OWNERS = ("bill", "account", "customer")
_PREFIXES = {"bill": "bill", "account": "bacc", "customer": "bcus"}

_RESOLVED = " ".join(
    f"LEFT JOIN {stored(model._meta.db_table, kind, f'external_reference = line.{kind}_external_reference')} ON true"
    for kind, model in collecting.KINDS.items()
)
_LINES = f"""
    SELECT line.line, line.external_reference, line.amount, line.currency, line.method, line.paid_at,
        COALESCE(line.metadata, '{{}}') AS metadata, line.partner, line.allocations, line.obligation,
        line.bill_external_reference, line.account_external_reference, line.customer_external_reference,
        bill.id AS bill, account.id AS account, customer.id AS customer,
        CASE WHEN known.id IS NOT NULL THEN jsonb_build_object(
            'amount', known.amount, 'currency', known.currency, 'method', known.method,
            'paid_at', extract(epoch FROM known.paid_at), 'metadata', known.metadata, 'allocations', known.allocations
        ) END AS known
    FROM accepted_line AS line {_RESOLVED}
    LEFT JOIN LATERAL (
        SELECT payment.* FROM payments_payment AS payment LEFT JOIN billers_partner AS taker ON taker.id = partner_id
        WHERE payment.biller_id = (SELECT %(biller)s::uuid) AND payment.external_reference = line.external_reference
            AND taker.reference IS NOT DISTINCT FROM line.partner
        OFFSET 0
    ) AS known ON true
"""
_IN_CHUNK = f"{_LINES} WHERE line.line BETWEEN %(first)s AND %(last)s ORDER BY line.line"
_OF_PAYERS = f"""
    {_LINES} WHERE line.line IN (SELECT line FROM staged_payer WHERE position BETWEEN %(first)s AND %(last)s)
    ORDER BY line.line
"""
_PAYERS = f"""
    CREATE UNLOGGED TABLE staged_payer AS
    SELECT row_number() OVER (ORDER BY payer, line) AS position, line, payer FROM (
        SELECT line.line, COALESCE(bill.customer_id, account.customer_id, customer.id)::text AS payer
        FROM accepted_line AS line {_RESOLVED}
    ) AS paying
"""

_LAST_OF_PAYER = """
    SELECT max(position) FROM staged_payer WHERE payer IS NOT DISTINCT FROM (
        SELECT payer FROM staged_payer WHERE position <= %(reach)s ORDER BY position DESC LIMIT 1
    )
"""


class Line(NamedTuple):
    """One line of the file, with what its references stand for and the payment that has its reference already."""

    number: int
    external_reference: str
    amount: int
    currency: str
    method: str
    paid_at: datetime | None
    metadata: Any
    partner: str | None
    allocations: str | None
    obligation: str | None
    bill_external_reference: str | None
    account_external_reference: str | None
    customer_external_reference: str | None
    bill: Any
    account: Any
    customer: Any
    known: Any

    @property
    def owner(self) -> str:
        """The field that names what is paid."""
        named = (f"{kind}_external_reference" for kind in _OWNERS)
        return next((name for name in named if getattr(self, name) is not None), "obligation")

    @property
    def paid(self) -> str | None:
        """The id of what is paid, or None where the reference stands for nothing or allocations are listed."""
        keys = (encode(_PREFIXES[kind], key) for kind in _OWNERS if (key := getattr(self, kind)))
        return self.obligation or next(keys, None)

    @property
    def asked(self) -> dict[str, Any]:
        """The payment, as a request of the API says it."""
        told = {name: getattr(self, name) for name in Payment.SAID if getattr(self, name) not in (None, {})}
        if self.allocations == OLDEST_FIRST:
            return told | {"payer": self.paid}
        if self.paid is not None:
            return told | {"obligation": self.paid}
        return told | {"allocations": json.loads(self.allocations or "[]")}

    def repeats(self, known: dict[str, Any]) -> bool:
        """Tell whether the line says of a payment that is there already nothing but what it is."""
        shares = {one["obligation"]: one["amount"] for one in known["allocations"]}
        told = known["metadata"].items()
        listed = self.allocations not in (None, OLDEST_FIRST)
        return (
            (self.amount, self.currency, self.method) == (known["amount"], known["currency"], known["method"])
            and (self.paid_at is None or self.paid_at.timestamp() == known["paid_at"])
            and self.metadata.items() <= told
            and (self.allocations is not None or self.paid is None or self.paid in shares)
            and (not listed or {one["obligation"]: one["amount"] for one in self.asked["allocations"]} == shares)
        )

    def field(self, reason: Reason) -> str:
        """Return the field of the file that a reason of the verb is about."""
        name = reason.pointer.split("/")[1] if reason.pointer else ""
        return self.owner if name in {"obligation", "payer"} else name


@dataclass
class Taken:
    """What became of a chunk of lines."""

    created: int = 0
    unchanged: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str, str, str]] = field(default_factory=list)

    def refuse(self, line: Line, reasons: Iterable[Reason]) -> None:
        """Keep why a line was refused."""
        self.faults += [(line.number, line.field(reason), reason.code, reason.detail) for reason in reasons]


def take(act: Act, chunk: dict[str, Any]) -> Taken:
    """Take the payments of a chunk of lines, with all that they pay locked in one order before the first of them."""
    return _taken(act, _lines(_IN_CHUNK, chunk))


def rehearse(act: Act, chunk: dict[str, Any], size: int) -> Iterator[Taken]:
    """Tell what would become of all lines, and leave nothing of it.

    One payer's lines are taken together, for what one of them pays the next finds paid; then all of it is undone, which
    lets go of what it holds, so that nobody waits for the whole file. A line that shares its payment out among several
    payers is looked at once, beside the first of them.
    """
    run(_PAYERS, chunk)
    last, end = 0, rows("SELECT COALESCE(max(position), 0) FROM staged_payer")[0][0]
    while last < end:
        first, last = last + 1, rows(_LAST_OF_PAYER, {"reach": last + size})[0][0]
        lines = _lines(_OF_PAYERS, chunk | {"first": first, "last": last})
        with transaction.atomic():
            taken = _taken(act, lines)
            transaction.set_rollback(True)
        yield taken
    run("DROP TABLE staged_payer")


def _lines(statement: str, chunk: dict[str, Any]) -> list[Line]:
    lines = (Line(*row) for row in rows(statement, chunk))
    return [
        line._replace(metadata=json.loads(line.metadata), known=json.loads(line.known) if line.known else None)
        for line in lines
    ]


def _taken(act: Act, lines: list[Line]) -> Taken:
    taken = Taken()
    collecting.held(act, [*_held(act, [line for line in lines if line.known is None])])
    for line in lines:
        try:
            is_new = _collected(act, line)
        except Refusal as refusal:
            taken.refuse(line, refusal.reasons)
            continue
        taken.created += is_new
        taken.unchanged += not is_new
        taken.totals[line.currency] += line.amount
    return taken


def _held(act: Act, lines: list[Line]) -> Iterator[str]:
    """Yield the ids of all that these lines may pay."""
    asked = [line.asked for line in lines]
    yield from (one["obligation"] for one in asked if "obligation" in one)
    yield from (share["obligation"] for one in asked for share in one.get("allocations", ()))
    payers = {one["payer"] for one in asked if one.get("payer")}
    yield from payers
    for kind in ("customer", "account"):
        if of_kind := [payer for payer in payers if collecting.kind_of(payer) == kind]:
            unpaid = Bill.objects.for_biller(act.biller).filter(**{f"{kind}_id__in": of_kind}, status=Status.UNPAID)
            yield from unpaid.values_list("pk", flat=True)


def _collected(act: Act, line: Line) -> bool:
    """Take the payment of a line; tell whether it is new.

    Raises:
        Refusal: the reference stands for another payment, nothing of what is paid exists, or a rule says no.
    """
    if line.known is not None:
        if line.repeats(line.known):
            return False
        raise Conflict.because("reference_reused", "This reference stands for another payment.", "/external_reference")
    if line.partner is not None:
        raise Missing.because("payment_not_found", "The partner has taken no such payment.", "/partner")
    if line.paid is None and line.allocations in (None, OLDEST_FIRST):
        kind = line.owner.partition("_")[0]
        raise Missing.because("obligation_not_found", f"There is no {kind} “{getattr(line, line.owner)}”.", "/payer")
    asked = line.asked
    try:
        with transaction.atomic():
            return Payment.objects.collect(act, collecting.fingerprint_of(asked), **asked)[1]
    except IntegrityError as error:
        refusal = explain(error, act.drafts)
        if refusal is None:
            raise
        raise refusal from error


def mark(faults: list[tuple[int, str, str, str]]) -> None:
    """Keep why lines were refused."""
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO staged_fault VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", faults)
