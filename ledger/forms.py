"""How staff write amounts and correct what is owed."""

import re
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.urls import reverse
from rest_framework.exceptions import ValidationError as ShapeError
from unfold.widgets import (
    UnfoldAdminAutocompleteWidget,
    UnfoldAdminSelect2Widget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from api.fields import Metadata
from billers.acts import Act
from billers.forms import JsonInput, VerbForm, currency_choices
from billers.models import Biller
from billers.payment_rules import NAMES
from billers.staff import TenantAdmin
from core.ids import decode
from core.money import MAX_AMOUNT, display, exponents, is_currency

_WRITTEN = re.compile(r"(-?)(\d{1,15})(?:\.(\d{1,6}))?", re.ASCII)


def shown(amount: int | None, currency: str | None) -> str:
    """Return an amount of minor units as staff read it, or an empty text where there is none."""
    if amount is None:
        return ""
    return display(amount, currency) if currency and is_currency(currency) else f"{amount:,}"


def as_written(amount: int | None, currency: str | None) -> str:
    """Return an amount of minor units as it is written in a field: 2000 of ZAR is ``20.00``."""
    if amount is None:
        return ""
    digits = exponents().get(currency or "", 0)
    whole, fraction = divmod(abs(amount), 10**digits)
    return ("-" if amount < 0 else "") + str(whole) + (f".{fraction:0{digits}d}" if digits else "")


def minor_units(text: str, currency: str | None) -> int:
    """Return the minor units of an amount as it is written, exactly; without a currency it is in minor units already.

    Raises:
        ValidationError: it is no amount, too large, or has more decimals than its currency.
    """
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise ValidationError("Write an amount such as 1250.00, without spaces, commas or a currency sign.")
    sign, whole, fraction = written.groups(default="")
    digits = exponents().get(currency or "", 0)
    if len(fraction) > digits:
        raise ValidationError(
            f"{currency} has {digits or 'no'} decimals." if currency else "Without a currency, give minor units."
        )
    amount = int(sign + whole + fraction.ljust(digits, "0"))
    if abs(amount) > MAX_AMOUNT:
        raise ValidationError(f"At most {shown(MAX_AMOUNT, currency)}.")
    return amount


class AmountInput(forms.CharField):
    """An amount in the major unit; the form it stands in knows the currency."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20, widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}), **options)


class MetadataInput(JsonInput):
    """The metadata of a record, in the shape the API takes."""

    def __init__(self) -> None:
        super().__init__(
            required=False, help_text='Text by text, at most 10 keys: {"route": "17", "clerk": "N. Dlamini"}.'
        )

    def clean(self, value: Any) -> dict[str, str]:
        metadata = super().clean(value) or {}
        try:
            Metadata().run_validation(metadata)
        except ShapeError as error:
            raise ValidationError(_sentences(error.detail)) from error
        return dict(metadata)


def _sentences(detail: Any) -> list[str]:
    if isinstance(detail, dict):
        return [f"{key}: {sentence}" for key, value in detail.items() for sentence in _sentences(value)]
    return [str(sentence) for sentence in detail]


class RecordWidget(UnfoldAdminAutocompleteWidget):
    """A box to type into; it holds the chosen record alone, never a list of all."""

    option_template_name = "django/forms/widgets/select_option.html"

    def optgroups(self, name: str, value: list[str], attrs: dict[str, Any] | None = None) -> list[Any]:
        records = self.choices.queryset
        keys = [key for key in value if decode(records.model._meta.pk.prefix, key)]
        chosen = [(record.pk, self.choices.field.label_from_instance(record)) for record in records.filter(pk__in=keys)]
        options = [("", ""), *chosen] if keys else [("", "")]
        return [
            (None, [self.create_option(name, key, text, key in keys, index)], index)
            for index, (key, text) in enumerate(options)
        ]


class RecordInput(forms.ModelChoiceField):
    """A customer, account or bill, found by typing a part of what it is known by."""

    widget = RecordWidget

    def __init__(self, model: type[models.Model], **options: Any) -> None:
        super().__init__(model._default_manager.none(), **options)
        self.model = model

    def within(self, biller: Biller) -> None:
        """Offer the records of one biller."""
        opts = self.model._meta
        self.queryset = self.model._default_manager.filter(biller_id=biller.pk)
        address = reverse(f"admin:{opts.app_label}_{opts.model_name}_choices", args=[biller.pk])
        self.widget.attrs["data-ajax--url"] = address

    def label_from_instance(self, obj: Any) -> str:
        return TenantAdmin.choice_label(obj)


def _override(help_text: str) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(
        choices=[("", "As above it"), ("yes", "Yes"), ("no", "No")],
        coerce=lambda answer: answer == "yes",
        empty_value=None,
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text=help_text,
    )


class ObligationForm(VerbForm):
    """A customer, account or bill: made by its verb, corrected by `amend`."""

    amounts: tuple[str, ...]
    creates: str
    parents: tuple[str, ...] = ()

    currency: forms.ChoiceField = forms.TypedChoiceField(
        choices=currency_choices, required=False, empty_value=None, widget=UnfoldAdminSelect2Widget
    )
    min_amount = AmountInput(required=False, label="Minimum payment")
    max_amount = AmountInput(required=False, label="Maximum payment")
    underpayment_allowed = _override("May less than what is owed be paid?")
    overpayment_allowed = _override("May more than what is owed be paid?")
    metadata = MetadataInput()
    reason = forms.CharField(
        max_length=500,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why: kept in the ledger and the audit trail. Required when an amount changes.",
    )
    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        record = self.instance
        if record._state.adding:
            for name in self.parents:
                cast("RecordInput", self.fields[name]).within(self.biller)
        else:
            for name in self.parents:
                del self.fields[name]
            self.fields["expected_version"].required = True
            rules = record.payment_rules
            self.initial["expected_version"] = record.version
            for name in self.amounts:
                self.initial[name] = as_written(getattr(record, name), record.currency)
            for name in NAMES[:2]:
                self.initial[name] = as_written(rules.get(name), record.currency)
            for name in NAMES[2:]:
                self.initial[name] = {True: "yes", False: "no"}.get(rules.get(name), "")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        currency = values["currency"] if "currency" in self.fields else self.instance.currency
        for name in (*self.amounts, *NAMES[:2]):
            if name in values:
                try:
                    values[name] = minor_units(values[name], currency) if values[name] else None
                except ValidationError as error:
                    self.add_error(name, error)
        changed = {name for name in self.amounts if name in self.changed_data}
        if changed and not self.instance._state.adding and not values.get("reason"):
            self.add_error("reason", "Say why the amount changes.")
        return values

    def verb(self, act: Act) -> models.Model:
        values = self.cleaned_data
        rules = {name: values[name] for name in NAMES}
        model = self._meta.model
        fields = {field.name: values[field.name] for field in model._meta.concrete_fields if field.name in values}
        fields["payment_rules"], records = rules, model._default_manager
        if self.instance._state.adding:
            fields |= {name: values[name] and values[name].pk for name in self.parents}
            given = {name: value for name, value in fields.items() if value is not None}
            return getattr(records, self.creates)(act, **given)
        # Metadata merges: what was taken out of the form is taken out of the record.
        fields["metadata"] = {**dict.fromkeys(self.instance.metadata), **fields["metadata"]}
        return records.amend(act, self.instance.pk, versions={values["expected_version"]}, **fields)
