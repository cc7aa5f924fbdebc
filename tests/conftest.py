"""What most tests need: two billers, and a caller of the API for each kind of key."""

import http.client
import json
from contextlib import closing

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from accounts.models import Account
from api.authentication import key_ring
from api.models import IdempotencyKey
from bench.serving import OURS, served, url_of_scratch
from billers.acts import perform
from billers.models import ApiKey, Biller, Enablement, Partner
from bills.models import Bill
from customers.models import Customer
from events.models import Delivery, Event, WebhookEndpoint, WebhookSecret
from imports.models import Import, Job, Piece
from ledger.models import Entry
from payments.models import PayerReference, Payment, Reference, Reversal


class Api:
    """A caller of the API with one key."""

    def __init__(self, key):
        self.key = key
        self.client = Client(raise_request_exception=False)

    def call(self, method, path, body=None, **headers):
        """Send a request; bytes and text go as they are, everything else as JSON."""
        content = body if isinstance(body, bytes | str) else b"" if body is None else json.dumps(body).encode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        content_type = headers.pop("Content-Type", "application/json")
        return self.client.generic(method, path, content, content_type=content_type, headers=headers)

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def post(self, path, body=None, **headers):
        return self.call("POST", path, body, **headers)

    def put(self, path, body=None, **headers):
        return self.call("PUT", path, body, **headers)

    def patch(self, path, body=None, **headers):
        return self.call("PATCH", path, body, **headers)


@pytest.fixture(autouse=True)
def _forgetful_key_ring():
    """No test meets a caller that another one's database knew."""
    key_ring.forget()


@pytest.fixture
def pair(db):
    """One biller in live and test mode."""
    return Biller.objects.found(name="Acme Water", reference="acme")


@pytest.fixture
def biller(pair):
    return pair["live"]


@pytest.fixture
def test_biller(pair):
    return pair["test"]


@pytest.fixture
def other(db):
    """Another biller, whose data nobody else may see."""
    return Biller.objects.found(name="Other School", reference="other")["live"]


@pytest.fixture
def partners(pair):
    """One channel partner in live and test mode, enabled for the biller of that mode."""
    partners = Partner.objects.found(name="Corner Shops", reference="corner")
    for mode, partner in partners.items():
        Enablement.objects.enable(partner, [pair[mode]])
    return partners


@pytest.fixture
def partner(partners):
    return partners["live"]


@pytest.fixture
def test_partner(partners):
    return partners["test"]


@pytest.fixture
def other_partner(db):
    """Another channel partner, enabled for nobody."""
    return Partner.objects.found(name="Other Bank", reference="other-bank")["live"]


@pytest.fixture
def api_for():
    """Make a caller with a new key of a biller or partner."""
    return lambda owner, **key: Api(ApiKey.objects.issue(owner, **key)[1])


@pytest.fixture
def api(api_for, biller):
    """A caller with a write key of `biller`."""
    return api_for(biller)


@pytest.fixture
def partner_api(api_for, partner):
    """A caller with a write key of `partner`."""
    return api_for(partner)


@pytest.fixture
def server_port(transactional_db):
    """Where a server of its own, on the test database, listens."""
    with served(OURS, {"DATABASE_URL": url_of_scratch(), "LOG_LEVEL": "ERROR"}) as port:
        yield port


@pytest.fixture
def no_table_open(transactional_db):
    """Tables are read over connections of their own; one that a failed test left open would stop the next for ever."""
    yield
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'COPY (%'"
        )


@pytest.fixture
def callers(server_port):
    """Make callers of a server of its own from their keys; any number of threads may call, and over another port."""

    def caller(key, port=server_port):
        def send(method, path, body=None, **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            headers |= {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as line:
                line.request(method, path, json.dumps(body), headers)
                response = line.getresponse()
                return response.status, response.read(), dict(response.getheaders())

        return send

    return caller


@pytest.fixture
def bills(biller):
    """So few bills that payers meet, each of more than anybody pays; their ids."""
    owner = {"external_reference": "C", "name": "Ann"}

    def issue(number, owner="C"):
        bill = {"external_reference": f"B-{number}", "currency": "ZAR", "amount_due": 10**9, "customer": owner}
        return perform(biller, "test", lambda act: Bill.objects.issue(act, **bill)).pk

    return [issue(0, owner), *map(issue, range(1, 25))]


@pytest.fixture
def nobody():
    """A caller without a key."""
    return Api(None)


@pytest.fixture
def everything(db):
    """Read every row a request may write: equal before and after means that nothing moved."""

    def read():
        owed = (Customer, Account, Bill, Entry, Payment, Reversal, Reference, PayerReference)
        tables = (*owed, Event, WebhookEndpoint, WebhookSecret, Delivery, IdempotencyKey, Import, Job, Piece)
        return {table.__name__: sorted(map(str, table.objects.values())) for table in tables}

    return read


def pytest_terminal_summary(terminalreporter):
    """Say what was left out where the shared data is absent."""
    shared = settings.BASE_DIR.parent / "shared" / "data"
    if not shared.is_dir():
        terminalreporter.write_line(f"Left out: what is read from {shared}, which is not here.")
