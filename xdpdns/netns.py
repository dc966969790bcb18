"""Network namespaces: entering one, in one thread, and which there are.

A network namespace belongs to a thread, and a socket stays in the namespace that it was made in.
So the supervisor can be in one namespace while the agent's web server listens in another; BPF
programs and maps are in none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from xdpdns.errors import AttachError, MissingNeedError
from xdpdns.suggest import did_you_mean

T = TypeVar("T")

NAMED = Path("/run/netns")
"""Where `ip netns add NAME` puts a namespace's name."""

_FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""The inode of the process-id namespace that the machine starts with (PROC_PID_INIT_INO)."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter(name: str) -> None:
    """Move the calling thread to a network namespace: setns(2), which Python has from 3.12 on.

    Args:
        name: as `ip netns` lists it, or the path of a namespace's file (`/proc/1234/ns/net`).

    Raises:
        AttachError: there is no such namespace.
        MissingNeedError: no permission (CAP_SYS_ADMIN).
    """
    path = NAMED / name  # which is `name` itself if that begins with a slash
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        named = [one.name for one in NAMED.iterdir()] if NAMED.is_dir() else []
        mend = did_you_mean(name, named) or (
            "`ip netns` lists the named ones; /proc/PID/ns/net is that of a process."
        )
        raise AttachError(
            f"the network namespace {name} can't be opened ({error.strerror}): {mend}"
        ) from error
    try:
        if _libc.setns(fd, _CLONE_NEWNET):
            raise _refusal(f"enter the network namespace {name}")
    finally:
        os.close(fd)


def create() -> int:
    """Make a network namespace without a name, and return an fd that keeps it alive.

    It ends, with every interface in it, when nobody is in it and nothing refers to it: so nothing
    is left behind however the caller ends.

    Raises:
        MissingNeedError: no permission (CAP_SYS_ADMIN).
    """

    def leave() -> int:
        if _libc.unshare(_CLONE_NEWNET):
            raise _refusal("make a network namespace")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return in_thread(leave)


def inside(fd: int, action: Callable[[], T]) -> T:
    """Do `action` in the namespace that `fd` refers to, and return what it returns."""

    def act() -> T:
        enter(f"/proc/self/fd/{fd}")
        return action()

    return in_thread(act)


def living(proc: Path = Path("/proc")) -> set[int] | None:
    """The inodes of all network namespaces, or None where not all of them can be seen.

    All that a process or thread is in, or that has a name (a bind mount); not one of which there is
    but an open file. They can be seen from the first process-id namespace, by whoever may look into
    every process (CAP_SYS_PTRACE).
    """
    found = set()
    try:
        if (proc / "self/ns/pid").stat().st_ino != _FIRST_PID_NAMESPACE:
            return None
        (proc / "1/ns/net").stat()  # not even listed where others' processes are hidden
        for namespace in proc.glob("[0-9]*/task/[0-9]*/ns/net"):
            with suppress(FileNotFoundError):  # it has ended
                found.add(namespace.stat().st_ino)
    except OSError:
        return None
    mounted = (proc / "self/mountinfo").read_text()
    return found | {int(inode) for inode in re.findall(r" net:\[(\d+)\] ", mounted)}


def in_thread(action: Callable[[], T]) -> T:
    """Do `action` in a thread that ends with it: nobody else may inherit its namespace."""
    results: list[T] = []
    failures: list[BaseException] = []

    def act() -> None:
        try:
            results.append(action())
        except BaseException as error:  # raised again in the caller's thread, below
            failures.append(error)

    thread = threading.Thread(target=act, name="netns")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _refusal(what: str) -> AttachError | MissingNeedError:
    number = ctypes.get_errno()
    if number == errno.EPERM:
        return MissingNeedError(
            f"the kernel does not permit to {what}: run as root, or with CAP_SYS_ADMIN.", number
        )
    return AttachError(f"could not {what} ({os.strerror(number)}): is it a namespace's file?")
