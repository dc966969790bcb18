"""Giving up power: what speaks HTTP has no capability, and no way to get one back.

Capabilities and no_new_privs are a thread's own (capabilities(7), prctl(2)); user and group are
the whole process's, for the C library tells all threads (nptl(7)).
"""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from xdpdns.errors import MissingNeedError, SettingsError

CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF = 12, 38, 39

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 1, 2, 8, 38
_CAPABILITY_VERSION_3 = 0x20080522
_NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)


class User(NamedTuple):
    """Whom to become."""

    uid: int
    gid: int


def find_user(name: str) -> User:
    """A user by name or number; the group is the user's first.

    Raises:
        SettingsError: there is none of that name.
    """
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        user = User(entry.pw_uid, entry.pw_gid)
    except KeyError:
        if not name.isdecimal():
            raise SettingsError(
                f"--user: there is no user {name}: `useradd --system {name}`, or give a number."
            ) from None
        user = User(int(name), int(name))
    return user


def default_user() -> User | None:
    """Whom root's agent becomes unless told: `xdpdns` if there is one, else nobody.

    None if this process is not root's. Even without a capability root may write what is root's,
    such as kernel.core_pattern, and so get them all back.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("xdpdns")
    except KeyError:
        return User(_NOBODY, _NOBODY)
    return User(entry.pw_uid, entry.pw_gid)


@contextmanager
def acting_as(user: User) -> Iterator[None]:
    """For a while, have files looked at as this user would see them; root only."""
    group = os.getegid()
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def become(user: User) -> None:
    """Change the user and group of the whole process, for good.

    Raises:
        MissingNeedError: not permitted.
    """
    # So that drop() may leave a capability: otherwise leaving uid 0 takes all.
    _prctl(_PR_SET_KEEPCAPS, 1)
    death = ctypes.c_int()
    _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(death), 0, 0, 0)
    try:
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except PermissionError as error:
        raise MissingNeedError(
            "--user: not permitted to become another user: run as root, or leave it away.",
            error.errno or 0,
        ) from error
    # The signal for when the parent dies, which the demo asks for: the change has cleared it.
    _prctl(_PR_SET_PDEATHSIG, death.value)


def drop(*keep: int) -> None:
    """Leave the calling thread, and those it starts, no capabilities but those numbered.

    Raises:
        MissingNeedError: a seccomp filter or the like does not permit it.
    """
    mask = sum(1 << number for number in keep)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("<6I", low, low, 0, high, high, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if _libc.capset(header, data):
        number = ctypes.get_errno()
        raise MissingNeedError(
            f"could not give up capabilities ({os.strerror(number)}): permit the system call "
            "capset (`SystemCallFilter=capset` in a unit of systemd).",
            number,
        )


def seem_unprivileged() -> None:
    """Have geteuid(2) say that this process is not root's, and lose nothing by it.

    Its capabilities stay, and so does root's access to files; so does everything where this is not
    permitted.
    """
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    before = ctypes.create_string_buffer(24)
    if os.geteuid() != 0 or _libc.capget(header, before):
        return
    try:
        os.seteuid(_NOBODY)
    except OSError:
        return
    _libc.setfsuid(0)
    if _libc.setfsuid(-1) != 0 or _libc.capset(header, before):
        os.seteuid(0)


def reading_needs() -> tuple[int, ...]:
    """The capabilities for reading maps by their fds: none from Linux 5.19 on.

    Before, bpf(2) was closed to all without CAP_BPF where kernel.unprivileged_bpf_disabled is set.
    """
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if release and (int(release[1]), int(release[2])) >= (5, 19):
        return ()
    disabled = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
    if disabled.exists() and disabled.read_text().strip() == "0":
        return ()
    return (CAP_BPF,)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise MissingNeedError(f"prctl({option}) was refused ({os.strerror(number)}).", number)
