"""How partners and billers ask what payments come to: settlements of a day, and reports."""

import base64
import binascii
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from api import nodes
from api.answers import Answer, PartnerAnswer, json_response
from api.moments import day_of, moment_of
from api.operations import AS_OF, AS_OF_MOMENT, Operation
from api.partners import PartnerViewSet
from api.problems import invalid_parameter
from api.tables import JSON_OR_CSV, either, table_response, wants_table
from api.views import TenantViewSet
from core.statements import Row
from payments import reports
from payments.models import Method
from payments.settlements import Position, Settlement, summed

Either = HttpResponse | StreamingHttpResponse
MOST_LINES = 1_000
MOST_ROWS = 10_000
LARGEST_SUM = (1 << 63) - 1
DAY: nodes.Node = {"type": "string", "format": "date"}
BILLER: nodes.Node = {"type": "string", "maxLength": 64}
LINES = nodes.query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_LINES, "default": MOST_LINES})


def _sum(**options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=-LARGEST_SUM, max_value=LARGEST_SUM, **options)


class SumAnswer(serializers.Serializer):
    """How many there were, and what they come to."""

    count = serializers.IntegerField(min_value=0, max_value=LARGEST_SUM)
    amount = _sum(help_text="Minor units; of reversals never positive.")


class LineAnswer(serializers.Serializer):
    """A payment, or a reversal as a negative line of its own day."""

    payment_id = serializers.CharField()
    external_reference = serializers.CharField(max_length=64)
    biller = serializers.CharField(max_length=64, help_text="The biller's reference.")
    kind = serializers.ChoiceField(("payment", "reversal"))
    amount = serializers.IntegerField(help_text="Minor units, negative for a reversal.")
    currency = serializers.CharField(max_length=3)
    method = serializers.ChoiceField(Method.choices)
    created_at = serializers.DateTimeField()


class TotalAnswer(serializers.Serializer):
    """What a day comes to for one biller in one currency."""

    biller = serializers.CharField(max_length=64)
    currency = serializers.CharField(max_length=3)
    payments = SumAnswer()
    reversals = SumAnswer()
    net = _sum(help_text="Payments less reversals.")


class SettlementAnswer(PartnerAnswer):
    """What a partner took in a day: lines a page at a time, totals always of the whole day."""

    date = serializers.DateField()
    as_of = serializers.DateTimeField(allow_null=True)
    totals = TotalAnswer(many=True)
    lines = LineAnswer(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="Send it as `cursor`; null where the lines end.")

    told_lines = tuple(LineAnswer().fields)


SETTLED = (*LineAnswer().fields, "count")
AGED = ("currency", "bucket", "bills", "amount")
COLLECTED = ("currency", "payments", "paid", "reversals", "reversed", "net")


class SettlementViewSet(PartnerViewSet):
    """What a partner settles with its billers."""

    answer = SettlementAnswer
    renderer_classes = JSON_OR_CSV
    operations = {
        "settlement": Operation(
            "day",
            "Settle a day",
            {200: "The day, each biller's own. As CSV all lines, then rows of what they come to."},
            versioned=False,
            table=SETTLED,
            parameters=[
                {"name": "date", "in": "path", "required": True, "description": "YYYY-MM-DD", "schema": DAY},
                nodes.query("biller", BILLER, "One biller's alone, by its reference."),
                AS_OF_MOMENT,
                LINES,
                nodes.query("cursor", nodes.TEXT, "From next_cursor."),
            ],
            refuses={400: ["invalid_limit", "invalid_cursor"], 404: ["biller_not_found"]},
        )
    }

    def settlement(self, request: Request, date: str) -> Either:
        """Answer the lines of a day by biller and time, and what they come to by biller and currency."""
        table = wants_table(request)
        asked = self.asked("biller", "as_of", *([] if table else ["limit", "cursor"]))
        day = day_of("date", date)
        as_of = moment_of("as_of", asked["as_of"]) if "as_of" in asked else None
        limit, after = _limit(asked), _position(asked)
        settlement = Settlement.of(self.partner, day, day, biller=asked.get("biller"), as_of=as_of)
        if table:
            return either(table_response(f"settlement-{day}", SETTLED, self._rows(settlement)))
        lines = settlement.lines(limit + 1, after)
        cursor = _cursor(lines[limit - 1]["place"]) if len(lines) > limit else None
        shown = [{name: line[name] for name in SettlementAnswer.told_lines} for line in lines[:limit]]
        body = {"date": day, "as_of": as_of, "totals": settlement.totals(), "lines": shown, "next_cursor": cursor}
        return either(json_response(body))

    def _rows(self, settlement: Settlement) -> Iterator[list[Any]]:
        totals: dict[tuple[str, str], list[int]] = {}
        for line in summed(settlement.all_lines(), totals):
            yield [*(line[name] for name in SettlementAnswer.told_lines), 1]
        for (biller, currency), (payments, paid, reversals, undone) in sorted(totals.items()):
            for kind, amount, count in (
                ("total_payments", paid, payments),
                ("total_reversals", -undone, reversals),
                ("total_net", paid - undone, payments + reversals),
            ):
                yield [None, None, biller, kind, amount, currency, None, None, count]


def _limit(asked: dict[str, str]) -> int:
    text = asked.get("limit", str(MOST_LINES))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_LINES)) and 1 <= int(text) <= MOST_LINES):
        raise invalid_parameter("limit", f"A limit is 1 to {MOST_LINES:,}.", "invalid_limit")
    return int(text)


