"""The BPF file system: mounted where it is absent, and what its refusals mean."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xdpdns.errors import PinError

BPFFS = Path("/sys/fs/bpf")

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8


def mount() -> None:
    """Mount a BPF file system on /sys/fs/bpf if there is none.

    Raises:
        PinError: it can't be mounted, or would vanish with this process's mount namespace.
    """
    if _mounted():
        return
    namespace = _entered_by_ip()
    if namespace or _private():
        raise PinError(
            f"{BPFFS} is not mounted, and what is mounted in this mount namespace ends with it: "
            f"use `--netns {namespace or 'NAME'}` in place of `ip netns exec`, or `mount -t bpf "
            "bpf /sys/fs/bpf` before."
        )
    try:
        with _locked(BPFFS):
            # A second mount would hide the first one's pins.
            if _mounted():
                return
            libc = ctypes.CDLL(None, use_errno=True)
            flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
            if libc.mount(b"bpf", bytes(BPFFS), b"bpf", flags, b"mode=0700"):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
    except OSError as error:
        raise PinError(
            f"{BPFFS} can't be mounted ({error.strerror}): `mount -t bpf bpf {BPFFS}` as root."
        ) from error


def _entered_by_ip() -> str:
    """The network namespace of an `ip netns exec` that we are in; empty if we are in none.

    It mounts a /sys of its own, and gives the namespace's name as what is mounted.
    """
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, place, kind, *_ = line.split()
        if (place, kind) == ("/sys", "sysfs") and (Path("/run/netns") / source).exists():
            return source
    return ""


def _private() -> bool:
    """Whether this mount namespace is known to be another one than that of process 1."""
    try:
        return not Path("/proc/self/ns/mnt").samefile("/proc/1/ns/mnt")
    except PermissionError:  # without CAP_SYS_PTRACE it can't be known
        return False


def _mounted() -> bool:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return any(line.split()[1:3] == [str(BPFFS), "bpf"] for line in lines)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make an OSError a PinError that says how to mend it."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EROFS:
            mend = f"`mount -o remount,rw {BPFFS}`, or leave --keep away"
        else:
            mend = "run as root, or leave --keep away"
        raise PinError(f"can't pin under {path} ({error.strerror}): {mend}.") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
