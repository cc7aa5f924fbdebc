"""The private PostgreSQL of a checkout: started by the first process that needs it, stopped by the last one out."""

import atexit
import fcntl
import functools
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from billing_project.database.binaries import EXTENSIONS, Binaries, find
from billing_project.database.identity import PrivateServerRefused, can_reach, current_user, server_user, start_as

NAME = "billing"
PORT = 5432
SECONDS_TO_START = 120
SECONDS_TO_STOP = 60
LOG_BYTES_KEPT = 10 * 1024 * 1024
CHECKOUT = Path(__file__).resolve().parent.parent.parent

SETTINGS = {
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_permissions": "0700",
    "max_connections": 200,
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": 1.1,
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class PrivateServer:
    """The server of one data folder, shared by every process that joins it."""

    def __init__(self, folder: Path) -> None:
        """Name the server that keeps its data under a folder, without touching anything."""
        self.folder = folder
        self.home = _home(folder)
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        # A path under /tmp, because the address of a Unix socket ends at 103 to 107 bytes.
        self.socket_folder = Path("/tmp") / f"billing-{_digest(self.home)}"  # noqa: S108
        self._membership: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._threads = threading.RLock()

    @classmethod
    @functools.cache
    def at(cls, folder: Path) -> "PrivateServer":
        """Return the one object of this process for a folder."""
        return cls(folder)

    # --- What a process does with it ----------------------------------------------------------------------------------

    def join(self) -> None:
        """Count this process among the users until it ends, and have the server up."""
        self._claim_home()
        with self._threads, self._turn():
            if self._membership is None:
                self._membership = _locked(self.home / "users.lock", fcntl.LOCK_SH)
                atexit.register(self.leave)
            if not self.running:
                self._start()

    def leave(self) -> None:
        """Stop counting this process among the users, and stop the server when it was the last."""
        with self._threads:
            if self._membership is None or not self.home.exists():
                return
            with self._turn():
                self._membership.close()
                self._membership = None
                self.stop_if_unused()

    def keep_watch(self) -> None:
        """Wait for the last user to be gone, however it ended, and stop the server."""
        with suppress(FileNotFoundError, BlockingIOError):
            watch = _locked(self.home / "watch.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            while True:
                _locked(self.home / "users.lock", fcntl.LOCK_EX).close()
                with self._turn():
                    if self.stop_if_unused():
                        watch.close()
                        return

    def stop(self, *, even_if_used: bool = False) -> bool:
        """Stop the server unless a process uses it, and tell whether it is down."""
        if not self.home.exists():
            return True
        with self._turn():
            if even_if_used:
                self._stop()
                return True
            return self.stop_if_unused()

    def reset(self) -> bool:
        """Stop the server and drop its data unless a process uses it, and tell whether that was done."""
        if not self.home.exists():
            return True
        with self._turn():
            if not self.stop_if_unused():
                return False
            shutil.rmtree(self.data, ignore_errors=True)
            return True

    # --- What it is ---------------------------------------------------------------------------------------------------

    @property
    def major(self) -> int | None:
        """The major version of PostgreSQL that made the data, if there is any."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None

    @property
    def pid(self) -> int | None:
        """The process id of the server, if it lives."""
        lines = self._pid_file_lines()
        pid = int(lines[0]) if lines and lines[0].isdigit() else 0
        return pid if pid and f"-D {self.data} " in _command_of(pid) else None

    @property
    def running(self) -> bool:
        """Whether the server lives and takes connections."""
        lines = self._pid_file_lines()
        ready = len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 (the line where PostgreSQL says so)
        return ready and self.pid is not None and (self.socket_folder / f".s.PGSQL.{PORT}").exists()

    @property
    def in_use(self) -> bool:
        """Whether any process, this one included, counts among the users."""
        try:
            _locked(self.home / "users.lock", fcntl.LOCK_EX | fcntl.LOCK_NB).close()
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def binaries(self) -> Binaries:
        """Return the programs that serve this data."""
        return find(self.major, server_user(self.data), self.home)

    # --- How it is done (the methods below need the turn) -------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        with _locked(self.home / "turn.lock", fcntl.LOCK_EX):
            yield

    def stop_if_unused(self) -> bool:
        """Stop the server unless a process uses it, and tell whether it is down."""
        if self.in_use:
            return False
        self._stop()
        return True

    def _claim_home(self) -> None:
        user = current_user()
        self.home.mkdir(parents=True, exist_ok=True)
        if (owner := self.home.stat().st_uid) != user.pw_uid or self.home.is_symlink():
            message = f"{self.home} belongs to user id {owner}, not to {user.pw_name}: set BILLING_DATA_DIR."
            raise PrivateServerRefused(message)
        if self.folder not in self.home.parents:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "postgres.location").write_text(f"{self.home}\n")

    def _start(self) -> None:
        user = server_user(self.data)
        binaries = find(self.major, user, self.home)
        if self.major is None:
            self._initialise(binaries, user)
        # One that lives but does not answer: its starter was killed, or someone else is stopping it.
        self._stop()
        self._write_access_rules()
        self._make_socket_folder(user)
        self._launch(binaries, user)
        self._set_watch()

    def _initialise(self, binaries: Binaries, user: pwd.struct_passwd) -> None:
        """Make the data folder aside and rename it, so that an interrupted start leaves no half of one."""
        making = self.home / "data.new"
        # Ordering by bytes is the same everywhere; the character types decide what upper() and trigrams see as letters.
        for letters in ("C.UTF-8", "C.utf8", "en_US.UTF-8", "UTF-8"):
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(mode=0o700)
            os.chown(making, user.pw_uid, user.pw_gid)
            command: list[str | Path] = [binaries.folder / "initdb", "--pgdata", making, "--username", NAME]
            command += ["--encoding=UTF8", "--locale=C", f"--lc-ctype={letters}", "--auth=peer", "--no-instructions"]
            output = _run(user, command)
            if output is None:
                break
        else:
            message = f"initdb could not make {self.data}: {output}"
            raise PrivateServerRefused(message)
        # Every database made from now on has the extensions, those of the tests included.
        furnish = [*(f"CREATE EXTENSION {name};" for name in EXTENSIONS), f"CREATE DATABASE {NAME};"]
        command = [binaries.folder / "postgres", "--single", "-D", making, "-c", "exit_on_error=on", "template1"]
        if output := _run(user, command, told="\n".join(furnish) + "\n"):
            message = f"the new database could not be furnished: {output}"
            raise PrivateServerRefused(message)
        making.rename(self.data)

    def _write_access_rules(self) -> None:
        """Admit the user of this process alone, under the one role there is."""
        (self.home / "pg_hba.conf").write_text(f"local all {NAME} peer map={NAME}\n")
        (self.home / "pg_ident.conf").write_text(f'{NAME} "{current_user().pw_name}" {NAME}\n')
        for rules in ("pg_hba.conf", "pg_ident.conf"):
            (self.home / rules).chmod(0o644)

    def _make_socket_folder(self, user: pwd.struct_passwd) -> None:
        with suppress(FileExistsError):
            self.socket_folder.mkdir(mode=0o700)
            os.chown(self.socket_folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
        status = self.socket_folder.lstat()
        if status.st_uid != user.pw_uid or self.socket_folder.is_symlink():
            message = (
                f"{self.socket_folder} belongs to another user: remove it, or set BILLING_DATA_DIR or DATABASE_URL."
            )
            raise PrivateServerRefused(message)

    def _launch(self, binaries: Binaries, user: pwd.struct_passwd) -> None:
        """Start the server and wait until it takes connections, through what a killed one left behind."""
        settings = {
            **SETTINGS,
            "unix_socket_directories": self.socket_folder,
            "hba_file": self.home / "pg_hba.conf",
            "ident_file": self.home / "pg_ident.conf",
            "dynamic_shared_memory_type": _shared_memory(),
        }
        command: list[str | Path] = [binaries.folder / "postgres", "-D", self.data]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + SECONDS_TO_START
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_KEPT:
            self.log.unlink()
        while True:
            self._forget_dead_server()
            with self.log.open("ab") as log:
                begin = log.tell()
                process = self._process = start_as(user, command, stdout=log, stderr=log)
            while process.poll() is None and time.monotonic() < deadline:
                if self.running:
                    return
                time.sleep(0.02)
            told = self.log.read_bytes()[begin:].decode(errors="replace").splitlines()
            # The children of a killed server take a moment to notice that they are orphans.
            if any("still in use" in line for line in told) and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            self._stop()
            fatal = next((line for line in told if "FATAL" in line), "it did not answer in time")
            message = f"the private PostgreSQL did not start ({fatal.strip()}); its log is {self.log}."
            raise PrivateServerRefused(message)

    def _forget_dead_server(self) -> None:
        """Put our own id into a dead server's pid file: PostgreSQL takes its parent's for stale, yet checks memory."""
        for left_behind in self.socket_folder.glob(".s.PGSQL.*"):
            left_behind.unlink()
        if lines := self._pid_file_lines():
            descriptor = os.open(self.data / "postmaster.pid", os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "w") as pid_file:
                pid_file.write("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _set_watch(self) -> None:
        """Leave a process behind that stops the server when its users were killed before they could."""
        command: list[str | Path] = [sys.executable, "-m", "billing_project.database", self.folder]
        nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        start_as(current_user(), command, variables={"PYTHONPATH": str(CHECKOUT)}, **nowhere)

    def _stop(self) -> None:
        pid = self.pid
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while self.pid == pid:
            if time.monotonic() > deadline:
                message = f"the private PostgreSQL (process {pid}) does not stop; its log is {self.log}."
                raise PrivateServerRefused(message)
            time.sleep(0.02)
        if self._process:
            self._process.wait()
        with suppress(OSError):
            self.socket_folder.rmdir()


def _home(folder: Path) -> Path:
    """Return where the server's files are: in the folder, or for root where its unprivileged user can reach them."""
    home = folder / "postgres"
    if os.geteuid() != 0 or can_reach(server_user(home / "data"), home):
        return home
    place = next((place for place in map(Path, ("/var/lib", "/var/tmp")) if os.access(place, os.W_OK)), Path("/tmp"))  # noqa: S108
    return place / f"billing-{_digest(folder)}"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _locked(path: Path, operation: int) -> IO[str]:
    """Return a lock file, locked until it is closed or its process ends."""
    lock = path.open("a")
    try:
        fcntl.flock(lock, operation)
    except BaseException:
        lock.close()
        raise
    return lock


def _command_of(pid: int) -> str:
    """Return the command line of a process, empty for one that has ended: a pid file may name a stranger by now."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    listing = ["ps", "-o", "args=", "-p", str(pid)]
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout.replace("\n", " ")


def _run(user: pwd.struct_passwd, command: list[str | Path], told: str = "") -> str | None:
    """Run a program of PostgreSQL to its end, and return the last line of what it said when it failed."""
    process = start_as(user, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.communicate(told.encode())[0].decode(errors="replace").strip()
    if process.returncode == 0:
        return None
    return said.splitlines()[-1] if said else f"exit code {process.returncode}"


def _shared_memory() -> str:
    """Return how parallel workers share memory: containers often give /dev/shm only 64 MB, too few for a big sort."""
    with suppress(OSError):
        space = os.statvfs("/dev/shm")  # noqa: S108
        if space.f_blocks * space.f_frsize < 256 * 1024 * 1024:
            return "mmap"
    return "posix"
