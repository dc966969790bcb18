"""Puts programs on interfaces and takes them off again; looks at interfaces for everybody else.

The kernel is always told what we expect to find: NOEXIST at attach, REPLACE with the expected
program at swap and detach (XDP_FLAGS_REPLACE, 5.7). So nobody else's program is ever replaced, not
even in a race. Every change is read back.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from xdpdns import kernel
from xdpdns.errors import AttachError, MissingNeedError, OccupiedError
from xdpdns.hooks.owner import describe, is_ours

# linux/if_link.h
_NOEXIST, _SKB_MODE, _DRV_MODE, _REPLACE = 1, 2, 4, 16
_MODE_FLAGS = {"native": _DRV_MODE, "generic": _SKB_MODE}
_MODE_NAMES = {"xdp": "native", "xdpgeneric": "generic", "xdpoffload": "offload"}

_IFF_UP = 1

# What drivers and the kernel say to native mode when they can't do it for this device or MTU.
_NO_NATIVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOMEM, errno.E2BIG, errno.ENOSPC, errno.ERANGE)


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as netlink shows it.

    `programs` has the id of the program in each mode (`native`, `generic`, `offload`) that has one.
    """

    name: str
    index: int
    up: bool
    mtu: int
    programs: dict[str, int]


class Netlink:
    """A route netlink socket. It belongs to the thread that made it."""

    def __init__(self) -> None:
        self._route = IPRoute()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._route.close()

    def links(self) -> list[Link]:
        """All interfaces of this network namespace."""
        return [_link(message) for message in self._route.get_links()]

    def link(self, name: str) -> Link:
        """One interface.

        Raises:
            AttachError: there is none of that name.
        """
        try:
            return _link(self._route.link("get", ifname=name)[0])
        except (NetlinkError, IndexError) as error:
            if isinstance(error, NetlinkError) and error.code == errno.EPERM:
                raise MissingNeedError(
                    "the kernel does not permit to look at interfaces: run as root.", errno.EPERM
                ) from error
            raise AttachError(
                f"there is no interface {name}: `ip -brief link` lists those there are."
            ) from error

    def check(self, name: str) -> Link:
        """The interface, if it can take a program: up, and no XDP program on it.

        Raises:
            AttachError: absent or down.
            OccupiedError: there is a program already.
        """
        link = self.link(name)
        if not link.up:
            raise AttachError(f"{name} is down: bring it up with `ip link set {name} up`.")
        _refuse_occupied(link)
        return link

    def attach(self, name: str, prog_fd: int, mode: str) -> str:
        """Attach to an interface that has no XDP program, and say in which mode.

        Args:
            name: the interface.
            prog_fd: the program's file descriptor.
            mode: `native`, `generic`, or `auto` for native where the driver can, else generic.

        Raises:
            AttachError: absent, down, or the driver can't.
            OccupiedError: there is a program already.
        """
        link = self.check(name)
        for one in ("native", "generic") if mode == "auto" else (mode,):
            try:
                self._set(link, prog_fd, _NOEXIST | _MODE_FLAGS[one])
            except NetlinkError as error:
                if error.code in (errno.EBUSY, errno.EEXIST):
                    # somebody was faster, or holds it with a bpf_link
                    _refuse_occupied(self.link(name))
                    raise OccupiedError(
                        f"another XDP program came to {name} first: look with "
                        f"`bpftool net show dev {name}`."
                    ) from error
                if mode == "auto" and one == "native" and error.code in _NO_NATIVE:
                    continue
                raise _cannot_attach(link, one, error) from error
            self._confirm(name, one, prog_fd)
            return one
        raise AssertionError("generic mode either attaches or raises")

    def _confirm(self, name: str, mode: str, prog_fd: int) -> None:
        wanted = kernel.prog_info(prog_fd).id
        found = self.link(name).programs.get(mode)
        if found != wanted:
            raise AttachError(
                f"{name} shows program {found} in {mode} mode after program {wanted} was attached: "
                "somebody else is changing it; look with `bpftool net`."
            )

    def replace(self, name: str, mode: str, new_fd: int, old_fd: int) -> None:
        """Swap our program for another one at once: no packet is in neither.

        Raises:
            OccupiedError: the old program isn't there any more.
        """
        self._expect(name, mode, new_fd, old_fd)
        self._confirm(name, mode, new_fd)

    def detach(self, name: str, mode: str, prog_fd: int) -> None:
        """Take our program off.

        Raises:
            AttachError: the interface is gone.
            OccupiedError: another program is there now; it stays.
        """
        self._expect(name, mode, -1, prog_fd)

    def _expect(self, name: str, mode: str, new_fd: int, old_fd: int) -> None:
        link = self.link(name)
        try:
            self._set(link, new_fd, _REPLACE | _MODE_FLAGS[mode], old_fd)
        except NetlinkError as error:
            if error.code in (errno.EEXIST, errno.EBUSY, errno.ENOENT):
                raise OccupiedError(
                    f"the program on {name} is not the one that xdpdns put there any more: "
                    f"it stays; look with `bpftool net show dev {name}`."
                ) from error
            raise _cannot_attach(link, mode, error) from error

    def _set(self, link: Link, fd: int, flags: int, expected_fd: int | None = None) -> None:
        attrs: list[tuple[str, int]] = [("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", flags)]
        if expected_fd is not None:
            attrs.append(("IFLA_XDP_EXPECTED_FD", expected_fd))
        self._route.link("set", index=link.index, xdp={"attrs": attrs})


