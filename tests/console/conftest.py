import pytest
from django.contrib.auth.models import User

from accounts.models import Account
from billers.acts import perform
from billers.models import ApiKey, Biller
from bills.models import Bill
from customers.models import Customer
from events.models import Event, WebhookEndpoint
from imports.models import Import
from payments.models import PayerReference, Payment


@pytest.fixture
def billers(db):
    return Biller.objects.found(name="Highveld Water", reference="highveld", timezone="Africa/Johannesburg")


@pytest.fixture
def biller(billers):
    return billers["live"]


@pytest.fixture
def clerk(db):
    return User.objects.create_superuser("thandi", password="pass")


@pytest.fixture
def staff(client, clerk, biller):
    """A browser of a signed-in member of staff."""
    client.force_login(clerk)
    return client


@pytest.fixture
def made(biller):
    """Make records through the verbs, as the API does."""

    def make(verb, **fields):
        return perform(biller, "api:test", lambda act: verb(act, **fields))

    return make


@pytest.fixture
def customer(made):
    return made(
        Customer.objects.enrol,
        external_reference="94/24615/657/109889",
        name="John Doe",
        email="john@example.com",
        phone="+27821234567",
        currency="ZAR",
        balance=2000,
    )


@pytest.fixture
def account(made, customer):
    return made(
        Account.objects.open,
        external_reference="ACC-1",
        name="Primary Account",
        customer=customer.pk,
        currency="ZAR",
        balance=5000,
    )


@pytest.fixture
def bill(made, account):
    return made(
        Bill.objects.issue, external_reference="INV-2024-001", account=account.pk, currency="ZAR", amount_due=2000
    )


@pytest.fixture
def many(made, biller):
    """Make a customer with an account, a bill that is paid in part, a payer reference and a key for each number."""

    def make(numbers):
        for number in numbers:
            ApiKey.objects.issue(biller)
            made(WebhookEndpoint.objects.register, url=f"https://hooks.example/{number}", enabled=number == 0)
            bill = made(
                Bill.objects.issue,
                external_reference=f"B-{number}",
                currency="ZAR",
                amount_due=1000 + number,
                amount_paid=number % 2,
                account={
                    "external_reference": f"A-{number}",
                    "balance": 100,
                    "currency": "ZAR",
                    "customer": {
                        "external_reference": f"C-{number}",
                        "name": f"N {number}",
                        "balance": 7,
                        "currency": "ZAR",
                    },
                },
            )
            made(PayerReference.objects.give, obligation_id=bill.pk)
            Import.objects.take_up(biller, f"{number}", file_name=f"{number}.csv")
            asked = {"external_reference": f"P-{number}", "amount": 1, "currency": "ZAR", "method": "cash"}
            made(Payment.objects.collect, fingerprint=b"x" * 32, obligation=bill.pk, **asked)
        Event.objects.pick_up(biller)
        for number in numbers:
            made(Customer.objects.enrol, external_reference=f"unnumbered-{number}")

    return make
