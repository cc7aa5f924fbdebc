"""How billers and partners ask about payments, and take and undo them."""

from dataclasses import replace
from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.models import Account
from api import nodes
from api.answers import json_response
from api.operations import CREATE, Operation
from api.partners import PartnerListViewSet, PartnerViewSet
from api.problems import invalid_parameter
from api.serializers import Shape
from api.views import Door, ListViewSet, TenantViewSet
from billers.acts import Act
from billers.models import Biller, Partner
from billers.tenancy import TenantQuerySet
from bills.models import Bill
from core.refusals import Missing, absent
from core.statements import Row, read
from core.text import is_payment_reference
from customers.models import Customer
from payments import collecting, looking_up
from payments.filters import PartnerPaymentFilter, PaymentFilter
from payments.models import PayerReference, Payment, Reference
from payments.serializers import (
    OLDEST_FIRST,
    MakePayerReference,
    NewPayment,
    ObligationAnswer,
    PartnerPaymentAnswer,
    PayerReferenceAnswer,
    PaymentAnswer,
    Reverse,
    UndoneAnswer,
    undone,
)
from payments.tables import PAYMENTS

OPERATIONS = {
    "create": replace(
        CREATE,
        summary="Take a payment",
        answers={201: "Taken.", 200: "The payment that this reference stands for already, which said the same."},
        key_required=True,
        versioned=False,
        refuses={
            404: ["obligation_not_found", "payer_not_found"],
            409: ["bill_voided", "obligation_settled", "reference_reused", "payment_reversed"],
            422: [
                "obligation_not_payable",
                "amount_below_minimum",
                "amount_above_maximum",
                "underpayment_not_allowed",
                "overpayment_not_allowed",
                "currency_mismatch",
                "allocation_mismatch",
            ],
        },
    ),
    "retrieve": Operation("get", "Get one", {200: "The payment."}, versioned=False),
    "reverse": Operation(
        "reverse",
        "Undo, whole",
        {201: "Undone.", 200: "Undone before: the same reversal."},
        shape="reverse_shape",
        key_required=True,
        versioned=False,
        locates=False,
    ),
}


class Collecting(Door):
    """What both sides share: taking a payment and undoing it, each once, however often it is asked."""

    queryset: ClassVar[TenantQuerySet] = Payment.objects.all()
    answers = {"reverse": UndoneAnswer}
    collection: ClassVar[str]
    create_shape: ClassVar[Shape] = NewPayment()
    reverse_shape: ClassVar[Shape] = Reverse()
    key_means = "Our id, or the reference it was taken under"
    operations = OPERATIONS

    @property
    def taker(self) -> Partner | None:
        """The partner that takes the payments, or None where the biller does."""
        raise NotImplementedError

    @property
    def served(self) -> Biller | None:
        """The biller, where the key says which."""
        raise NotImplementedError

    def paid(self) -> Any:
        """Return the payments that the caller may see."""
        raise NotImplementedError

    def shown(self, row: Row) -> Row:
        """Return the JSON object of a payment's row."""
        raise NotImplementedError

    def create(self, request: Request) -> HttpResponse:
        """Take a payment; one that is known already is answered as it is."""
        self.asked()
        asked = self.create_shape.run_validation(self.body())
        if asked.get("allocations") == OLDEST_FIRST:
            del asked["allocations"]
        fingerprint = collecting.fingerprint_of(asked)

        def taken(act: Act) -> HttpResponse:
            payment, is_new = Payment.objects.collect(act, fingerprint, partner=self.taker, **asked)
            told = self.shown(self.answer.row_of(payment) if is_new else self._row(payment.pk))
            response = json_response(told, 201 if is_new else 200)
            if is_new:
                response.headers["Location"] = f"{self.collection}/{payment.pk}"
            return response

        return self.once(self.served, taken, key_required=True)

    def retrieve(self, request: Request, key: str) -> HttpResponse:
        """Answer one payment, by our id or the reference it was taken under."""
        self.asked()
        return json_response(self.shown(self._row(key)))

    def reverse(self, request: Request, key: str) -> HttpResponse:
        """Undo a payment, whole; a repeated reversal is answered as it is."""
        self.asked()
        reason = self.reverse_shape.run_validation(self.body())["reason"]
        self._nameable(key)

        def done(act: Act) -> HttpResponse:
            found, is_new = Payment.objects.undo(act, key, reason, partner=self.taker)
            status = 200 if not is_new else 202 if isinstance(found, Reference) else 201
            return json_response(undone(found), status)

        return self.once(self.served, done, key_required=True)

    def _row(self, key: str) -> Row:
        self._nameable(key)
        for row in read(self.paid().named(key).with_parents().values(*self.answer.columns)[:1]):
            return row
        raise absent(Payment, key)

    def _nameable(self, key: str) -> None:
        if not is_payment_reference(key):
            raise absent(Payment, key)


class PaymentViewSet(Collecting, ListViewSet):
    """Payments as their biller sees them, and those that it takes itself."""

    collection = "/billing/payments"
    answer = PaymentAnswer
    filters = PaymentFilter
    table = PAYMENTS
    taker = None

    @property
    def served(self) -> Biller:
        return self.biller

    def paid(self) -> Any:
        return self.rows()

    def shown(self, row: Row) -> Row:
        return PaymentAnswer.told(row, self.biller, self.biller.today())


