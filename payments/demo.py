"""Invented billers whose customers, accounts, bills and payments look like real ones; the same on every machine."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

from django.db import connection

from accounts.models import Account
from billers.acts import Act, perform
from billers.models import Biller, Enablement, Partner
from bills.models import Bill
from core.ids import uuid_of
from core.statements import made
from customers.models import Customer
from events.models import Event, Type
from ledger.models import Entry, Kind, Obligation
from payments.collecting import KINDS, Share, fingerprint_of, masked
from payments.models import Method, PayerReference, Payment, Reference, Reversal

PARTNER = "demo-partner"

BATCH = 500
"""How many customers are written in one act."""

REASONS = ("Paid twice", "Wrong bill", "Card payment charged back", "Typed wrong at the till")

FIRST_NAMES = (
    "Amahle",
    "Thabo",
    "Naledi",
    "Johan",
    "Fatima",
    "Priya",
    "Grace",
    "Mateo",
    "Kenji",
    "Ngozi",
    "Kamau",
    "Sofia",
)
LAST_NAMES = (
    "Dlamini",
    "Nkosi",
    "Botha",
    "Naidoo",
    "Patel",
    "Smith",
    "Okafor",
    "Mwangi",
    "Silva",
    "Sato",
    "Müller",
    "O'Brien",
)


@dataclass(frozen=True)
class Trade:
    """What one kind of biller bills for."""

    reference: str
    name: str
    country: str
    timezone: str
    billing_model: str
    currencies: tuple[str, ...]
    account_names: tuple[str, ...]
    descriptions: tuple[str, ...]
    amounts: tuple[int, int]
    share: float


TRADES = (
    Trade(
        "demo",
        "Aurora Water and Power",
        "ZA",
        "Africa/Johannesburg",
        "bill",
        ("ZAR",),
        ("Electricity", "Water", "Refuse"),
        ("Electricity {month}", "Water and sewerage {month}", "Refuse removal {month}"),
        (8_000, 450_000),
        0.6,
    ),
    Trade(
        "demo-school",
        "Hillcrest School",
        "GB",
        "Europe/London",
        "account",
        ("GBP",),
        ("Tuition", "Boarding", "Transport"),
        ("Tuition, term of {month}", "Boarding {month}", "School bus {month}"),
        (12_000, 620_000),
        0.2,
    ),
    Trade(
        "demo-insurer",
        "Meridian Insurance",
        "JP",
        "Asia/Tokyo",
        "customer",
        ("USD", "EUR", "JPY", "KWD"),
        ("Motor policy", "Household policy", "Travel policy"),
        ("Premium {month}", "Excess, claim of {month}"),
        (2_500, 90_000),
        0.2,
    ),
)


def is_loaded() -> bool:
    """Tell whether the demo is there: it is loaded whole or not at all."""
    return Biller.objects.filter(reference=TRADES[0].reference).exists()


def take_turn() -> None:
    """Wait, until COMMIT, for whoever loads the demo at this moment."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('load_demo'))")


def found_billers() -> list[Biller]:
    """Create the demo billers, live and test, and return the live ones."""
    live = []
    for trade in TRADES:
        pair = Biller.objects.found(
            name=trade.name,
            reference=trade.reference,
            country=trade.country,
            timezone=trade.timezone,
            billing_model=trade.billing_model,
            default_currency=trade.currencies[0],
            amount_limits={currency: {} for currency in trade.currencies[1:]},
        )
        live.append(pair["live"])
    return live


def found_partner() -> dict[str, Partner]:
    """Create the demo partner, live and test, enabled for the demo billers; return it by mode."""
    pair = Partner.objects.found(name="Corner Shop Network", reference=PARTNER)
    references = [trade.reference for trade in TRADES]
    for mode, partner in pair.items():
        Enablement.objects.enable(partner, Biller.objects.filter(reference__in=references, mode=mode))
    return pair


def fill(biller: Biller, partner: Partner, bills: int, told: Callable[[int], None] = lambda _: None) -> None:
    """Give a demo biller customers and accounts with this many bills, and payments of them; tell of each batch."""
    trade = next(trade for trade in TRADES if trade.reference == biller.reference)
    chance = random.Random(biller.reference)  # noqa: S311 the same demo everywhere
    number = written = 0
    while written < bills:
        plans: list[dict[str, Any]] = []
        while len(plans) < BATCH and written + sum(len(plan["bills"]) for plan in plans) < bills:
            number += 1
            left = bills - written - sum(len(plan["bills"]) for plan in plans)
            plans.append(_customer(trade, chance, number, left, biller.today()))
        perform(biller, "command:load_demo", partial(_write, partner=partner, plans=plans), reason="Demo data")
        batch = sum(len(plan["bills"]) for plan in plans)
        written += batch
        told(batch)


