"""bpf(2) for what hangs on interfaces: BPF links, and the programs at TCX; in kernel/'s style.

A link (5.7) holds a program on its hook for as long as somebody holds the link: a file descriptor
in any process, or a pin. TCX (6.6) keeps any number of programs at the ingress and at the egress of
an interface, in an order. Source: ``include/uapi/linux/bpf.h``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from xdpdns.errors import KernelError
from xdpdns.kernel.syscall import ATTR_SIZE, bpf, object_info

# enum bpf_cmd
_PROG_QUERY, _LINK_CREATE, _LINK_UPDATE = 16, 28, 29
_LINK_GET_FD_BY_ID, _LINK_GET_NEXT_ID, _LINK_DETACH = 30, 31, 34

# enum bpf_attach_type
TCX_INGRESS, TCX_EGRESS = 46, 47
_XDP = 37
_XDP_GENERIC, _XDP_NATIVE = 2, 4  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE (linux/if_link.h)

# enum bpf_link_type
TYPE_XDP, TYPE_TCX = 6, 11

_F_REPLACE, _F_BEFORE = 1 << 2, 1 << 3
_INFO_SIZE = 64


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """struct bpf_link_info, as far as it is used.

    `ifindex` is of links to interfaces (`TYPE_XDP`, `TYPE_TCX`): 0 for all others, and for a link
    whose interface is gone or that was detached by force.
    """

    kind: int
    id: int
    program_id: int
    ifindex: int


@dataclass(frozen=True, slots=True)
class Attached:
    """A program at TCX; `link_id` is 0 if it was attached without a link."""

    program_id: int
    link_id: int


@dataclass(frozen=True, slots=True)
class Chain:
    """The programs at one TCX hook in the order in which packets meet them.

    `revision` counts the changes; link_create() can insist on it.
    """

    programs: tuple[Attached, ...]
    revision: int


def link_create(program: int, ifindex: int, hook: int, revision: int = 0) -> int:
    """Put a program first at a TCX hook, and return the link's fd (6.6).

    `revision`, if not 0, is that of the Chain that was looked at: ESTALE says that it has changed
    since.
    """
    attr = struct.pack("<4II4xQ", program, ifindex, hook, _F_BEFORE, 0, revision)
    return bpf(_LINK_CREATE, attr, "attach the program by a BPF link")


def xdp_link_create(program: int, ifindex: int, *, native: bool) -> int:
    """Put a program at XDP where there is none, and return the link's fd (5.9).

    EBUSY says that there is one. `native` is in the driver, else right behind it.
    """
    flags = _XDP_NATIVE if native else _XDP_GENERIC
    attr = struct.pack("<4I", program, ifindex, _XDP, flags)
    return bpf(_LINK_CREATE, attr, "attach the program by a BPF link")


def link_update(link: int, new: int, old: int) -> None:
    """Swap a link's program at once (5.7).

    EPERM says that it is not `old`, ENOLINK that the link is dead.
    """
    attr = struct.pack("<4I", link, new, _F_REPLACE, old)
    bpf(_LINK_UPDATE, attr, "swap the program of a BPF link")


def link_detach(link: int) -> None:
    """Take a link's program off although others may hold the link too (5.9)."""
    bpf(_LINK_DETACH, struct.pack("<I", link), "detach a BPF link")


def link_fd(ident: int) -> int:
    """Open a link by its id (5.8)."""
    attr = struct.pack("<I", ident)
    return bpf(_LINK_GET_FD_BY_ID, attr, f"open the BPF link {ident}")


def link_ids() -> Iterator[int]:
    """The ids of all links of this machine, ascending (5.8)."""
    ident = 0
    while True:
        attr = ctypes.create_string_buffer(struct.pack("<I", ident), ATTR_SIZE)
        try:
            bpf(_LINK_GET_NEXT_ID, attr, "list BPF links")
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        ident = struct.unpack_from("<I", attr, 4)[0]
        yield ident


def xdp_link(program: int, ifindex: int) -> int:
    """Open the link that holds a program, by its id, at an interface's XDP; -1 if none does."""
    for ident in link_ids():
        try:
            fd = link_fd(ident)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                continue  # it went meanwhile
            raise
        info = link_info(fd)
        if (info.kind, info.program_id, info.ifindex) == (TYPE_XDP, program, ifindex):
            return fd
        os.close(fd)
    return -1


def link_info(link: int) -> LinkInfo:
    """Describe a link."""
    raw = object_info(link, _INFO_SIZE)
    kind, ident, program, ifindex = struct.unpack_from("<III4xI", raw)
    return LinkInfo(kind, ident, program, ifindex if kind in (TYPE_XDP, TYPE_TCX) else 0)


def query(ifindex: int, hook: int) -> Chain:
    """The programs at a TCX hook (6.6).

    Raises:
        KernelError: EINVAL where the kernel has no TCX, ENODEV where there is no such interface.
    """
    room = 16
    while True:
        programs, links = (ctypes.c_uint32 * room)(), (ctypes.c_uint32 * room)()
        attr = ctypes.create_string_buffer(
            struct.pack(
                "<4IQI4xQQQQ",
                *(ifindex, hook, 0, 0, ctypes.addressof(programs), room),
                *(0, ctypes.addressof(links), 0, 0),
            ),
            ATTR_SIZE,
        )
        try:
            bpf(_PROG_QUERY, attr, "list the programs at a TCX hook")
        except KernelError as error:
            if error.errno != errno.ENOSPC:
                raise
            room *= 4
            continue
        count = struct.unpack_from("<I", attr, 24)[0]
        revision = struct.unpack_from("<Q", attr, 56)[0]
        return Chain(tuple(map(Attached, programs[:count], links[:count])), revision)
