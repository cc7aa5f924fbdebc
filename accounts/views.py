"""How callers reach accounts."""

from accounts.filters import AccountFilter
from accounts.models import Account
from accounts.serializers import AccountAnswer, NewAccount, PatchAccount, PutAccount
from accounts.tables import ACCOUNTS
from ledger.views import LedgerRecordViewSet


class AccountViewSet(LedgerRecordViewSet):
    """Where money is asked."""

    queryset = Account.objects.all()
    collection = "/billing/accounts"
    create_verb = "open"
    answer = AccountAnswer
    create_shape, put_shape, patch_shape = NewAccount(), PutAccount(), PatchAccount()
    filters = AccountFilter
    table = ACCOUNTS
    sorts = {"created_at": False, "updated_at": False, "external_reference": False, "name": True}
