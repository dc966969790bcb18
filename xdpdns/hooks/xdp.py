"""The XDP hook: one program an interface, in the driver (native) or right behind it (generic).

It hangs on a BPF link (5.9; held.py), which is made only where there is no program; so nobody
else's is ever replaced, not even in a race, and no netlink user replaces ours by mistake.

What an older xdpdns left was attached by netlink, and is swapped and taken off by it; the kernel is
told what we expect to find (XDP_FLAGS_REPLACE, 5.7).
"""

from __future__ import annotations

import errno
import os
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from xdpdns import bpf_link, kernel
from xdpdns.errors import AttachError, KernelError, MissingNeedError, OccupiedError
from xdpdns.hooks import held, owner
from xdpdns.hooks.attachment import Attachment, Direction, Found
from xdpdns.hooks.link import Link, get

# linux/if_link.h
_REPLACE = 16  # XDP_FLAGS_REPLACE
_MODE_FLAGS = {"native": 4, "generic": 2}  # XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE

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
                fd = bpf_link.xdp_link_create(program, link.index, native=one == "native")
            except MissingNeedError:
                raise
            except KernelError as error:
                if error.errno in (errno.EBUSY, errno.EEXIST):
                    # somebody was faster
                    self.check(self._now(link.name, link.index), direction)
                    raise OccupiedError(
                        f"another XDP program came to {link.name} first: look with "
                        f"`bpftool net show dev {link.name}`."
                    ) from error
                if mode == "auto" and one == "native" and error.errno in _NO_NATIVE:
                    continue
                raise _cannot(link, one, error.errno) from error
            ident = kernel.prog_info(program).id
            return Attachment(
                link.name, link.index, "xdp", "ingress", one, ident, program=program, link=fd
            )
        raise AssertionError("generic mode either attaches or raises")

    def replace(self, attachment: Attachment, program: int) -> None:
        """Swap our program for another one at once: no packet is in neither.

        Raises:
            AttachError: the interface is gone, or somebody took ours off.
            OccupiedError: another program is in the place of ours.
        """
        if attachment.link >= 0:
            held.replace(attachment, program)
            return
        self._expect(attachment, program)
        attachment.program, attachment.program_id = program, kernel.prog_info(program).id

    def detach(self, attachment: Attachment) -> None:
        """Take our program off.

        Raises:
            AttachError: the interface is gone, or somebody took ours off.
            OccupiedError: another program is there now; it stays.
        """
        if attachment.link >= 0:
            held.detach(attachment)
        else:
            self._expect(attachment, -1)

    def look(self, attachment: Attachment, link: Link) -> int | None:
        """The id of our link's program, or of the one that has come in its place."""
        ours = held.look(attachment)
        others = link.programs.get(attachment.mode) or next(iter(link.programs.values()), None)
        return ours or others

    def _expect(self, attachment: Attachment, program: int) -> None:
        """Put a program, -1 for none, in the place of one that hangs on no link."""
        link = self._now(attachment.interface, attachment.ifindex)
        xdp = (
            ("IFLA_XDP_FD", program),
            ("IFLA_XDP_FLAGS", _REPLACE | _MODE_FLAGS[attachment.mode]),
            ("IFLA_XDP_EXPECTED_FD", attachment.program),
        )
        try:
            self._route.link("set", index=link.index, xdp={"attrs": xdp})
        except NetlinkError as error:
            if error.code in (errno.EEXIST, errno.EBUSY, errno.ENOENT):
                raise OccupiedError(
                    f"the program on {link.name} is not the one that xdpdns put there any more: "
                    f"it stays; look with `bpftool net show dev {link.name}`."
                ) from error
            raise _cannot(link, attachment.mode, error.code) from error

    def _now(self, name: str, index: int) -> Link:
        try:
            return get(self._route, index=index)
        except (NetlinkError, IndexError) as error:
            raise AttachError(f"the interface {name} is gone, and our program with it.") from error


def _cannot(link: Link, mode: str, number: int) -> AttachError:
    mend = "try `--mode generic`" if mode == "native" else "the kernel log (`dmesg`) may say more"
    return AttachError(
        f"{link.name} does not take an XDP program in {mode} mode "
        f"({os.strerror(number)}, MTU {link.mtu}): {mend}."
    )
