"""A receiver of webhooks as a biller would run one: real HTTPS, verified by the reference library."""

import http.server
import json
import ssl
import subprocess
import sys

from django.conf import settings
from standardwebhooks import Webhook

from events.delivering import Courier
from events.models import WebhookEndpoint


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what arrives; `answer` decides how each request is answered: a status, or what writes to the line.

    `greet` is called of each connection, before anything is sent over it.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, authority, host="127.0.0.1"):
        self.arrived = []
        self.answer = lambda request: 200
        self.greet = lambda: None
        super().__init__((host, 0), Handler)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.context)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.server_port}/hooks"

    def verified(self, secret):
        """Return the bodies of what arrived, each verified as a receiver would."""
        return [Webhook(secret).verify(body, headers) for _, headers, body in self.arrived]

    @property
    def sequences(self):
        return [json.loads(body)["sequence"] for _, _, body in self.arrived]

    def handle_error(self, request, client_address):
        """Say nothing: clients that go away are part of the tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.server.greet()
        self.request.settimeout(30)
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):
            return  # whoever sent it is gone, and half an event is none
        self.server.arrived.append((self.path, dict(self.headers), body))
        answer = self.server.answer(self)
        if isinstance(answer, tuple):
            status, headers = answer
        else:
            status, headers = answer, {}
        if status is not None:
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

    def log_message(self, *args):
        """Keep quiet."""


def worker(environment, *options):
    """Start a worker as a process of its own."""
    command = [sys.executable, "manage.py", "deliver_webhooks", *options]
    return subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True)


def drained(**options):
    """Let a worker send everything that can be sent now; return its counts."""
    return Courier(once=True, threads=4, **options).run().counts


def hurry(**endpoint):
    """Let no endpoint rest."""
    WebhookEndpoint.objects.filter(**endpoint).update(free_at="2020-01-01T00:00Z")
