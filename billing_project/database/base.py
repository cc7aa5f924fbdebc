"""The PostgreSQL backend, with a health check that costs no statement and a private server started on demand."""

import select
from typing import Any

from django.db.backends.postgresql import base

from billing_project.database.fitness import refuse_old, refuse_unfurnished, refuse_unreachable
from billing_project.database.server import PrivateServer


class DatabaseWrapper(base.DatabaseWrapper):
    """A PostgreSQL connection that sees a broken socket before it is used."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, once the private server is up when this connection is to that one."""
        if folder := self.settings_dict.get("PRIVATE_SERVER"):
            PrivateServer.at(folder).join()
        return super().get_new_connection(conn_params)

    def check_database_version_supported(self) -> None:
        """Refuse, at the first connection of a process, a server older than ours must be."""
        refuse_old(self, self.pg_version)

    def prepare_database(self) -> None:
        """Refuse, before the first migration, a database where the migrations would fail half-way."""
        refuse_unreachable(self)
        refuse_unfurnished(self)

    def is_usable(self) -> bool:
        """Tell whether the connection can still be used, by a statement only after an error."""
        if self.errors_occurred:
            return bool(super().is_usable())
        # A server that has gone away leaves an end of file to read; a healthy idle one says nothing.
        poll = select.poll()
        try:
            poll.register(self.connection.fileno(), select.POLLIN)
        except self.Database.Error:
            return False
        return not poll.poll(0)