class PartnerPaymentViewSet(Collecting, PartnerListViewSet):
    """Payments as the partner that took them sees them."""

    collection = "/partner/payments"
    answer = PartnerPaymentAnswer
    filters = PartnerPaymentFilter
    operations = {
        **OPERATIONS,
        "reverse": replace(
            OPERATIONS["reverse"],
            answers={
                **OPERATIONS["reverse"].answers,
                202: "Remembered: should the payment still come, it is refused.",
            },
        ),
    }
    served = None

    @property
    def taker(self) -> Partner:
        return self.partner

    def rows(self) -> Any:
        """Return what the partner has taken, also for billers that it no longer collects for."""
        return Payment.objects.of_partner(self.partner)

    def paid(self) -> Any:
        return self.rows()

    def shown(self, row: Row) -> Row:
        return PartnerPaymentAnswer.told(row)


class ObligationViewSet(PartnerViewSet):
    """What a payer can pay now."""

    answer = ObligationAnswer
    operations = {
        "owed": Operation(
            "list",
            "What a payer can pay now, soonest due first",
            {200: "What can be paid; empty where the payer is known and nothing is owed."},
            versioned=False,
            parameters=[
                nodes.query("biller", nodes.TEXT, "The biller's reference.", required=True),
                nodes.query("reference", nodes.TEXT, "A customer's, account's or bill's external reference."),
                nodes.query(
                    "payer_reference",
                    {"type": "string", "pattern": "^[0-9]{2,12}$"},
                    "Instead: what the biller gave the payer to type; its last digit is checked.",
                ),
                nodes.query("phone", nodes.TEXT, "Instead: the customer's telephone number, E.164."),
            ],
            refuses={404: ["biller_not_found", "payer_not_found"], 422: ["reference_check_digit"]},
            envelope=nodes.all_of,
        ),
    }

    def owed(self, request: Request) -> HttpResponse:
        """Answer what is owed under a reference, a payer reference or a telephone number of one biller."""
        asked = self.asked("biller", *looking_up.BY)
        named = [name for name in looking_up.BY if name in asked]
        if "biller" not in asked:
            raise invalid_parameter("biller", "Name the biller by its reference.")
        if len(named) != 1:
            raise invalid_parameter("reference", f"Send one of {', '.join(looking_up.BY)}.")
        owed = looking_up.owed(self.partner, asked["biller"], named[0], asked[named[0]])
        return json_response({"data": [ObligationAnswer.told(row) for row in owed]})


class PayerReferenceViewSet(TenantViewSet):
    """What a payer types for a record of the biller: asked for, and made on request."""

    answer = PayerReferenceAnswer
    operations: ClassVar[dict[str, Operation]] = {
        "payer_reference": Operation(
            "payer_reference_get",
            "Get its payer reference",
            {200: "What its payer types."},
            versioned=False,
            refuses={404: ["payer_reference_not_found"]},
        ),
        "make_payer_reference": Operation(
            "payer_reference_make",
            "Make its payer reference",
            {201: "Made.", 200: "The one that it has already."},
            shape="make_shape",
            bodiless=True,
            versioned=False,
            locates=False,
        ),
    }
    make_shape: ClassVar[Shape] = MakePayerReference()

    def payer_reference(self, request: Request, key: str) -> HttpResponse:
        """Answer the payer reference, where one has been made."""
        self.asked()
        obligation = self._obligation(key)
        known = PayerReference.objects.of(self.biller.pk, obligation)
        if known is None:
            kind = self.queryset.model.kind
            raise Missing.because("payer_reference_not_found", f"The {kind} “{key}” has no payer reference yet.")
        return self._shown(known)

    def make_payer_reference(self, request: Request, key: str) -> HttpResponse:
        """Make the payer reference; one that is there already is answered as it is."""
        self.asked()
        self.make_shape.run_validation(self.body(required=False))

        def made(act: Act) -> HttpResponse:
            given, is_new = PayerReference.objects.give(act, self._obligation(key))
            return self._shown(given, 201 if is_new else 200)

        return self.once(self.biller, made)

    def _obligation(self, key: str) -> str:
        """Return the id of the record that the path names."""
        model = self.queryset.model
        rows = model.objects
        for row in rows.values_of(self.biller.pk, key, ("id",)) if rows.nameable(key) else ():
            return str(row["id"])
        raise absent(model, key)

    def _shown(self, given: PayerReference, status: int = 200) -> HttpResponse:
        row = self.answer.row_of(given)
        return json_response(self.answer.told(row, self.biller, self.biller.today()), status)


class CustomerReferenceViewSet(PayerReferenceViewSet):
    """Payer references of customers."""

    queryset = Customer.objects.all()


class AccountReferenceViewSet(PayerReferenceViewSet):
    """Payer references of accounts."""

    queryset = Account.objects.all()


class BillReferenceViewSet(PayerReferenceViewSet):
    """Payer references of bills."""

    queryset = Bill.objects.all()
