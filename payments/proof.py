"""The proof that every payment is the sum of its entries, and that what was reversed came to nothing."""

# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter
from typing import Any

from core.ids import encode
from ledger.proof import OF_BILLERS, Finding, checks, rows

_OF_BILLERS = OF_BILLERS.replace("biller_id", "payment.biller_id")
_DIFFERS = f"""
    SELECT payment.id FROM payments_payment AS payment
    LEFT JOIN payments_reversal AS reversal
        ON reversal.biller_id = payment.biller_id AND reversal.payment_id = payment.id
    LEFT JOIN (
        SELECT biller_id, payment_id, sum(abs(amount)) FILTER (WHERE kind = 'payment') AS paid,
            sum(abs(amount)) FILTER (WHERE kind = 'reversal') AS reversed
        FROM ledger_entry WHERE payment_id IS NOT NULL GROUP BY biller_id, payment_id
    ) AS posted ON posted.biller_id = payment.biller_id AND posted.payment_id = payment.id
    WHERE {_OF_BILLERS} AND (
        posted.paid IS DISTINCT FROM payment.amount
        OR COALESCE(posted.reversed, 0) <> CASE WHEN reversal.id IS NULL THEN 0 ELSE payment.amount END
    )
    ORDER BY payment.id
"""
_LEFT_OVER = f"""
    SELECT DISTINCT payment.id FROM payments_payment AS payment
    JOIN payments_reversal AS reversal
        ON reversal.biller_id = payment.biller_id AND reversal.payment_id = payment.id
    JOIN ledger_entry AS entry ON entry.biller_id = payment.biller_id AND entry.payment_id = payment.id
    WHERE {_OF_BILLERS} GROUP BY payment.id, entry.obligation_id HAVING sum(entry.amount) <> 0 ORDER BY payment.id
"""


def payments(values: dict[str, Any]) -> Finding:
    """Return what the payments of these billers come to."""
    finding = Finding("payment", noun="payments")
    [[finding.counted]] = rows(f"SELECT count(*) FROM payments_payment AS payment WHERE {_OF_BILLERS}", values)
    counted = f"SELECT count(*) FROM ledger_entry WHERE payment_id IS NOT NULL AND {OF_BILLERS}"
    [[finding.entries]] = rows(counted, values)
    doubts = {"differs from the sum of its entries": _DIFFERS, "was reversed but left something": _LEFT_OVER}
    for what, statement in doubts.items():
        if found := [encode("pay", key) for (key,) in rows(statement, values)]:
            finding.wrong[what] = found
    return finding


checks.append(payments)
