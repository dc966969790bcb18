"""Puts programs on interfaces and takes them off again; looks at interfaces for everybody else.

::

    xdp     in the driver or right behind it: every packet that arrives, one program, a BPF link
    tcx     TC ingress and egress (6.6): after XDP, any number of programs, by a BPF link
    clsact  TC ingress and egress by a qdisc and a filter, on any kernel

All work by the interface's index, so that a rename changes nothing, and none ever replaces or
detaches what isn't ours. What is at `xdp` and `tcx` ends with the last file descriptor or pin of
its BPF link; what is at `clsact` stays until it is detached.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from xdpdns import bpf_link, kernel
from xdpdns.errors import AttachError, KernelError, MissingNeedError, OccupiedError
from xdpdns.hooks import owner, tcx
from xdpdns.hooks.attachment import Attachment, Direction, Found, Hook
from xdpdns.hooks.clsact import Clsact
from xdpdns.hooks.link import Link, from_message, get
from xdpdns.hooks.xdp import Xdp
from xdpdns.suggest import did_you_mean

__all__ = ["Attachment", "Direction", "Found", "Hook", "Hooks", "Link", "detach_ours"]


P = ParamSpec("P")
R = TypeVar("R")


def _explained(method: Callable[P, R]) -> Callable[P, R]:
    """Make what netlink says unexpectedly a KernelError: interfaces go while they are asked for."""

    @wraps(method)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except NetlinkError as error:
            raise KernelError(
                f"the kernel did not answer about an interface ({os.strerror(error.code)}): it may "
                "have gone meanwhile (`ip -brief link`), or the kernel log (`dmesg`) says more.",
                error.code,
            ) from error

    return called


class _Kind(Protocol):
    """What each hook's module does; see Hooks for the meaning."""

    def found(self, link: Link) -> list[Found]: ...
    def check(self, link: Link, direction: Direction) -> None: ...
    def attach(self, link: Link, program: int, direction: Direction, mode: str) -> Attachment: ...
    def replace(self, attachment: Attachment, program: int) -> None: ...
    def detach(self, attachment: Attachment) -> None: ...
    def look(self, attachment: Attachment, link: Link) -> int | None: ...


