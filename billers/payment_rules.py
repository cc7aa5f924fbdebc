"""Which amounts may be paid: the rules of the obligation itself, then of what it hangs on, then of its biller."""

from typing import Any

from billers.models import Biller

NAMES = ("min_amount", "max_amount", "underpayment_allowed", "overpayment_allowed")

Layer = tuple[dict[str, Any] | None, str | None]
"""A record's overrides, and the currency its amounts are in."""


def in_force(biller: Biller, currency: str | None, *layers: Layer) -> dict[str, Any]:
    """Return the four rules for amounts in `currency`; the nearest layer that says something wins.

    Amounts are minor units: what a layer says of them in another currency does not count.
    """
    limits = biller.amount_limits.get(currency, {})
    rules = {
        "min_amount": limits.get("min_amount"),
        "max_amount": limits.get("max_amount"),
        "underpayment_allowed": biller.underpayment_allowed,
        "overpayment_allowed": biller.overpayment_allowed,
    }
    for overrides, layer_currency in reversed(layers):
        if overrides:
            foreign = currency is not None and layer_currency not in (None, currency)
            rules.update({name: rule for name, rule in overrides.items() if not (foreign and name.endswith("_amount"))})
    return rules
