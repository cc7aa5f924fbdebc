"""The way around the console."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    app, name = model.split(".")

    def may_see(request: HttpRequest) -> bool:
        return request.user.has_perms([f"{app}.view_{name}"])

    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{app}_{name}_changelist"), "permission": may_see}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups of the sidebar."""
    return [
        {
            "items": [
                _item("Customers", "group", "customers.customer"),
                _item("Accounts", "account_balance_wallet", "accounts.account"),
                _item("Bills", "receipt_long", "bills.bill"),
            ]
        },
        {
            "title": "What happened",
            "separator": True,
            "items": [_item("Ledger", "menu_book", "ledger.entry"), _item("Events", "notifications", "events.event")],
        },
        {
            "title": "Set-up",
            "separator": True,
            "items": [
                _item("Billers", "storefront", "billers.biller"),
                _item("API keys", "key", "billers.apikey"),
                _item("Staff", "badge", "auth.user"),
            ],
        },
    ]


def icon(request: HttpRequest) -> str:
    """Return the address of the console's icon."""
    return static("console/icon.svg")
