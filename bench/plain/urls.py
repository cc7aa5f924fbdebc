"""The twin's routes."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from bench.plain.views import BillViewSet, ObligationView

router = SimpleRouter(trailing_slash=False)
router.register("billing/bills", BillViewSet)

urlpatterns = [*router.urls, path("partner/obligations", ObligationView.as_view())]
