"""Serve the API and the console, with the database migrated and, in development, a demo loaded."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from payments.demo import is_loaded
from payments.management.commands.load_demo import DEMO_KEY, DEMO_LOGIN, DEMO_PARTNER_KEY, DEMO_PASSWORD

# Granian's longest: a thread that ends takes its database connection with it.
THREAD_IDLE_SECONDS = 600

WORKERS = ("deliver_webhooks", "run_imports")
"""The commands that run beside the server."""

# A process of the server's that is forked while a command is started would keep the pipe open that tells of its start,
# and who started it would wait for ever.
_starting = threading.Lock()

SECONDS_TO_RESTART = 5
SECONDS_TO_STOP = 3


class Command(BaseCommand):
    """Serve on one address until Ctrl-C, which stops everything that was started."""

    help = "Migrate, load the demo once (in DEBUG), and serve the API and the console until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address and the size of the server, each with its environment variable."""
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="default $HOST or 127.0.0.1")
        parser.add_argument("--port", type=int, default=os.environ.get("PORT") or 8000, help="default $PORT or 8000")
        parser.add_argument(
            "--workers", type=int, default=os.environ.get("WEB_WORKERS") or 2, help="default $WEB_WORKERS or 2"
        )
        parser.add_argument(
            "--threads", type=int, default=os.environ.get("WEB_THREADS") or 4, help="default $WEB_THREADS or 4"
        )
        parser.add_argument("--no-background", action="store_true", help="do not run the workers beside the server")
        parser.add_argument("--no-demo", action="store_true", help="do not load the demo into an empty database")

    def handle(
        self, *, host: str, port: int, workers: int, threads: int, no_demo: bool, no_background: bool, **_options: Any
    ) -> None:
        """Check what can go wrong first, prepare, and serve."""
        # Until granian sets its own, a polite end runs what stops the database; so does a closed terminal.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        refuse_taken_port(host, port)
        call_command("migrate", verbosity=0, interactive=False)
        with_demo = settings.DEBUG and not no_demo
        if with_demo and not is_loaded():
            self.stdout.write("Loading the demo ...")
            call_command("load_demo")
        if not settings.DEBUG:
            call_command("collectstatic", verbosity=0, interactive=False)
        # The workers are forked: a connection must not be shared with them.
        connection.close()

        server = Granian(
            "billing_project.wsgi:application",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=workers,
            blocking_threads=threads,
            blocking_threads_idle_timeout=THREAD_IDLE_SECONDS,
            workers_kill_timeout=10,
            log_level=LogLevels.warning,
        )

        os.register_at_fork(
            before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release
        )
        os.register_at_fork(after_in_child=obey_parent_alone)

        @server.on_startup
        def announce_when_it_answers() -> None:
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                signal.signal(signal.SIGHUP, server.signal_handler_interrupt)
            threading.Thread(target=self.announce, args=(host, port, with_demo), daemon=True).start()

        with beside(() if no_background else WORKERS, self.stderr.write):
            server.serve()
        self.stdout.write("Stopped.")

    def announce(self, host: str, port: int, with_demo: bool) -> None:
        """Print where everything is, once a connection is accepted."""
        while not answers(host, port):
            time.sleep(0.05)
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        lines = [
            "",
            f"API      {address}/billing/ and /partner/",
            f"Console  {address}/admin/",
            f"Docs     {address}/docs",
        ]
        if with_demo:
            lines += demo_lines(address)
        self.stdout.write("\n".join([*lines, "", "Ctrl-C stops it."]))
        self.stdout.flush()


@contextmanager
def beside(commands: Sequence[str], tell: Callable[[str], Any]) -> Iterator[None]:
    """Run commands until the block ends; one that fails is told of and started again, and nothing else minds."""
    ending = threading.Event()
    keepers = [threading.Thread(target=keep_running, args=(command, ending, tell)) for command in commands]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        ending.set()
        for keeper in keepers:
            keeper.join()


def keep_running(command: str, ending: threading.Event, tell: Callable[[str], Any]) -> None:
    """Run one command over and over; at the end ask it to stop, and kill it when it does not."""
    line = [sys.executable, str(settings.BASE_DIR / "manage.py"), command, "--with-parent", str(os.getpid())]
    while not ending.is_set():
        # A session of its own: the terminal's Ctrl-C is for the server, which then sees to the rest.
        with _starting:
            worker = subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True)
        while worker.poll() is None and not ending.wait(0.2):
            pass
        if worker.poll() is None:
            worker.terminate()
            try:
                worker.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        elif not ending.is_set():
            tell(f"{command} ended ({worker.returncode}); it is started again in {SECONDS_TO_RESTART} seconds.")
            ending.wait(SECONDS_TO_RESTART)


def obey_parent_alone() -> None:
    """Make a worker stop when the parent says so or is gone."""
    # A worker told to stop twice, by the terminal's Ctrl-C and by its parent, may hang.
    os.setpgrp()
    # Until granian sets its own, the parent's would take its word to stop for the worker, and do nothing here.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def refuse_taken_port(host: str, port: int) -> None:
    """Refuse before any work when another program listens on the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as refusal:
            reason = getattr(refusal, "strerror", None) or refusal
            message = f"cannot serve on {host}:{port} ({reason}); choose another with PORT=8001 make run"
            raise CommandError(message) from None


def answers(host: str, port: int) -> bool:
    """Tell whether a connection is accepted."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def demo_lines(address: str) -> list[str]:
    """Return the demo's login, and a request of a biller and of a partner that work when pasted."""
    return [
        f"Login    {DEMO_LOGIN} / {DEMO_PASSWORD}",
        "",
        f"curl -H 'Authorization: Bearer {DEMO_KEY}' '{address}/billing/bills?limit=3'",
        f"curl -H 'Authorization: Bearer {DEMO_PARTNER_KEY}' '{address}/partner/billers'",
    ]
