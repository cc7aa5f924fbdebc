"""How callers read the ledger."""

from api.views import ListViewSet
from ledger.filters import EntryFilter
from ledger.models import Entry
from ledger.serializers import EntryAnswer


class EntryViewSet(ListViewSet):
    """Every change of an amount, by whom and why."""

    queryset = Entry.objects.all()
    answer = EntryAnswer
    filters = EntryFilter
