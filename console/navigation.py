"""The way around the console."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _item(title: str, icon: str, model: str, description: str) -> dict[str, Any]:
    app, name = model.split(".")

    def may_see(request: HttpRequest) -> bool:
        return request.user.has_perms([f"{app}.view_{name}"])

    return {
        "title": title,
        "icon": icon,
        "description": description,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": may_see,
    }


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups of the sidebar."""
    return [
        {
            "items": [
                _item(
                    "Customers",
                    "group",
                    "customers.customer",
                    "Who is billed: contact data, balance, accounts and bills.",
                ),
                _item(
                    "Accounts",
                    "account_balance_wallet",
                    "accounts.account",
                    "Meters, policies, loans: what a customer is billed on.",
                ),
                _item("Bills", "receipt_long", "bills.bill", "Issue, correct and void bills; see what is overdue."),
                _item("Payments", "payments", "payments.payment", "What was paid, and who took it; record, reverse."),
                _item("Payer references", "dialpad", "payments.payerreference", "What payers type on a keypad."),
            ]
        },
        {
            "title": "What happened",
            "separator": True,
            "items": [
                _item("Ledger", "menu_book", "ledger.entry", "Every change of an amount: who, when and why."),
                _item("Events", "notifications", "events.event", "What is told to billers when records change."),
                _item(
                    "Imports", "upload_file", "imports.import", "Files of records: sent, followed, their refused rows."
                ),
                _item("Deliveries", "outgoing_mail", "events.delivery", "Webhooks: delivered, or still being tried."),
            ],
        },
        {
            "title": "Set-up",
            "separator": True,
            "items": [
                _item("Billers", "storefront", "billers.biller", "Merchants, each in live and in test mode."),
                _item("Partners", "handshake", "billers.partner", "Who takes payments, and for which billers."),
                _item(
                    "API keys", "key", "billers.apikey", "What opens a biller's data, or a partner's side, to systems."
                ),
                _item("Webhooks", "webhook", "events.webhookendpoint", "Where billers want to be told of events."),
                _item("Staff", "badge", "auth.user", "Who may sign in here."),
            ],
        },
    ]


def icon(request: HttpRequest) -> str:
    """Return the address of the console's icon."""
    return static("console/icon.svg")
