"""How a payment is taken: what it pays, whether the rules in force allow it, what it leaves in the ledger.

Everything is looked at under the row locks, customers before accounts before bills and each kind in the order of its
ids, so that two payers of one bill see one another.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import orjson

from accounts.models import Account
from billers.acts import Act
from billers.models import Biller, Partner
from bills.models import Bill, Status
from core.ids import decode, new_id
from core.money import MAX_AMOUNT, display
from core.refusals import Conflict, Missing, Reason, Refusal, RuleBroken
from core.statements import Prepared
from customers.models import Customer
from events.models import Event, Type
from ledger.models import PREFIXES, Entry, Kind, Obligation

KINDS: dict[str, type[Obligation]] = {"customer": Customer, "account": Account, "bill": Bill}
"""Every kind of obligation, in the order of locking."""


@dataclass
class Share:
    """The part of a payment that one obligation takes, and where the request says so."""

    obligation: Any
    amount: int
    place: str = "/obligation"
    amount_place: str = "/amount"

    @property
    def room(self) -> int:
        """The most that its amount can take."""
        return MAX_AMOUNT - self.obligation.payment_sign * (self.obligation.amount or 0)

    @property
    def receipt(self) -> dict[str, Any]:
        """What the receipt says of it."""
        obligation = self.obligation
        told = {"obligation": obligation.pk, "kind": obligation.kind, "amount": self.amount}
        return {**told, "remaining": max(obligation.owed - self.amount, 0)}

    def entry(self, act: Act, payment_id: str) -> Entry:
        """Return the entry that pays it."""
        obligation = self.obligation
        change = obligation.payment_sign * self.amount
        entry = Entry.of(act, obligation, change, Kind.PAYMENT, before=obligation.amount or 0)
        entry.payment_id = payment_id
        return entry

    def applied(self, act: Act, payment_id: str) -> Event:
        """Return the event that it has been paid."""
        obligation = self.obligation
        told = {name: getattr(obligation, name) for name in obligation.applied}
        return Event.of(
            act,
            Type.AMOUNT_APPLIED,
            obligation.pk,
            external_reference=obligation.external_reference,
            payment_id=payment_id,
            amount=self.amount,
            currency=obligation.currency,
            **told,
        )


def fingerprint_of(asked: Mapping[str, Any]) -> bytes:
    """Return the digest of what a payment says, the same for everything that means the same."""
    said = {name: value for name, value in asked.items() if value not in (None, {})}
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()


def kind_of(key: str) -> str | None:
    """Return the kind of obligation that an id is of, or None when it is of none."""
    return next((kind for kind, prefix in PREFIXES.items() if decode(prefix, key)), None)


def held(act: Act, ids: Sequence[str]) -> dict[str, Any]:
    """Lock the obligations with these ids and return those there are, by their ids."""
    by_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for key in ids:
        if kind := kind_of(key):
            by_kind[kind].append(key)
    rows = [KINDS[kind].objects.holding(act, wanted) for kind, wanted in by_kind.items() if wanted]
    return {obligation.pk: obligation for of_kind in rows for obligation in of_kind}


def listed(act: Act, allocations: Sequence[dict[str, Any]], amount: int, currency: str) -> list[Share]:
    """Return the shares that a payment lists."""
    wanted = [
        Share(one["obligation"], one["amount"], f"/allocations/{n}/obligation", f"/allocations/{n}/amount")
        for n, one in enumerate(allocations)
    ]
    told = sum(share.amount for share in wanted)
    broken = []
    if told != amount:
        detail = f"The allocations come to {told:,}, the payment to {amount:,}."
        broken.append(Reason("allocation_mismatch", detail, "/allocations"))
    seen: set[str] = set()
    for share in wanted:
        if share.obligation in seen:
            broken.append(Reason("allocation_mismatch", "This obligation is listed twice.", share.place))
        seen.add(share.obligation)
    if broken:
        raise RuleBroken(*broken)
    return allocated(act, wanted, currency)


def allocated(act: Act, wanted: Sequence[Share], currency: str) -> list[Share]:
    """Return the shares with their obligations locked, once the rules in force allow each of them."""
    found = held(act, [share.obligation for share in wanted])
    missing = [
        Reason("obligation_not_found", f"There is no obligation “{share.obligation}”.", share.place)
        for share in wanted
        if share.obligation not in found
    ]
    if missing:
        raise Missing(*missing)
    shares = [Share(found[share.obligation], share.amount, share.place, share.amount_place) for share in wanted]
    judge(act, shares, currency)
    return shares


def judge(act: Act, shares: Sequence[Share], currency: str) -> None:
    """Refuse what the obligations have become, then what the rules in force say no to."""
    conflicts, broken = [], []
    for share in shares:
        obligation, owed = share.obligation, share.obligation.owed
        if getattr(obligation, "voided_at", None) is not None:
            conflicts.append(Reason("bill_voided", "The bill is void.", share.place))
        elif owed is None:
            detail = f"The {obligation.kind} carries no balance that could be paid."
            broken.append(Reason("obligation_not_payable", detail, share.place))
        elif obligation.currency != currency:
            detail = f"It is owed in {obligation.currency}, not in {currency}."
            broken.append(Reason("currency_mismatch", detail, "/currency"))
        elif owed <= 0:
            conflicts.append(Reason("obligation_settled", "Nothing is owed on it any more.", share.place))
        else:
            rules = obligation.rules_in_force(act.biller)
            broken += within_limits(share.amount, currency, rules, share.amount_place) or in_full(share, rules)
    refuse(conflicts, broken)


def refuse(conflicts: Sequence[Reason], broken: Sequence[Reason]) -> None:
    """Raise what speaks against a payment: conflicts before broken rules."""
    if conflicts:
        raise Conflict(*conflicts)
    if broken:
        raise RuleBroken(*broken)


def within_limits(amount: int, currency: str, rules: dict[str, Any], place: str) -> list[Reason]:
    """Return what the least and the largest amount say of an amount."""
    least, most = rules["min_amount"], rules["max_amount"]
    if least is not None and amount < least:
        return [Reason("amount_below_minimum", f"The least that is taken is {display(least, currency)}.", place)]
    if most is not None and amount > most:
        return [Reason("amount_above_maximum", f"The most that is taken is {display(most, currency)}.", place)]
    return []


def in_full(share: Share, rules: dict[str, Any]) -> list[Reason]:
    """Return what the rules say of an amount that is not what is owed."""
    amount, owed, currency = share.amount, share.obligation.owed, share.obligation.currency
    if amount < owed and not rules["underpayment_allowed"]:
        detail = f"All of {display(owed, currency)} is asked for."
        return [Reason("underpayment_not_allowed", detail, share.amount_place)]
    if amount > owed and not rules["overpayment_allowed"]:
        detail = f"No more than {display(max(owed, 0), currency)} is owed."
        return [Reason("overpayment_not_allowed", detail, share.amount_place)]
    if amount > share.room:
        detail = f"It can take {display(share.room, currency)} at most."
        return [Reason("amount_above_maximum", detail, share.amount_place)]
    return []


def oldest_first(act: Act, payer: str, amount: int, currency: str) -> tuple[list[Share], int]:
    """Return the shares of a payer's unpaid bills, oldest first, and what then remains of them all.

    The excess goes to the payer's balance, where that is tracked in this currency and may be overpaid. The least and
    the largest amount are the payer's own and count for the whole payment.
    """
    owner, kind = payer_of(act, payer)
    unpaid = Bill.objects.for_biller(act.biller).filter(
        **{f"{kind}_id": payer}, currency=currency, status=Status.UNPAID
    )
    bills = sorted(
        unpaid.order_by("pk").locked(), key=lambda bill: (bill.due_date or date.max, bill.bill_date, bill.pk)
    )
    shares: list[Share] = []
    left = amount
    for bill in bills:
        if left:
            shares.append(Share(bill, min(left, bill.owed), "/payer"))
            left -= shares[-1].amount
    rules = owner.rules_in_force(act.biller)
    conflicts: list[Reason] = []
    broken = within_limits(amount, currency, rules, "/amount")
    for share in shares:
        broken += in_full(share, share.obligation.rules_in_force(act.biller))
    if left:
        excess = Share(owner, left, "/payer")
        takes = owner.amount is not None and owner.currency == currency
        if not (shares or takes):
            conflicts.append(Reason("obligation_settled", f"No bill in {currency} is unpaid.", "/payer"))
        elif not (takes and rules["overpayment_allowed"]):
            detail = f"No more than {display(amount - left, currency)} is owed."
            broken.append(Reason("overpayment_not_allowed", detail, "/amount"))
        elif left > excess.room:
            detail = f"The balance can take {display(excess.room, currency)} at most."
            broken.append(Reason("amount_above_maximum", detail, "/amount"))
        shares.append(excess)
    refuse(conflicts, broken)
    return shares, sum(bill.owed for bill in bills) - (amount - left)


def payer_of(act: Act, payer: str) -> tuple[Any, str]:
    """Lock and return the customer or account that a payment names as its payer, and which of them it is."""
    kind = kind_of(payer)
    found = KINDS[kind].objects.holding(act, [payer]) if kind in {"customer", "account"} else []
    if not found:
        raise nowhere({"payer": payer})
    return found[0], str(kind)


def shares_of(act: Act, asked: dict[str, Any]) -> tuple[list[Share], int]:
    """Return what a payment pays, with everything locked and allowed, and what remains owed of it afterwards."""
    amount, currency = asked["amount"], asked["currency"]
    if "payer" in asked:
        return oldest_first(act, asked["payer"], amount, currency)
    if "obligation" in asked:
        shares = allocated(act, [Share(asked["obligation"], amount)], currency)
    else:
        shares = listed(act, asked["allocations"], amount, currency)
    return shares, sum(share.receipt["remaining"] for share in shares)


def first_of(asked: dict[str, Any]) -> tuple[str, str]:
    """Return the first id among what a payment pays, and where the request says it."""
    if "payer" in asked:
        return asked["payer"], "/payer"
    if "obligation" in asked:
        return asked["obligation"], "/obligation"
    return asked["allocations"][0]["obligation"], "/allocations/0/obligation"


def nowhere(asked: dict[str, Any]) -> Refusal:
    """Return the refusal of a payment of something that does not exist, or that is none of the partner's business."""
    key, place = first_of(asked)
    what = "payer" if "payer" in asked else "obligation"
    return Missing.because(f"{what}_not_found", f"There is no {what} “{key}”.", place)


def biller_of(partner: Partner, asked: dict[str, Any]) -> Biller | None:
    """Return the biller, among those the partner may collect for, whose obligation a payment names first."""
    key, _ = first_of(asked)
    kind = kind_of(key)
    return None if kind is None else next(iter(_biller_of(kind).objects(partner.pk, key)), None)


@cache
def _biller_of(kind: str) -> Prepared:
    return Prepared(
        lambda partner, key: Biller.objects.collected_by(partner).filter(
            pk__in=KINDS[kind].objects.filter(pk=key).values("biller_id")
        ),
        new_id("prt"),
        new_id(PREFIXES[kind]),
    )


def masked(name: str | None) -> str | None:
    """Return a name as a receipt shows it: the first letter of each word, `J*** D**`."""
    return name and " ".join(word[0] + "*" * (len(word) - 1) for word in name.split())
