"""What the rules say no with: one exception per class of failure, each holding every reason of that class.

The rules live in the database; `explain` is the one place that turns a broken constraint into its sentence.
Nothing here knows the web: the API gives each class its status, the admin a message, a command a line.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models

from core.rules import Rule

CONFLICT = "conflict"
"""The `violation_error_code` of a constraint that refuses because of what the record has become (409, not 422)."""


@dataclass(frozen=True)
class Reason:
    """One reason: a public code, a sentence for people and the JSON Pointer of what it is about."""

    code: str
    detail: str
    pointer: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818 a refusal is an answer, not an error
    """The rules say no, and nothing was written."""

    def __init__(self, *reasons: Reason) -> None:
        super().__init__(" ".join(reason.detail for reason in reasons))
        self.reasons = reasons

    @classmethod
    def because(cls, code: str, detail: str, pointer: str = "", **extra: Any) -> "Refusal":
        """Return the refusal with one reason."""
        return cls(Reason(code, detail, pointer, extra))


class Malformed(Refusal):
    """The shape is wrong, which only the stored record could tell (a required field of a PUT that creates)."""


class Missing(Refusal):
    """What the request is about does not exist, or is another biller's."""


def absent(model: type[models.Model], key: str) -> Refusal:
    """Return the refusal of a key that names no row of this model here."""
    kind = str(model._meta.verbose_name)
    return Missing.because(f"{kind.replace(' ', '_')}_not_found", f"There is no {kind} “{key}”.")


class ParentMissing(Refusal):
    """A named parent does not exist, or is another biller's."""


class ReferenceTaken(Refusal):
    """An external reference is in use; each reason holds `existing_id`."""


class Conflict(Refusal):
    """The record has become what forbids this: void, paid, fixed."""


class RuleBroken(Refusal):
    """A business rule says no."""


class Stale(Refusal):
    """The record has changed since the caller read it."""


Drafts = Mapping[str, models.Model]
"""The rows a verb was writing, by the JSON Pointer of the part of the request they came from."""


def explain(error: IntegrityError, drafts: Drafts) -> Refusal | None:
    """Return the refusal behind a broken constraint, or None when no rule of ours was broken.

    Call it after the rollback. PostgreSQL names the first broken constraint only, so the others are looked for among
    the drafts: taken references first, since they are said before any business rule.
    """
    diagnosis = getattr(error.__cause__, "diag", None)
    name = getattr(diagnosis, "constraint_name", None) or ""
    if taken := [*_taken(drafts)]:
        return ReferenceTaken(*taken)
    rule = named().get(name)
    if rule is None:
        return None
    reasons = [*_broken(drafts, conflicts=is_conflict(rule))]
    if name not in {reason.code for reason in reasons}:
        reasons.insert(0, Reason(name, _sentence(rule), _place(rule, drafts)))
    return Conflict(*reasons) if is_conflict(rule) else RuleBroken(*reasons)


def rules() -> dict[str, str]:
    """Return the sentence of every rule the database holds, by its public code."""
    return {name: _sentence(rule) for name, rule in named().items()}


@cache
def named() -> dict[str, models.BaseConstraint | Rule]:
    """Return every rule of the database by its public name."""
    rules: dict[str, models.BaseConstraint | Rule] = {}
    for model in apps.get_models():
        rules.update({str(constraint.name): constraint for constraint in model._meta.constraints})
        rules.update({str(t.name): t for t in getattr(model._meta, "triggers", []) if isinstance(t, Rule)})
    return rules


def is_conflict(rule: models.BaseConstraint | Rule) -> bool:
    """Tell whether a broken rule is a conflict with what the record has become, not a rule of the business."""
    return (rule.conflict if isinstance(rule, Rule) else rule.violation_error_code == CONFLICT) is True


def _sentence(rule: models.BaseConstraint | Rule) -> str:
    return rule.sentence if isinstance(rule, Rule) else str(rule.get_violation_error_message())


def _place(rule: models.BaseConstraint | Rule, drafts: Drafts) -> str:
    """Return the pointer of the draft that a rule is about."""
    return next((pointer for pointer, draft in drafts.items() if rule in getattr(draft._meta, "triggers", [])), "")


def _taken(drafts: Drafts) -> Iterable[Reason]:
    for pointer, draft in drafts.items():
        if not draft._state.adding:
            continue
        named = {name: getattr(draft, name) for name in ("biller_id", "external_reference")}
        same = type(draft)._default_manager.filter(**named)
        existing = same.values_list("pk", flat=True).first()
        if existing and existing != draft.pk:
            yield Reason(
                "external_reference_taken",
                f"The external reference “{named['external_reference']}” is in use.",
                f"{pointer}/external_reference",
                {"existing_id": existing},
            )


def _broken(drafts: Drafts, *, conflicts: bool) -> Iterable[Reason]:
    for pointer, draft in drafts.items():
        for constraint in draft._meta.constraints:
            if not isinstance(constraint, models.CheckConstraint) or is_conflict(constraint) != conflicts:
                continue
            try:
                constraint.validate(type(draft), draft)
            except ValidationError as broken:
                yield Reason(constraint.name, " ".join(broken.messages), pointer)