def _link(message: Any) -> Link:
    xdp = message.get_attr("IFLA_XDP")
    programs: dict[str, int] = {}
    attached = xdp.get_attr("IFLA_XDP_ATTACHED") if xdp else None
    if attached in _MODE_NAMES:
        programs[_MODE_NAMES[attached]] = xdp.get_attr("IFLA_XDP_PROG_ID")
    elif attached is not None:
        for mode, attribute in (
            ("native", "IFLA_XDP_DRV_PROG_ID"),
            ("generic", "IFLA_XDP_SKB_PROG_ID"),
            ("offload", "IFLA_XDP_HW_PROG_ID"),
        ):
            if ident := xdp.get_attr(attribute):
                programs[mode] = ident
    return Link(
        name=message.get_attr("IFLA_IFNAME"),
        index=message["index"],
        up=bool(message["flags"] & _IFF_UP),
        mtu=message.get_attr("IFLA_MTU") or 0,
        programs=programs,
    )


def _cannot_attach(link: Link, mode: str, error: NetlinkError) -> AttachError | MissingNeedError:
    if error.code == errno.EPERM:
        return MissingNeedError(
            f"the kernel does not permit to attach to {link.name}: run as root, or with "
            "CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON.",
            errno.EPERM,
        )
    mend = "try `--mode generic`" if mode == "native" else "the kernel log (`dmesg`) may say more"
    return AttachError(
        f"{link.name} does not take an XDP program in {mode} mode "
        f"({os.strerror(error.code)}, MTU {link.mtu}): {mend}."
    )


def _refuse_occupied(link: Link) -> None:
    for mode, ident in link.programs.items():
        raise OccupiedError(
            f"{link.name} has an XDP program already ({describe(ident)}, {mode} mode): "
            + (
                f"an xdpdns that still runs, or was killed; `xdpdns detach {link.name}` removes it."
                if is_ours(ident)
                else "xdpdns never replaces another's; detach it with the tool that put it there."
            )
        )


def detach_ours(name: str) -> str:
    """Take every program of ours off an interface, and say what was done.

    Raises:
        AttachError: the interface is absent.
        OccupiedError: there is a program that isn't ours; it stays.
    """
    done = []
    with Netlink() as netlink:
        programs = netlink.link(name).programs
        for mode, ident in programs.items():
            if not is_ours(ident):
                raise OccupiedError(
                    f"the XDP program on {name} ({describe(ident)}) is not xdpdns's: it stays."
                )
            fd = kernel.prog_fd(ident)
            try:
                netlink.detach(name, mode, fd)
            finally:
                os.close(fd)
            done.append(f"program {ident} ({mode} mode)")
    if not done:
        return f"{name}: nothing of xdpdns is attached."
    return f"{name}: took off {', '.join(done)}."
