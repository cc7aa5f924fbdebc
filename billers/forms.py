"""The door between a form and a verb: who acts, what refusals become, and inputs every page shares."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminExpandableTextareaWidget, UnfoldAdminTextInputWidget

from billers.acts import Act, perform
from billers.models import Biller
from core.money import exponents
from core.refusals import Refusal, Stale

T = TypeVar("T")

ACTOR_LENGTH = 150


def act_as(request: HttpRequest, biller: Biller, verb: Callable[[Act], T], reason: str | None = None) -> T:
    """Run a verb for the signed-in member of staff, who stands in the audit trail with the reason given."""
    actor = f"staff:{request.user.get_username()}"[:ACTOR_LENGTH]
    return perform(biller, actor, verb, reason=reason or None, request_id=getattr(request, "request_id", None))


def currency_choices() -> list[tuple[str, str]]:
    """Return the currencies of ISO 4217 that have a minor unit, after an empty choice."""
    return [("", "—"), *((code, code) for code in sorted(exponents()))]


def add_refusal(form: forms.BaseForm, refusal: Refusal, places: Mapping[str, str] | None = None) -> None:
    """Say each reason beside the field it points at, or on top of the form.

    `places` are the fields that stand for what the form calls by another name than the API.
    """
    for reason in refusal.reasons:
        name = reason.pointer.removeprefix("/")
        field = (places or {}).get(name, name)
        form.add_error(field if field in form.fields else None, reason.detail)
    if isinstance(refusal, Stale):
        form.add_error(None, "Somebody has changed it since you opened it. Nothing was saved: open the page again.")


class VerbForm(forms.ModelForm):
    """A form whose last check is the verb itself: a refusal is one more error, and what was done is the instance."""

    request: HttpRequest
    biller: Biller
    places: Mapping[str, str] = {}
    """The fields that stand for what the API calls by another name."""

    def verb(self, act: Act) -> models.Model:
        """Do what the form asks for."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        if self.errors:
            return
        try:
            self.instance = act_as(self.request, self.biller, self.verb, self.cleaned_data.get("reason"))
        except Refusal as refusal:
            add_refusal(self, refusal, self.places)
        except ValidationError as invalid:
            for field, errors in invalid.update_error_dict({}).items():
                self.add_error(field if field in self.fields else None, errors)


class Confirmation(forms.Form):
    """The last word before something that cannot be undone."""

    reason = forms.CharField(
        max_length=500, widget=UnfoldAdminTextInputWidget, help_text="Kept in the audit trail beside your name."
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)


class JsonInput(forms.JSONField):
    """JSON that PostgreSQL can keep and that a page can show again, whatever was sent."""

    widget = UnfoldAdminExpandableTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, InvalidJSONInput):
            return value
        text = json.dumps(value, ensure_ascii=False, indent=2)
        return text if _is_storable(text) else json.dumps(value, indent=2)

    def to_python(self, value: Any) -> Any:
        parsed = super().to_python(value)
        if not _is_storable(json.dumps(parsed, ensure_ascii=False)):
            raise ValidationError("No NUL character and no half of a surrogate pair.")
        return parsed


def _is_storable(written: str) -> bool:
    return "\\u0000" not in written and not any("\ud800" <= character <= "\udfff" for character in written)