def _cursor(place: Position) -> str:
    told = json.dumps([place.biller, place.moment.isoformat(), str(place.key)])
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def _position(asked: dict[str, str]) -> Position | None:
    if "cursor" not in asked:
        return None
    cursor = asked["cursor"]
    try:
        told = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        biller, moment, key = map(str, told)
        position = Position(biller, datetime.fromisoformat(moment), UUID(key))
        if position.moment.tzinfo is None:
            raise ValueError  # noqa: TRY301 one answer to everything that is wrong with a cursor
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise invalid_parameter("cursor", "This cursor is not one of a settlement.", "invalid_cursor") from None
    return position


class BucketAnswer(serializers.Serializer):
    """What is owed and as late as the bucket says."""

    bucket = serializers.ChoiceField(reports.BUCKETS, help_text="Days overdue; current is due today or later.")
    bills = serializers.IntegerField(min_value=0, max_value=LARGEST_SUM)
    amount = _sum(help_text="What remains to be paid, in minor units.")


class AgeingRowAnswer(serializers.Serializer):
    """What is owed in one currency."""

    currency = serializers.CharField(max_length=3)
    buckets = BucketAnswer(many=True)
    bills = serializers.IntegerField(min_value=0, max_value=LARGEST_SUM)
    amount = _sum(help_text="Of all buckets, in minor units.")


class AgeingAnswer(Answer):
    """What is owed on unpaid bills, by how long it has been overdue."""

    date = serializers.DateField(help_text="Today in the biller's time zone.")
    data = AgeingRowAnswer(many=True)  # type: ignore[assignment]


class CollectionAnswer(serializers.Serializer):
    """What was collected on a day, by a partner and a method, in one currency; null where it is told of all of them."""

    day = serializers.DateField(allow_null=True)
    partner = serializers.CharField(
        allow_null=True, max_length=64, help_text="Its reference; null is the biller itself where partners are told."
    )
    method = serializers.ChoiceField(Method.choices, allow_null=True)
    currency = serializers.CharField(max_length=3)
    payments = SumAnswer()
    reversals = SumAnswer()
    net = _sum(help_text="Payments less reversals.")


class CollectionsAnswer(Answer):
    """What was collected in a period; a reversal counts on its own day."""

    first = serializers.DateField()
    to = serializers.DateField()
    as_of = serializers.DateTimeField(allow_null=True)
    data = CollectionAnswer(many=True)  # type: ignore[assignment]

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        return {"from": fields.pop("first"), **fields}


class ReportViewSet(TenantViewSet):
    """What a biller's bills and payments come to."""

    answer = AgeingAnswer
    answers = {"collections": CollectionsAnswer}
    renderer_classes = JSON_OR_CSV
    operations = {
        "ageing": Operation(
            "ageing", "What is owed, by how late it is", {200: "The report."}, versioned=False, table=AGED
        ),
        "collections": Operation(
            "collections",
            "What was collected, by day, partner and method",
            {200: "The report."},
            versioned=False,
            table=(*reports.GROUPS, *COLLECTED),
            parameters=[
                nodes.query("from", DAY, "The first day; without it the first of the last day's month."),
                nodes.query("to", DAY, "The last day; without it today."),
                nodes.query(
                    "group",
                    {"type": "array", "items": {"type": "string", "enum": list(reports.GROUPS)}},
                    "What it is told apart by, beside the currency; without it all of them.",
                    style="form",
                    explode=False,
                ),
                AS_OF,
            ],
        ),
    }

    def ageing(self, request: Request) -> Either:
        """Answer what remains of unpaid bills, by how many days they are overdue today."""
        self.asked()
        today = self.biller.today()
        found = reports.ageing(self.biller, today)
        if not wants_table(request):
            return either(json_response({"date": today, "data": found}))
        rows = (
            (row["currency"], bucket["bucket"], bucket["bills"], bucket["amount"])
            for row in found
            for bucket in row["buckets"]
        )
        return either(table_response(f"ageing-{today}", AGED, rows))

    def collections(self, request: Request) -> Either:
        """Answer what was collected in a period: payments, reversals and what they leave."""
        asked = self.asked("from", "to", "group", "as_of")
        to = day_of("to", asked["to"]) if "to" in asked else self.biller.today()
        first = day_of("from", asked["from"]) if "from" in asked else to.replace(day=1)
        if first > to:
            raise invalid_parameter("from", "The period ends before it begins.")
        groups = _groups(asked)
        as_of = moment_of("as_of", asked["as_of"], self.biller.timezone) if "as_of" in asked else None
        found = reports.collections(self.biller, first, to, groups, as_of)
        if wants_table(request):
            names = [name for name in reports.GROUPS if name in groups]
            return either(table_response(f"collections-{first}-{to}", (*names, *COLLECTED), _collected(found, names)))
        if len(found) > MOST_ROWS:
            detail = f"These are {len(found):,} rows: ask for fewer days, group by less, or accept text/csv."
            raise invalid_parameter("group", detail)
        return either(json_response({"from": first, "to": to, "as_of": as_of, "data": found}))


def _groups(asked: dict[str, str]) -> list[str]:
    groups = asked["group"].split(",") if "group" in asked else [*reports.GROUPS]
    if not set(groups) <= set(reports.GROUPS):
        raise invalid_parameter("group", f"Known: {', '.join(reports.GROUPS)}.")
    return groups


def _collected(found: list[Row], names: list[str]) -> Iterator[list[Any]]:
    for row in found:
        sums = [row[kind][what] for kind in ("payments", "reversals") for what in ("count", "amount")]
        yield [*(row[name] for name in names), row["currency"], *sums, row["net"]]
