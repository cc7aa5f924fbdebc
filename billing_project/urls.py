"""The whole public map on one screen."""

from typing import Any

from django.contrib import admin
from django.urls import path, re_path
from django.views.generic import RedirectView

from accounts.views import AccountViewSet
from api import pages, views
from api.partners import BillerViewSet
from bills.views import BillViewSet
from customers.views import CustomerViewSet
from events.views import DeliveryViewSet, EventViewSet, WebhookEndpointViewSet
from imports.views import ImportViewSet
from ledger.views import EntryViewSet
from payments.reporting import ReportViewSet, SettlementViewSet
from payments.views import (
    AccountReferenceViewSet,
    BillReferenceViewSet,
    CustomerReferenceViewSet,
    ObligationViewSet,
    PartnerPaymentViewSet,
    PaymentViewSet,
)

COLLECTION: dict[str, Any] = {"get": "list", "post": "create", "put": "upsert"}
RECORD: dict[str, Any] = {"get": "retrieve", "put": "upsert", "patch": "partial_update"}
PAYER_REFERENCE: dict[str, Any] = {"get": "payer_reference", "post": "make_payer_reference"}

urlpatterns = [
    path("", RedirectView.as_view(url="/docs")),
    path("admin/", admin.site.urls),
    path("billing/customers", CustomerViewSet.as_view(COLLECTION)),
    path("billing/customers/<str:key>", CustomerViewSet.as_view(RECORD)),
    path("billing/customers/<str:key>/payer_reference", CustomerReferenceViewSet.as_view(PAYER_REFERENCE)),
    path("billing/accounts", AccountViewSet.as_view(COLLECTION)),
    path("billing/accounts/<str:key>", AccountViewSet.as_view(RECORD)),
    path("billing/accounts/<str:key>/payer_reference", AccountReferenceViewSet.as_view(PAYER_REFERENCE)),
    path("billing/bills", BillViewSet.as_view(COLLECTION)),
    path("billing/bills/<str:key>", BillViewSet.as_view(RECORD)),
    path("billing/bills/<str:key>/payer_reference", BillReferenceViewSet.as_view(PAYER_REFERENCE)),
    path("billing/bills/<str:key>/void", BillViewSet.as_view({"post": "void"})),
    path("billing/entries", EntryViewSet.as_view({"get": "list"})),
    path("billing/events", EventViewSet.as_view({"get": "feed"})),
    path("billing/webhook_endpoints", WebhookEndpointViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "billing/webhook_endpoints/<str:key>",
        WebhookEndpointViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
    ),
    path("billing/webhook_endpoints/<str:key>/rotate", WebhookEndpointViewSet.as_view({"post": "rotate"})),
    path("billing/deliveries", DeliveryViewSet.as_view({"get": "list"})),
    path("billing/deliveries/<str:key>", DeliveryViewSet.as_view({"get": "retrieve"})),
    path("billing/deliveries/<str:key>/redeliver", DeliveryViewSet.as_view({"post": "redeliver"})),
    path("billing/payments", PaymentViewSet.as_view({"get": "list", "post": "create"})),
    path("billing/payments/<str:key>", PaymentViewSet.as_view({"get": "retrieve"})),
    path("billing/payments/<str:key>/reverse", PaymentViewSet.as_view({"post": "reverse"})),
    path("billing/imports", ImportViewSet.as_view({"get": "list", "post": "create"})),
    path("billing/imports/<str:key>", ImportViewSet.as_view({"get": "retrieve"})),
    path("billing/imports/<str:key>/cancel", ImportViewSet.as_view({"post": "cancel"})),
    path("billing/imports/<str:key>/errors", ImportViewSet.as_view({"get": "errors"})),
    path("billing/reports/ageing", ReportViewSet.as_view({"get": "ageing"})),
    path("billing/reports/collections", ReportViewSet.as_view({"get": "collections"})),
    path("partner/billers", BillerViewSet.as_view({"get": "list"})),
    path("partner/obligations", ObligationViewSet.as_view({"get": "owed"})),
    path("partner/payments", PartnerPaymentViewSet.as_view({"get": "list", "post": "create"})),
    path("partner/payments/<str:key>", PartnerPaymentViewSet.as_view({"get": "retrieve"})),
    path("partner/payments/<str:key>/reverse", PartnerPaymentViewSet.as_view({"post": "reverse"})),
    path("partner/settlements/<str:date>", SettlementViewSet.as_view({"get": "settlement"})),
    path("openapi.json", pages.document),
    path("docs", pages.docs),
    path("problems/<slug:code>", pages.problem_page),
    path("health/live", views.live),
    path("health/ready", views.ready),
    re_path(r"^(?:billing|partner)(?:/|$)", views.nowhere),
]
