"""The twin's views."""

import hashlib
import json
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from rest_framework import exceptions, response, views, viewsets
from rest_framework.request import Request

from api.models import IdempotencyKey
from bench.plain.manners import PartnerKeyAuthentication
from bench.plain.models import Account, Bill, Customer, Entry
from bench.plain.serializers import BillSerializer, ObligationSerializer, record_event
from billers.models import Biller
from core.ids import as_uuid


class BillFilter(filters.FilterSet):
    """Filters by the fields people ask for."""

    status = filters.CharFilter()

    class Meta:
        model = Bill
        fields = ("currency", "external_reference")


class BillViewSet(viewsets.ModelViewSet):
    """Bills, with the project's guarantees and nothing clever."""

    queryset = Bill.objects.select_related("customer", "account")
    serializer_class = BillSerializer
    lookup_field = "external_reference"
    filterset_class = BillFilter

    def get_queryset(self) -> Any:
        """Return the bills of the caller's biller."""
        return super().get_queryset().filter(biller_id=self.request.user.pk)

    @transaction.atomic
    def create(self, request: Request, *args: Any, **options: Any) -> response.Response:
        """Create once per idempotency key."""
        self._audit(request)
        scope, name = as_uuid(request.user.pk), request.headers["Idempotency-Key"]
        fingerprint = hashlib.sha256(json.dumps(request.data, sort_keys=True).encode()).digest()
        if kept := IdempotencyKey.objects.filter(scope_id=scope, key=name).first():
            return response.Response(json.loads(bytes(kept.body)), status=kept.status)
        record = IdempotencyKey.objects.create(scope_id=scope, key=name, fingerprint=fingerprint)
        answer = super().create(request, *args, **options)
        record.status = answer.status_code
        record.body = json.dumps(answer.data, default=str).encode()
        record.save()
        return answer

    @transaction.atomic
    def partial_update(self, request: Request, *args: Any, **options: Any) -> response.Response:
        """Change a locked bill, with its ledger entry and event."""
        self._audit(request)
        bill = self.get_queryset().select_for_update(of=("self",)).get(external_reference=options["external_reference"])
        before = bill.amount_paid
        serializer = self.get_serializer(bill, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        if (change := serializer.validated_data.get("amount_paid", before) - before) != 0:
            Entry.objects.create(
                biller_id=request.user.pk,
                obligation_kind="bill",
                obligation_id=as_uuid(bill.pk),
                sequence=bill.entry_count + 1,
                amount=change,
                total=before + change,
                kind="adjustment",
                actor=str(request.auth.pk),
            )
            bill.entry_count += 1
        serializer.save()
        record_event(request, bill, "bill.updated")
        bill.refresh_from_db()
        return response.Response(self.get_serializer(bill).data)

    def _audit(self, request: Request) -> None:
        with connection.cursor() as cursor:
            context = json.dumps({"actor": str(request.auth.pk)})
            cursor.execute("SELECT set_config('pghistory.context_metadata', %s, true)", [context])


class ObligationView(views.APIView):
    """What a payer can pay now, of a biller that bills by the bill."""

    authentication_classes = (PartnerKeyAuthentication,)

    def get(self, request: Request) -> response.Response:
        """Tell the unpaid bills under a customer's, an account's or a bill's reference."""
        billers = Biller.objects.filter(enablements__partner=request.user, enablements__disabled_at=None)
        biller = get_object_or_404(billers, reference=request.query_params["biller"])
        named = {"biller_id": biller.pk, "external_reference": request.query_params["reference"]}
        asked = Q()
        for model, field in ((Customer, "customer"), (Account, "account"), (Bill, "pk")):
            if found := model.objects.filter(**named).first():
                asked |= Q(**{field: found.pk})
        if not asked:
            raise exceptions.NotFound
        owed = Bill.objects.select_related("customer", "account").filter(asked, biller_id=biller.pk, status="UNPAID")
        serializer = ObligationSerializer(owed.order_by("due_date", "pk")[:100], many=True, context={"biller": biller})
        return response.Response({"data": serializer.data})
