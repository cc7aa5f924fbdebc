"""Serves ours as `make run` does, and the twin as plain DRF mostly is: as many workers and threads."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "only-for-measuring-0123456789-abcdefghijklmnopqrstuvwxyz",
    "ALLOWED_HOSTS": "127.0.0.1",
    "SECURE_SSL_REDIRECT": "0",
    "BILLING_EMBEDDED_DATABASE": "1",
}


OURS = "billing_project.wsgi:application"
PLAIN = "bench.plain.wsgi:application"
SERVERS = {
    OURS: "granian --interface wsgi --host 127.0.0.1 --port {port} --workers 2 --blocking-threads 4"
    " --blocking-threads-idle-timeout 600",
    PLAIN: "gunicorn --worker-class gthread --bind 127.0.0.1:{port} --workers 2 --threads 4 --keep-alive 600",
}


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(application: str, database: dict[str, str]) -> Iterator[int]:
    """Serve an application until the block ends; give its port."""
    port = free_port()
    command = [sys.executable, "-m", *SERVERS[application].format(port=port).split(), application]
    environment = {**os.environ, **PRODUCTION, **database}
    server = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait(port, server)
        yield port
    finally:
        # Nothing of it is worth a polite end, at which a worker may hang.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise RuntimeError(f"The server ended with {server.returncode}.")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("The server does not answer.")


def url_of_scratch() -> str:
    """Return the URL of the connected database, for processes that are started from here."""
    connection.ensure_connection()
    place = connection.connection.info
    return f"postgresql://{place.user}:{place.password}@/{place.dbname}?host={place.host}&port={place.port}"
