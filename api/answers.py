"""How a record is answered: the columns that are read, and the JSON made of them in one pass."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, ClassVar

import orjson
from django.db import models
from django.http import HttpResponse
from rest_framework import serializers

from billers.models import Biller
from core.money import MAX_AMOUNT
from core.statements import Row


class RowAnswer(serializers.Serializer):
    """The JSON of one record.

    The declared fields are its schema; `columns` is what a statement reads. Rows come from `values()` or, after a
    write, from the instance: the same answer either way.
    """

    columns: tuple[str, ...] = ()
    parents: dict[str, type["Answer"]] = {}

    @classmethod
    def row_of(cls, record: models.Model) -> Row:
        """Return what `values()` would read of a record at hand."""
        return {column: reached(record, column) for column in cls.columns}

    @classmethod
    def columns_with(cls, expanded: Sequence[str]) -> list[str]:
        """Return the columns to read when these parents are expanded."""
        more = [f"{parent}__{column}" for parent in expanded for column in cls.parents[parent].columns]
        return list(dict.fromkeys([*cls.columns, *more]))


class PartnerAnswer(RowAnswer):
    """What a channel partner is told: `told` makes it of the row alone, whichever biller it is about."""

    @classmethod
    def told(cls, row: Row) -> Row:
        """Return the JSON object of a row."""
        raise NotImplementedError


class Answer(RowAnswer):
    """What a biller is told: `told` makes it of the row, the biller's settings and the biller's day."""

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        """Return the JSON object of a row."""
        raise NotImplementedError

    @classmethod
    def told_with(cls, row: Row, expanded: Sequence[str], biller: Biller, today: date) -> Row:
        """Return the JSON object of a row, with these parents as objects beside their ids."""
        answer = cls.told(row, biller, today)
        for parent in expanded:
            kind = cls.parents[parent]
            columns = {column: row[f"{parent}__{column}"] for column in kind.columns}
            answer[parent] = None if columns["id"] is None else kind.told(columns, biller, today)
        return answer


def reached(record: models.Model, column: str) -> Any:
    """Return what a column of `values()` would hold, from the record at hand and its parents."""
    *parents, name = column.split("__")
    found: Any = record
    for parent in parents:
        found = getattr(found, parent)
        if found is None:
            return None
    return getattr(found, name)


def json_response(body: Any, status: int = 200) -> HttpResponse:
    """Return a JSON response; times are UTC and end in Z."""
    return HttpResponse(orjson.dumps(body, option=orjson.OPT_UTC_Z), content_type="application/json", status=status)


class RulesAnswer(serializers.Serializer):
    """The payment rules in force: the record's own, else its account's, its customer's, its biller's."""

    min_amount = serializers.IntegerField(min_value=1, max_value=MAX_AMOUNT, allow_null=True)
    max_amount = serializers.IntegerField(min_value=1, max_value=MAX_AMOUNT, allow_null=True)
    underpayment_allowed = serializers.BooleanField()
    overpayment_allowed = serializers.BooleanField()


class RecordAnswer(Answer):
    """What the answers of customers, accounts and bills share."""

    external_reference = serializers.CharField(max_length=255)
    payment_rules = RulesAnswer()
    metadata = serializers.DictField(child=serializers.CharField(max_length=500))
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    beside: ClassVar[str] = "currency"
    """What its amount is measured in or against, which may have changed too."""

    @classmethod
    def then(cls, row: Row, total: int | None, beside: Any, moment: datetime) -> Row:
        """Return what of a row was different at a moment: the last total by then, and what stood beside it."""
        # The ledger does not tell an untracked balance from one of 0: what is untracked now then was.
        balance = None if row["balance"] is None and not total else total or 0
        return {"balance": balance, "currency": beside or row["currency"]}