def _write(act: Act, partner: Partner, plans: list[dict[str, Any]]) -> None:
    """Write a batch with one statement for each kind of row, and leave what the verbs would have left."""
    customers = [Customer.objects.planned(act, f"/customers/{n}", **plan["customer"]) for n, plan in enumerate(plans)]
    accounts = [
        Account.objects.planned(act, f"/accounts/{n}/{m}", customer=customer, **fields)
        for n, (customer, plan) in enumerate(zip(customers, plans, strict=True))
        for m, fields in enumerate(plan["accounts"])
    ]
    by_reference: dict[str, Any] = {record.external_reference: record for record in (*customers, *accounts)}
    for n, (customer, plan) in enumerate(zip(customers, plans, strict=True)):
        for m, fields in enumerate(plan["bills"]):
            holder = by_reference.get(fields.pop("account", ""))
            bill = Bill.objects.planned(act, f"/bills/{n}/{m}", customer=customer, account=holder, **fields)
            by_reference[bill.external_reference] = bill
    paid = [_paid(act, by_reference, partner, **payment) for plan in plans for payment in plan["payments"]]
    for payment, _ in paid:
        act.plan(payment, f"/payments/{payment.pk}")
    act.insert_many()
    _read_statuses(act, [share.obligation for _, shares in paid for share in shares])
    for payment, shares in paid:
        act.leave(*(share.applied(act, payment.pk) for share in shares))
        for share in shares:
            if isinstance(share.obligation, Bill):
                share.obligation.tell_if_paid(act)
    act.insert_many()
    for kind, model in KINDS.items():
        some = [uuid_of(record.pk) for record in by_reference.values() if isinstance(record, model)][::3]
        PayerReference.objects.give_each(act, kind, some)


def _read_statuses(act: Act, obligations: list[Any]) -> None:
    """Bring the bills among these what the database made of them."""
    bills = {bill.pk: bill for bill in obligations if isinstance(bill, Bill)}
    statuses = Bill.objects.for_biller(act.biller).filter(pk__in=bills).values_list("pk", "status")
    for key, status in statuses:
        bills[key].status = status


def _paid(
    act: Act,
    by_reference: dict[str, Any],
    partner: Partner,
    *,
    of: list[tuple[str, int]],
    by_partner: bool,
    reason: str | None,
    **said: Any,
) -> tuple[Payment, list[Share]]:
    """Return a payment of records that are not written yet, which stand as it leaves them, and its shares."""
    shares = [Share(by_reference[reference], amount) for reference, amount in of]
    first = shares[0].obligation
    said |= {"amount": sum(share.amount for share in shares), "currency": first.currency}
    payment = made(Payment, biller=act.biller, partner=partner if by_partner else None, actor=act.actor, **said)
    payment.payer_name = masked(first.payer.name)
    payment.allocations = [share.receipt for share in shares]
    payment.amount_remaining = sum(share["remaining"] for share in payment.allocations)
    about = {"obligation": first.pk} if len(shares) == 1 else {"payer": first.payer.pk}
    act.leave(Reference.of(payment, fingerprint_of({**said, **about})))
    for share in shares:
        _post(act, payment, share, Kind.PAYMENT)
    if reason is not None:
        undone = {"payment_id": payment.pk, "partner_id": payment.partner_id, "reason": reason}
        act.leave(made(Reversal, biller=act.biller, actor=act.actor, **undone))
        for share in shares:
            _post(act, payment, share, Kind.REVERSAL)
        told = {name: getattr(payment, name) for name in ("external_reference", "amount", "currency", "allocations")}
        act.leave(Event.of(act, Type.PAYMENT_REVERSED, payment.pk, **told, reason=reason))
    return payment, shares


def _post(act: Act, payment: Payment, share: Share, kind: Kind) -> None:
    """Leave the entry of a payment or of its reversal, and bring its obligation up to it."""
    obligation: Obligation = share.obligation
    change = obligation.payment_sign * share.amount * (1 if kind == Kind.PAYMENT else -1)
    entry = Entry.of(act, obligation, change, kind, before=obligation.amount or 0)
    entry.payment_id = payment.pk
    act.leave(entry)
    setattr(obligation, obligation.amount_field, entry.total)
    obligation.entry_count = entry.sequence


