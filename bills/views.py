"""How callers reach bills."""

from django.http import HttpResponse
from rest_framework.request import Request

from api.operations import NOW, Operation
from api.preconditions import expected_versions
from bills.filters import BillFilter
from bills.models import Bill
from bills.serializers import BillAnswer, NewBill, PatchBill, PutBill, Void
from bills.tables import BILLS
from ledger.views import LedgerRecordViewSet


class BillViewSet(LedgerRecordViewSet):
    """Money asked."""

    queryset = Bill.objects.all()
    collection = "/billing/bills"
    create_verb = "issue"
    answer = BillAnswer
    create_shape, put_shape, patch_shape, void_shape = NewBill(), PutBill(), PatchBill(), Void()
    filters = BillFilter
    table = BILLS
    operations = {
        **LedgerRecordViewSet.operations,
        "void": Operation(
            "void",
            "Void for good",
            NOW,
            shape="void_shape",
            bodiless=True,
            key_required=True,
            refuses={409: ["bill_has_payments", "bill_voided"]},
        ),
    }
    sorts = {
        "created_at": False,
        "updated_at": False,
        "external_reference": False,
        "amount_due": False,
        "due_date": True,
    }

    def void(self, request: Request, key: str) -> HttpResponse:
        """Void a bill for good."""
        self.asked()
        versions = expected_versions(request)
        reason = self.void_shape.run_validation(self.body(required=False)).get("reason")
        self.nameable(key)
        return self.write(
            lambda act: (self.verbs.void(act, key, versions=versions, reason=reason), False), key_required=True
        )
