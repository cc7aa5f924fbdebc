"""The floor: the statements our API sends, run by pgbench with nothing around them."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection
from psycopg.types.json import Jsonb

from bench.client import CLIENTS

Statement = tuple[str, tuple[Any, ...]]


@contextmanager
def captured() -> Iterator[list[Statement]]:
    """Collect the statements sent within the block."""
    statements: list[Statement] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append((sql, tuple(params or ())))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield statements


def script(statements: list[Statement], token: str, start: int, instead: Mapping[uuid.UUID, str] | None = None) -> str:
    """Return a pgbench script of the statements.

    Text that holds `token` and ids made for this run become new in every transaction: a number of the client's own,
    rising, as the time in our ids does. The ids in `instead` become what is written there, in which `:k` is 0, 1, 2 ….
    """
    known = {key: f"({expression})::uuid" for key, expression in (instead or {}).items()}
    lines = ["\\set n :n + 1", "\\set m :n * 64 + :client_id"]
    lines += [f"\\set k (:n - {start} - 1) * {CLIENTS} + :client_id", "BEGIN;"]
    for sql, params in statements:
        composed = sql.replace("%%", "%")
        for param in params:
            composed = composed.replace("%s", _expression(param, token, known), 1)
        lines.append(" ".join(composed.split()) + ";")
    return "\n".join([*lines, "COMMIT;", ""])


def _expression(param: Any, token: str, known: dict[uuid.UUID, str]) -> str:
    match param:
        case Jsonb():
            return f"{_text(json.dumps(param.obj, default=str), token)}::jsonb"
        case None | bool() | int():
            return "NULL" if param is None else str(param)
        case uuid.UUID():
            if param not in known and _is_fresh(param):
                place = len(known)
                known[param] = f"(lpad(to_hex(:m::bigint), 30, '0') || lpad(to_hex({place}), 2, '0'))::uuid"
            return known.get(param, f"'{param}'::uuid")
        case bytes():
            return f"'\\x{param.hex()}'::bytea"
        case list():
            return f"ARRAY[{', '.join(_expression(one, token, known) for one in param)}]"
    return _text(str(param), token)


_since: list[datetime] = []


def _is_fresh(value: uuid.UUID) -> bool:
    made = datetime.fromtimestamp((value.int >> 80) / 1000).astimezone()
    return bool(_since) and made >= _since[0]


def fresh_from_now() -> None:
    """Take every id made from now on for one of the run's own."""
    _since[:] = [datetime.now().astimezone()]


def _text(value: str, token: str) -> str:
    # pgbench looks for variables in literals too: a colon must not touch a name.
    quoted = re.sub(r":(?=\w)", ":' || '", value.replace("'", "''"))
    return "(" + " || :m::bigint::text || ".join(f"'{part}'" for part in quoted.split(token)) + ")"


def rate(pgbench: Path, sql: str, start: int, seconds: int) -> float:
    """Return the transactions a second that pgbench reaches, prepared, with as many clients as the API's."""
    connection.ensure_connection()
    place = connection.connection.info
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(sql)
        file.flush()
        command = [str(pgbench), "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds)]
        command += ["-D", f"n={start}", "-f", file.name, "-h", place.host, "-U", place.user]
        command += ["-p", str(place.port), place.dbname]
        environment = {**os.environ, "PGPASSWORD": place.password}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if found is None or done.returncode:
        raise RuntimeError(done.stderr[-2000:] or done.stdout)
    return float(found.group(1))


def pgbench_beside(folder: Path | None) -> Path | None:
    """Return pgbench from the server's binaries or the path, if there is one."""
    if folder is not None and (folder / "pgbench").exists():
        return folder / "pgbench"
    found = shutil.which("pgbench")
    return Path(found) if found else None