def _customer(trade: Trade, chance: random.Random, number: int, most: int, today: date) -> dict[str, Any]:
    """Return one customer with accounts and at most this many bills."""
    first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
    currency = chance.choice(trade.currencies)
    reference = f"C-{100_000 + number}"
    accounts = [
        {
            "external_reference": f"A-{100_000 + number}-{place}",
            "name": name,
            "currency": currency,
            "balance": _balance(chance) if trade.billing_model == "account" else None,
        }
        for place, name in enumerate(chance.sample(trade.account_names, chance.randint(1, 2)), start=1)
    ]
    owned = [str(account["external_reference"]) for account in accounts]
    count = min(most, chance.randint(1, 8))
    bills = [_bill(trade, chance, currency, f"{number}-{place}", owned, today) for place in range(1, count + 1)]
    balance = _balance(chance) if trade.billing_model == "customer" else None
    balances: dict[str, Any] = {reference: balance}
    balances |= {str(account["external_reference"]): account["balance"] for account in accounts}
    return {
        "customer": {
            "external_reference": reference,
            "name": f"{first} {last}",
            "email": f"{first}.{last}.{number}@example.com".lower()
            .replace("'", "")
            .replace("ü", "ue")
            .replace("á", "a"),
            "phone": f"+2782{chance.randrange(10**7):07d}",
            "currency": currency,
            "balance": balance,
            "metadata": {"segment": chance.choice(["residential", "business"])},
        },
        "accounts": accounts,
        "bills": bills,
        "payments": _payments(trade, chance, number, bills, balances, today),
    }


def _payments(
    trade: Trade,
    chance: random.Random,
    number: int,
    bills: list[dict[str, Any]],
    balances: dict[str, Any],
    today: date,
) -> list[dict[str, Any]]:
    """Return the payments of a customer; what they pay of bills is taken out of what these begin with."""
    # What is paid too much, and a part of the rest, the biller knew of before: no payment stands behind it.
    paid = [bill for bill in bills if 0 < bill["amount_paid"] <= bill["amount_due"] and chance.randrange(5)]
    whole = [bill for bill in paid if bill["amount_paid"] == bill["amount_due"]]
    wanted = [[(bill["external_reference"], bill["amount_paid"])] for bill in paid]
    if len(whole) == len(paid) > 1 and not chance.randrange(4):
        whole.sort(key=lambda bill: (bill["due_date"] or date.max, bill["bill_date"]))
        wanted = [[(bill["external_reference"], bill["amount_paid"]) for bill in whole]]
    for bill in paid:
        bill["amount_paid"] = 0
    owed = [(reference, balance) for reference, balance in balances.items() if balance and balance > 1]
    wanted += [[(reference, balance // 2)] for reference, balance in owed if chance.randrange(3)]
    payments = []
    for place, of in enumerate(wanted, start=1):
        by_partner = chance.randrange(6) > 0
        noon = datetime.combine(today - timedelta(days=chance.randrange(10)), time(12), UTC)
        payments.append(
            {
                "of": of,
                "by_partner": by_partner,
                "reason": chance.choice(REASONS) if not chance.randrange(25) else None,
                "external_reference": f"{'SHOP' if by_partner else 'DESK'}-{trade.reference}-{number}-{place}",
                "method": chance.choice(Method.values),
                "paid_at": noon - timedelta(minutes=chance.randrange(600)),
            }
        )
    return payments


def _bill(
    trade: Trade, chance: random.Random, currency: str, tail: str, accounts: list[str], today: date
) -> dict[str, Any]:
    bill_date = today - timedelta(days=chance.randrange(150))
    due_date = bill_date + timedelta(days=30) if chance.randrange(20) else None
    amount_due = chance.randrange(*trade.amounts)
    # Most bills are paid in full; of the rest some in part, and a few too much.
    share = chance.choices((0, amount_due, amount_due // 2, amount_due + 500), weights=(34, 55, 10, 1))[0]
    fresh = today - timedelta(days=10)
    fields = {
        "external_reference": f"INV-{bill_date:%Y%m}-{tail}",
        "currency": currency,
        "amount_due": amount_due,
        "amount_paid": 0 if bill_date > fresh else share,
        "bill_date": bill_date,
        "due_date": due_date,
        "description": chance.choice(trade.descriptions).format(month=f"{bill_date:%B %Y}"),
        "metadata": {},
    }
    return fields | ({"account": chance.choice(accounts)} if accounts and chance.randrange(10) else {})


def _balance(chance: random.Random) -> int:
    return chance.choice([0, 0, chance.randrange(1_000, 250_000), -chance.randrange(500, 20_000)])
