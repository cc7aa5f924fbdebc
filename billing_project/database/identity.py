"""Who runs the private server, and what that user can reach."""

import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

SERVICE_USERS = ("postgres", "nobody")


class PrivateServerRefused(ImproperlyConfigured):
    """The private server cannot run here, for a reason that fits on one line."""


def current_user() -> pwd.struct_passwd:
    """Return the user of this process, who must have a name: `peer` authentication goes by names."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        message = f"user id {uid} has no name on this machine, and the private PostgreSQL needs one: set DATABASE_URL."
        raise PrivateServerRefused(message) from None


def server_user(data: Path) -> pwd.struct_passwd:
    """Return the user that runs the server: oneself, but for root the owner of the data or an unprivileged user."""
    user = current_user()
    if user.pw_uid != 0:
        return user
    if data.exists() and (owner := data.stat().st_uid):
        return pwd.getpwuid(owner)
    for name in SERVICE_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    message = f"PostgreSQL does not run as root and there is no user {' or '.join(SERVICE_USERS)}: set DATABASE_URL."
    raise PrivateServerRefused(message)


def can_reach(user: pwd.struct_passwd, path: Path) -> bool:
    """Tell whether the user can enter every existing folder on the way to a path, and read what is there."""
    if user.pw_uid == os.geteuid():
        return True
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return all(_permits(step.stat(), user.pw_uid, groups) for step in (path, *path.parents) if step.exists())


def _permits(status: os.stat_result, uid: int, groups: list[int]) -> bool:
    needed = stat.S_IROTH | stat.S_IXOTH if stat.S_ISREG(status.st_mode) else stat.S_IXOTH
    if status.st_uid == uid:
        needed <<= 6
    elif status.st_gid in groups:
        needed <<= 3
    return status.st_mode & needed == needed


def start_as(
    user: pwd.struct_passwd, command: list[str | Path], variables: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a program as the user, in a session of its own that Ctrl-C does not reach."""
    # Variables of libpq and of the locale would change what the server does from one shell to the next.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    environment = {**kept, "HOME": user.pw_dir, "LC_ALL": "C", **(variables or {})}
    if user.pw_uid != os.geteuid():
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(command, cwd="/", env=environment, umask=0o077, start_new_session=True, **options)
