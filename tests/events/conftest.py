"""Receivers of webhooks, trusted and allowed, and endpoints that are registered over the API."""

import ipaddress
import os
import threading

import pytest
import trustme
from receivers import Receiver

from bench.serving import url_of_scratch


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A throw-away certificate authority, and the file that names it."""
    authority = trustme.CA()
    authority.file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(authority.file)
    return authority


@pytest.fixture
def allowed(settings, authority):
    """The operator allows loopback, trusts the throw-away authority, and waits a second for an answer."""
    settings.WEBHOOK_ALLOWED_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]
    settings.WEBHOOK_CA_FILE = str(authority.file)
    settings.WEBHOOK_TIMEOUT_SECONDS = 1


@pytest.fixture
def receiving(authority, allowed):
    """Start receivers that are stopped when the test ends."""
    started = []

    def start(**options):
        receiver = Receiver(authority, **options)
        started.append(receiver)
        threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
        return receiver

    yield start
    for receiver in started:
        receiver.shutdown()
        receiver.server_close()


@pytest.fixture
def receiver(receiving):
    return receiving()


@pytest.fixture
def environment(authority):
    """What a worker of its own is told: the test database, and what `allowed` tells this process."""
    return {
        **os.environ,
        "DATABASE_URL": url_of_scratch(),
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "WEBHOOK_CA_FILE": str(authority.file),
        "WEBHOOK_TIMEOUT_SECONDS": "0.5",
        "LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "billing_project.settings",
    }


@pytest.fixture
def registered(api):
    """Register an endpoint over the API; return its answer, the secret in it."""

    def register(url, caller=api, **fields):
        made = caller.post("/billing/webhook_endpoints", {"url": url, **fields})
        assert made.status_code == 201, made.content
        return made.json()

    return register
