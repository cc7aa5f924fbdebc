"""What each parent becomes over the whole file: field by field, the last accepted line that says something wins."""
# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imports.checking import TABLES
from imports.staging import rows, run, stored, uuid7

_NAMED_WARNINGS = 20
_VALUES = {"customer": ("name", "email", "phone", "currency", "balance"), "account": ("name", "currency", "balance")}


@dataclass(frozen=True)
class _Told:
    """One field of a parent, or one key of its metadata: where it stands in a line, and where it goes."""

    name: str
    alias: str
    value: str

    @property
    def aggregated(self) -> str:
        """SQL for the last line that tells it, and whether another line tells something else."""
        value = self.value.format(line="line")
        return (
            f"max(line.line) FILTER (WHERE {value} IS NOT NULL) AS {self.alias}_line, "
            f"min({value}) <> max({value}) AS {self.alias}_differs"
        )

    @property
    def settled(self) -> str:
        """SQL for what it becomes."""
        return self.value.format(line=f"of_{self.alias}")

    @property
    def joined(self) -> str:
        """SQL that finds the line which decides."""
        return f"LEFT JOIN staged_line AS of_{self.alias} ON of_{self.alias}.line = named.{self.alias}_line"


def settle(
    parents: Sequence[str], columns: set[str], metadata: dict[str, list[str]], parameters: dict[str, Any]
) -> list[str]:
    """Fill the stage's tables of parents; return the warnings about fields that differ between lines."""
    warnings = []
    for parent in parents:
        if f"{parent}_external_reference" in columns:
            keys = metadata.get(f"{parent}_metadata", [])
            told = [*_told(parent, columns, keys)]
            values = {f"key_{number}": key for number, key in enumerate(keys)}
            run(_statement(parent, told, len(keys)), parameters | values)
            warnings += _differences(parent)
        run(f"CREATE INDEX ON staged_{parent} (external_reference)")
        run(f"ANALYZE staged_{parent}")
    return warnings


def _told(parent: str, columns: set[str], keys: list[str]) -> Iterator[_Told]:
    for name in _VALUES[parent]:
        if f"{parent}_{name}" in columns:
            yield _Told(name, name, f"{{line}}.{parent}_{name}")
    for number, key in enumerate(keys):
        yield _Told(f"metadata.{key}", f"key_{number}", f"({{line}}.{parent}_metadata ->> %(key_{number})s::text)")


def _statement(parent: str, told: list[_Told], keys: int) -> str:
    values = [one for one in told if not one.alias.startswith("key_")]
    pairs = ", ".join(f"%(key_{number})s::text, {one.settled}" for number, one in enumerate(told[len(values) :]))
    written = {
        "position": "row_number() OVER numbered",
        "external_reference": "named.reference",
        "id": f"COALESCE(stored.id, {uuid7('', 'row_number() OVER numbered')})",
        **{one.name: one.settled for one in values},
        **({"metadata": f"jsonb_strip_nulls(jsonb_build_object({pairs}))"} if keys else {}),
        "differing": "array_remove(ARRAY["
        + ", ".join(f"CASE WHEN named.{one.alias}_differs THEN '{_quoted(one.name)}' END" for one in told)
        + "]::text[], NULL)",
    }
    joins = [one.joined for one in told]
    aggregates = [one.aggregated for one in told]
    if parent == "account":
        written["customer_id"] = "COALESCE(stored.customer_id, owner.id)"
        aggregates.append("min(line.line) FILTER (WHERE customer_external_reference IS NOT NULL) AS owner_line")
        joins.append("""
            LEFT JOIN staged_line AS of_owner ON of_owner.line = named.owner_line
            LEFT JOIN staged_customer AS owner ON owner.external_reference = of_owner.customer_external_reference
        """)
    return f"""
        INSERT INTO staged_{parent} ({", ".join(written)})
        SELECT {", ".join(written.values())}
        FROM (
            SELECT {", ".join([f"{parent}_external_reference AS reference, min(line.line) AS first", *aggregates])}
            FROM accepted_line AS line WHERE {parent}_external_reference IS NOT NULL
            GROUP BY {parent}_external_reference
        ) AS named
        LEFT JOIN {stored(TABLES[parent], "stored", "external_reference = named.reference")} ON true
        {" ".join(joins)}
        WINDOW numbered AS (ORDER BY named.first)
    """


def _quoted(text: str) -> str:
    return text.replace("'", "''").replace("%", "%%")


def _differences(parent: str) -> list[str]:
    found = rows(
        f"""
        SELECT external_reference, differing, count(*) OVER () FROM staged_{parent}
        WHERE differing <> '{{}}' ORDER BY position LIMIT {_NAMED_WARNINGS}
        """
    )
    warnings = [
        f"{parent.capitalize()} “{reference}”: {', '.join(differing)} differs between lines; the last one is taken."
        for reference, differing, _ in found
    ]
    if found and (more := found[0][2] - len(found)):
        warnings.append(f"The same of {more:,} more {parent}s.")
    return warnings