class Hooks:
    """All hooks of one network namespace, by a route netlink socket.

    It belongs to the thread that made it, and to the namespace that this thread was in.
    """

    def __init__(self) -> None:
        self._route = IPRoute()
        self._kinds: dict[Hook, _Kind] = {
            "xdp": Xdp(self._route),
            "tcx": tcx.Tcx(),
            "clsact": Clsact(self._route),
        }

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
        """Close the socket; links stay open."""
        self._route.close()

    @_explained
    def links(self) -> list[Link]:
        """All interfaces of this network namespace."""
        return [from_message(message) for message in self._route.get_links()]

    def link(self, name: str) -> Link:
        """One interface by its name.

        Raises:
            AttachError: there is none of that name.
        """
        try:
            return get(self._route, ifname=name)
        except (NetlinkError, IndexError) as error:
            if isinstance(error, NetlinkError) and error.code == errno.EPERM:
                raise MissingNeedError(
                    "the kernel does not permit to look at interfaces: run as root.", errno.EPERM
                ) from error
            meant = did_you_mean(name, (link.name for link in self.links()))
            mend = meant or "`ip -brief link` lists those there are."
            raise AttachError(f"there is no interface {name}: {mend}") from error

    def link_at(self, index: int) -> Link | None:
        """One interface by its index; None if it is gone.

        Raises:
            KernelError: the kernel did not answer that.
        """
        try:
            return get(self._route, index=index)
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise KernelError(
                f"could not look at the interface {index} ({os.strerror(error.code)}).", error.code
            ) from error

    @_explained
    def found(self, link: Link) -> list[Found]:
        """Every program on every hook of an interface, ours or not."""
        return [one for kind in self._kinds.values() for one in kind.found(link)]

    @_explained
    def check(self, name: str, hook: Hook = "xdp", direction: Direction = "ingress") -> Link:
        """The interface, if it can take a program: up, and room on the hook.

        Raises:
            AttachError: absent, down, or something is in the way.
            OccupiedError: at XDP a program, elsewhere one of ours is there already.
            MissingNeedError: the kernel has no such hook.
        """
        link = self.link(name)
        if not link.up:
            raise AttachError(f"{name} is down: bring it up with `ip link set {name} up`.")
        self._kinds[hook].check(link, direction)
        return link

    @_explained
    def attach(
        self,
        name: str,
        program: int,
        hook: Hook = "xdp",
        direction: Direction = "ingress",
        mode: str = "auto",
    ) -> Attachment:
        """Attach a program.

        Args:
            name: the interface.
            program: the program's file descriptor, of type XDP for `xdp`, else SCHED_CLS.
            hook: where.
            direction: `egress` only at `tcx` and `clsact`.
            mode: at XDP `native`, `generic`, or `auto` for native where the driver can.

        Raises:
            AttachError: absent, down, or the kernel or driver can't.
            OccupiedError: at XDP a program, elsewhere one of ours is there already.
            MissingNeedError: not permitted, or the kernel has no such hook.
        """
        link = self.check(name, hook, direction)
        return self._kinds[hook].attach(link, program, direction, mode)

    def at_tc(self) -> Hook:
        """The better hook at TC that this kernel has: where packets that leave are seen."""
        return "tcx" if tcx.supported() else "clsact"

    def adopt(self, link: Link, found: Found, program: int, link_fd: int = -1) -> Attachment:
        """What is attached already, as an Attachment; `link_fd` is its BPF link's, if any."""
        return Attachment(
            link.name,
            link.index,
            found.hook,
            found.direction,
            found.mode,
            found.program_id,
            program=program,
            link=link_fd,
        )

    @_explained
    def replace(self, attachment: Attachment, program: int) -> None:
        """Swap our program for another one at once: no packet is in neither.

        The attachment is that of the new program afterwards.

        Raises:
            OccupiedError: another's program is in the place of ours; it stays.
            AttachError: ours isn't there any more, or the interface is gone.
        """
        self._kinds[attachment.hook].replace(attachment, program)

    @_explained
    def detach(self, attachment: Attachment) -> None:
        """Take our program off.

        Raises:
            OccupiedError: another's program is in the place of ours; it stays.
            AttachError: ours isn't there any more, or the interface is gone.
        """
        self._kinds[attachment.hook].detach(attachment)

    @_explained
    def look(self, attachment: Attachment, link: Link) -> int | None:
        """The id of the program that is in the place of ours now; None for none.

        `link` is the interface as it is now (link_at()), asked once for all its attachments.
        """
        return self._kinds[attachment.hook].look(attachment, link)


def detach_ours(name: str) -> str:
    """Take every program of ours off an interface, and say what was done.

    Raises:
        AttachError: the interface is absent.
        OccupiedError: there is an XDP program that isn't ours, and none that is; it stays.
    """
    done, others = [], []
    with Hooks() as hooks:
        link = hooks.link(name)
        for found in hooks.found(link):
            if not owner.is_ours(found.program_id):
                others.append(found)
                continue
            _detach(hooks, link, found)
            where = (
                f"{found.mode} mode" if found.hook == "xdp" else f"{found.hook} {found.direction}"
            )
            done.append(f"program {found.program_id} ({where})")
    if done:
        return f"{name}: took off {', '.join(done)}."
    for found in others:
        if found.hook == "xdp":
            raise OccupiedError(
                f"the XDP program on {name} ({owner.describe(found.program_id)}) is not xdpdns's: "
                "it stays."
            )
    return f"{name}: nothing of xdpdns is attached."


def _detach(hooks: Hooks, link: Link, found: Found) -> None:
    program = kernel.prog_fd(found.program_id)
    link_fd = -1
    try:
        if found.hook == "xdp":
            link_fd = bpf_link.xdp_link(found.program_id, link.index)
        elif found.link_id:
            try:
                link_fd = bpf_link.link_fd(found.link_id)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                return  # its agent ended meanwhile
        attachment = hooks.adopt(link, found, program, link_fd)
        try:
            hooks.detach(attachment)
        finally:
            attachment.close()
    finally:
        os.close(program)
