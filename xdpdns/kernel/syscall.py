"""bpf(2) itself, and its commands that are for objects of every kind."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from xdpdns import container
from xdpdns.errors import KernelError, MissingNeedError
from xdpdns.kernel.machine import missing_capabilities

# enum bpf_cmd
_OBJ_PIN, _OBJ_GET, _OBJ_GET_INFO_BY_FD = 6, 7, 15
_NO_COMMAND = 0x7FFFFFFF

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}

ATTR_SIZE = 144
"""Bytes of a union bpf_attr: what a newer kernel has behind them is zero."""

syscall = ctypes.CDLL(None, use_errno=True).syscall
"""syscall(2); the caller looks at ctypes.get_errno()."""
syscall.restype = ctypes.c_long


def syscall_number() -> int:
    """The number of bpf(2) on this architecture.

    Raises:
        MissingNeedError: on an architecture that xdpdns does not know.
    """
    try:
        return _SYSCALL[platform.machine()]
    except KeyError:
        raise MissingNeedError(
            f"xdpdns does not know the bpf system call of {platform.machine()}: "
            f"it runs on {', '.join(_SYSCALL)}."
        ) from None


def bpf(command: int, attr: bytes | ctypes.Array[ctypes.c_char], what: str) -> int:
    """Make the call; `what` names the call in the error. Interrupted calls are made again."""
    union = ctypes.create_string_buffer(attr, ATTR_SIZE) if isinstance(attr, bytes) else attr
    while True:
        result = int(syscall(syscall_number(), command, union, ATTR_SIZE))
        if result >= 0:
            return result
        number = ctypes.get_errno()
        if number not in (errno.EINTR, errno.EAGAIN):
            raise error_of(number, what)


def error_of(number: int, what: str) -> KernelError:
    """The error for an errno; `what` is what could not be done, as in "read a map"."""
    if number in (errno.EPERM, errno.ENOSYS) and refused_by_filter():
        return refusal(what, number)
    if number == errno.EPERM:
        return MissingNeedError(
            f"the kernel does not permit to {what}: run as root, or with CAP_BPF, CAP_NET_ADMIN "
            "and CAP_PERFMON.",
            number,
        )
    return KernelError(f"could not {what}: {os.strerror(number)}.", number)


def refused_by_filter() -> bool:
    """Whether a seccomp filter answers bpf(2) in the kernel's place, as containers' often do.

    It is asked for a command that there is none of: to those who have CAP_BPF the kernel itself
    says EINVAL, so what else is said is not the kernel's.
    """
    if not container.filtered() or missing_capabilities() or container.in_user_namespace():
        return False
    syscall(syscall_number(), _NO_COMMAND, ctypes.create_string_buffer(ATTR_SIZE), ATTR_SIZE)
    return ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)


def refusal(what: str, number: int = errno.EPERM) -> MissingNeedError:
    """The error where refused_by_filter(); `what` as for error_of()."""
    mend = container.let_through(container.container())
    return MissingNeedError(
        f"a seccomp filter forbids bpf(2), which xdpdns needs to {what}: {mend}.", number
    )


def address(memory: ctypes.Array[ctypes.c_char]) -> int:
    """Where memory is, for a pointer in an attr: the caller keeps it alive through the call."""
    return ctypes.addressof(memory)


def buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    """Memory that holds the data, and is never of no length."""
    return ctypes.create_string_buffer(data, max(len(data), 1))


def object_info(fd: int, size: int, prepared: bytes = b"") -> bytes:
    """The first `size` bytes of an object's struct bpf_*_info, `prepared` being what it reads."""
    info = ctypes.create_string_buffer(prepared, size)
    attr = struct.pack("<IIQ", fd, size, address(info))
    bpf(_OBJ_GET_INFO_BY_FD, attr, "describe a BPF object")
    return info.raw


def pin(fd: int, path: str) -> None:
    """Give a program, map or link a name on a BPF file system."""
    text = buffer(path.encode() + b"\0")
    bpf(_OBJ_PIN, struct.pack("<QI", address(text), fd), f"pin to {path}")


def pinned(path: str) -> int:
    """Open what is pinned under a name."""
    text = buffer(path.encode() + b"\0")
    return bpf(_OBJ_GET, struct.pack("<QI", address(text), 0), f"open the pin {path}")
