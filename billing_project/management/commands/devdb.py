"""Look at, enter, stop or drop the private database of this checkout."""

import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management import CommandError
from django.core.management.base import BaseCommand, CommandParser

from billing_project.database.server import NAME, PORT, PrivateServer

IN_USE = "a running command uses the private database: stop that first"


class Command(BaseCommand):
    """Look at, enter, stop or drop the private PostgreSQL that stands in where DATABASE_URL is unset."""

    help = "Look at, enter, stop or drop the private PostgreSQL that stands in where DATABASE_URL is unset."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one of the four acts."""
        acts = parser.add_subparsers(dest="act", required=True, metavar="status|psql|stop|reset")
        acts.add_parser("status", help="say whether it runs, its version and where everything is")
        acts.add_parser("psql", help="open a prompt of SQL on it")
        stop = acts.add_parser("stop", help="stop it, unless a running command uses it")
        stop.add_argument("--force", action="store_true", help="stop it all the same; the next query starts it again")
        reset = acts.add_parser("reset", help="stop it and drop all its data")
        reset.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, act: str, force: bool = False, yes: bool = False, **_options: Any) -> None:
        """Do the act on the server of BILLING_DATA_DIR."""
        server = PrivateServer.at(settings.DATA_DIR)
        if act == "status":
            self.stdout.write("\n".join(status_lines(server)))
        elif act == "psql":
            server.join()
            client = server.binaries().folder / "psql"
            sys.exit(subprocess.call([client, "-h", server.socket_folder, "-p", str(PORT), "-U", NAME, NAME]))
        elif act == "stop":
            if not server.stop(even_if_used=force):
                raise CommandError(IN_USE + ", or use --force")
            self.stdout.write("The private database is down.")
        elif yes or input(f"Drop everything in {server.data}? Type yes: ") == "yes":
            if not server.reset():
                raise CommandError(IN_USE)
            self.stdout.write("The private database is gone; the next command that needs one makes it anew.")
        else:
            self.stdout.write("Nothing was done.")


def status_lines(server: PrivateServer) -> list[str]:
    """Return what there is to know about the server, one fact a line."""
    state = f"running, process {server.pid}" if server.running else "down"
    named = "DATABASE_URL is set, so it is not used" if settings.DATABASE_URL else "used, for DATABASE_URL is unset"
    return [
        f"state    {state}{', in use' if server.in_use else ''}",
        f"role     {named}",
        f"version  {server.major or 'no data yet'}",
        f"data     {server.data}",
        f"log      {server.log}",
        f"socket   {server.socket_folder}",
    ]
