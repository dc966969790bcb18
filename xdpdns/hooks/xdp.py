"""The XDP hook by netlink: one program an interface, in the driver (native) or behind it (generic).

The kernel is always told what we expect to find: NOEXIST at attach, REPLACE with the expected
program at swap and detach (XDP_FLAGS_REPLACE, 5.7). So nobody else's program is ever replaced, not
even in a race. Every change is read back.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from xdpdns import kernel
from xdpdns.errors import AttachError, MissingNeedError, OccupiedError
from xdpdns.hooks import owner
from xdpdns.hooks.attachment import Attachment, Direction, Found
from xdpdns.hooks.link import Link, get

# linux/if_link.h
_NOEXIST, _SKB_MODE, _DRV_MODE, _REPLACE = 1, 2, 4, 16
_MODE_FLAGS = {"native": _DRV_MODE, "generic": _SKB_MODE}

# What drivers and the kernel say to native mode when they can't do it for this device or MTU.
_NO_NATIVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOMEM, errno.E2BIG, errno.ENOSPC, errno.ERANGE)


class Xdp:
    """The XDP hooks, by an IPRoute of the caller's."""

    def __init__(self, route: Any) -> None:
        self._route = route

    def found(self, link: Link) -> list[Found]:
        """The program on an interface; several only where modes can be stacked (offload)."""
        return [Found("xdp", "ingress", mode, ident) for mode, ident in link.programs.items()]

    def check(self, link: Link, direction: Direction) -> None:
        """Whether there is room.

        Raises:
            OccupiedError: there is a program already.
            AttachError: egress.
        """
        if direction != "ingress":
            raise AttachError(
                "the XDP hook sees no packets that leave: count them with `--hook tcx`."
            )
        for mode, ident in link.programs.items():
            raise OccupiedError(owner.taken(link, ident, mode))

    def attach(self, link: Link, program: int, direction: Direction, mode: str) -> Attachment:
        """Attach to an interface that has no XDP program.

        Args:
            link: the interface.
            program: the program's file descriptor.
            direction: `ingress`.
            mode: `native`, `generic`, or `auto` for native where the driver can, else generic.

        Raises:
            AttachError: the driver can't.
            OccupiedError: there is a program already.
        """
        self.check(link, direction)
        for one in ("native", "generic") if mode == "auto" else (mode,):
            try:
                self._set(link.index, program, _NOEXIST | _MODE_FLAGS[one])
            except NetlinkError as error:
                if error.code in (errno.EBUSY, errno.EEXIST):
                    # somebody was faster, or holds it with a bpf_link
                    self.check(self._now(link.name, link.index), direction)
                    raise OccupiedError(
                        f"another XDP program came to {link.name} first: look with "
                        f"`bpftool net show dev {link.name}`."
                    ) from error
                if mode == "auto" and one == "native" and error.code in _NO_NATIVE:
                    continue
                raise _cannot_attach(link, one, error) from error
            ident = kernel.prog_info(program).id
            made = Attachment(link.name, link.index, "xdp", "ingress", one, ident, program=program)
            self._confirm(made)
            return made
        raise AssertionError("generic mode either attaches or raises")

    def replace(self, attachment: Attachment, program: int) -> None:
        """Swap our program for another one at once: no packet is in neither.

        Raises:
            OccupiedError: the old program isn't there any more.
        """
        self._expect(attachment, program)
        attachment.program, attachment.program_id = program, kernel.prog_info(program).id
        self._confirm(attachment)

    def detach(self, attachment: Attachment) -> None:
        """Take our program off.

        Raises:
            AttachError: the interface is gone.
            OccupiedError: another program is there now; it stays.
        """
        self._expect(attachment, -1)

    def look(self, attachment: Attachment, link: Link) -> int | None:
        """The id of the program that is there now, in our mode if there is one in it."""
        return link.programs.get(attachment.mode) or next(iter(link.programs.values()), None)

    def _confirm(self, attachment: Attachment) -> None:
        wanted = attachment.program_id
        link = self._now(attachment.interface, attachment.ifindex)
        found = link.programs.get(attachment.mode)
        if found != wanted:
            raise AttachError(
                f"{link.name} shows program {found} in {attachment.mode} mode after program "
                f"{wanted} was attached: somebody else is changing it; look with `bpftool net`."
            )

    def _expect(self, attachment: Attachment, program: int) -> None:
        link = self._now(attachment.interface, attachment.ifindex)
        flags = _REPLACE | _MODE_FLAGS[attachment.mode]
        try:
            self._set(link.index, program, flags, attachment.program)
        except NetlinkError as error:
            if error.code in (errno.EEXIST, errno.EBUSY, errno.ENOENT):
                raise OccupiedError(
                    f"the program on {link.name} is not the one that xdpdns put there any more: "
                    f"it stays; look with `bpftool net show dev {link.name}`."
                ) from error
            raise _cannot_attach(link, attachment.mode, error) from error

    def _now(self, name: str, index: int) -> Link:
        try:
            return get(self._route, index=index)
        except (NetlinkError, IndexError) as error:
            raise AttachError(f"the interface {name} is gone, and our program with it.") from error

    def _set(self, index: int, fd: int, flags: int, expected_fd: int | None = None) -> None:
        attrs: list[tuple[str, int]] = [("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", flags)]
        if expected_fd is not None:
            attrs.append(("IFLA_XDP_EXPECTED_FD", expected_fd))
        self._route.link("set", index=index, xdp={"attrs": attrs})


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
