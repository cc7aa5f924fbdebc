"""Serves ours as `make run` does, and the twin as plain DRF mostly is: as many workers and threads."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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


class Server:
    """An application on a port of its own, which it keeps however often it is killed and started."""

    def __init__(self, application: str, database: dict[str, str]) -> None:
        self.port = free_port()
        self._command = [sys.executable, "-m", *SERVERS[application].format(port=self.port).split(), application]
        self._environment = {**os.environ, **PRODUCTION, **database}

    def start(self) -> None:
        """Serve; return once a connection is accepted."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait()
        except RuntimeError:
            self.kill()
            raise

    def kill(self) -> None:
        """End every process of it at once: nothing of it is worth a polite end, at which a worker may hang."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _wait(self) -> None:
        for _ in range(300):
            if self._process.poll() is not None:
                raise RuntimeError(f"The server ended with {self._process.returncode}.")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("The server does not answer.")


@contextmanager
def served(application: str, database: dict[str, str]) -> Iterator[int]:
    """Serve an application until the block ends; give its port."""
    server = Server(application, database)
    server.start()
    try:
        yield server.port
    finally:
        server.kill()


def url_of_scratch() -> str:
    """Return the URL of the connected database, for processes that are started from here."""
    connection.ensure_connection()
    place = connection.connection.info
    return f"postgresql://{place.user}:{place.password}@/{place.dbname}?host={place.host}&port={place.port}"
