"""The twin's routes."""

from rest_framework.routers import SimpleRouter

from bench.plain.views import BillViewSet

router = SimpleRouter(trailing_slash=False)
router.register("billing/bills", BillViewSet)

urlpatterns = router.urls
