"""TC ingress and egress by a clsact qdisc and a direct-action BPF filter: where TCX is missing.

The filter has a handle of our own and the first priority, so that it sees what other filters drop.
It answers TC_ACT_UNSPEC: the packet goes on to the next filter. It is created exclusively and
changed only if it is there, so that nobody else's filter is replaced. The kernel knows no "delete
if it is still this program", but nobody else has reason to use our handle.

The qdisc is removed only if we made it and it is empty. There the kernel leaves a window that no
caller can close: a filter that somebody adds between our look and the removal goes with the qdisc.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.tcmsg import sched_bpf

from xdpdns import kernel
from xdpdns.errors import AttachError, MissingNeedError, OccupiedError
from xdpdns.hooks import owner
from xdpdns.hooks.attachment import Attachment, Direction, Found
from xdpdns.hooks.link import Link

HANDLE = 0x78646E73
"""Ours: "xdns" in ASCII."""
PRIORITY = 1
"""The first; `tc` itself gives filters without a priority 49152 and less."""

_PARENTS: dict[Direction, int] = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_QDISC = 0xFFFF0000
_NO_QDISC = (errno.EINVAL, errno.ENOENT, errno.ENODEV)


class _Options(sched_bpf.options):  # type: ignore[misc]  # pyroute2 has no types
    """With the attributes that pyroute2 doesn't know, up to the program's id (4.16)."""

    nla_map = (
        *sched_bpf.options.nla_map,
        ("TCA_BPF_FLAGS_GEN", "uint32"),
        ("TCA_BPF_TAG", "hex"),
        ("TCA_BPF_ID", "uint32"),
    )


sched_bpf.options = _Options


@dataclass(frozen=True, slots=True)
class _Filter:
    """A filter; `program_id` is 0 for one that isn't of kind `bpf`."""

    kind: str
    priority: int
    handle: int
    program_id: int

    def is_at(self, handle: int) -> bool:
        return (self.kind, self.priority, self.handle) == ("bpf", PRIORITY, handle)


class Clsact:
    """The clsact hooks, by an IPRoute of the caller's; our filters have this handle."""

    def __init__(self, route: Any, handle: int = HANDLE) -> None:
        self._route = route
        self._handle = handle

    def found(self, link: Link) -> list[Found]:
        """All BPF filters of an interface, at ingress and egress."""
        kind = self._qdisc(link.index)
        return [
            Found(
                "clsact",
                direction,
                "clsact",
                one.program_id,
                priority=one.priority,
                handle=one.handle,
            )
            for direction in _PARENTS
            if kind == "clsact" or (kind and direction == "ingress")
            for one in self._filters(link.index, direction)
            if one.program_id
        ]

    def check(self, link: Link, direction: Direction) -> None:
        """Whether there is room.

        Raises:
            OccupiedError: an xdpdns counts there already.
            AttachError: filters of another kind, or a qdisc, are in the way.
        """
        kind = self._qdisc(link.index)
        if kind and kind != "clsact" and direction == "egress":
            raise AttachError(
                f"{link.name} has a qdisc of kind {kind}, which has no egress and leaves no room "
                f"for clsact: replace it with `tc qdisc replace dev {link.name} clsact`."
            )
        for one in self._filters(link.index, direction) if kind else ():
            if one.is_at(self._handle):
                if owner.is_ours(one.program_id):
                    text = owner.counted_already(link.name, one.program_id, "clsact")
                else:
                    text = (
                        f"the filter {self._handle:#x} of priority {PRIORITY} at clsact "
                        f"{direction} of {link.name} is {owner.describe(one.program_id)}, not "
                        f"xdpdns's: it stays; see `tc filter show dev {link.name} {direction}`."
                    )
                raise OccupiedError(text)
            if one.priority == PRIORITY and one.kind != "bpf":
                raise AttachError(
                    f"filters of kind {one.kind} have priority {PRIORITY} at clsact {direction} of "
                    f"{link.name}, which is xdpdns's to see every packet: give them another one "
                    f"(`tc filter show dev {link.name} {direction}` shows them)."
                )

    def attach(self, link: Link, program: int, direction: Direction, mode: str) -> Attachment:
        """Add our filter, and the qdisc where there is none; `mode` is only for XDP.

        Raises:
            OccupiedError: an xdpdns counts there already.
            AttachError: filters of another kind, or a qdisc, are in the way.
        """
        self.check(link, direction)
        ident = kernel.prog_info(program).id
        made = Attachment(link.name, link.index, "clsact", direction, "clsact", ident)
        made.program = program
        try:
            self._route.tc("add", "clsact", link.index)
            made.made_qdisc = True
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise _refused(link.name, direction, error) from error
        try:
            self._set("add-filter", made, program)
        except NetlinkError as error:
            self._remove_qdisc(made)
            self.check(link, direction)  # somebody was faster
            raise _refused(link.name, direction, error) from error
        return made

    def replace(self, attachment: Attachment, program: int) -> None:
        """Swap our program for another one at once: no packet is in neither.

        Raises:
            AttachError: our filter isn't there any more.
            OccupiedError: another program is in our place; it stays.
        """
        self._expect(attachment)
        try:
            self._set("change-filter", attachment, program)
        except NetlinkError as error:
            if error.code in _NO_QDISC:
                raise _gone(attachment) from error
            raise _refused(attachment.interface, attachment.direction, error) from error
        attachment.program, attachment.program_id = program, kernel.prog_info(program).id

    def detach(self, attachment: Attachment) -> None:
        """Remove our filter, and the qdisc if we made it and nothing else is in it.

        Raises:
            AttachError: our filter isn't there any more.
            OccupiedError: another program is in our place; it stays.
        """
        try:
            self._expect(attachment)
            self._route.tc(
                "del-filter",
                "bpf",
                attachment.ifindex,
                self._handle,
                parent=_PARENTS[attachment.direction],
                prio=PRIORITY,
            )
        except NetlinkError as error:
            if error.code in _NO_QDISC:
                raise _gone(attachment) from error
            raise _refused(attachment.interface, attachment.direction, error) from error
        finally:
            self._remove_qdisc(attachment)

    def look(self, attachment: Attachment, link: Link) -> int | None:
        """The id of the program in our filter's place."""
        for one in self._filters(link.index, attachment.direction):
            if one.is_at(self._handle):
                return one.program_id
        return None

    def _expect(self, attachment: Attachment) -> None:
        for one in self._filters(attachment.ifindex, attachment.direction):
            if one.is_at(self._handle):
                if one.program_id == attachment.program_id:
                    return
                raise OccupiedError(
                    f"the program in xdpdns's place at clsact {attachment.direction} of "
                    f"{attachment.interface} is {owner.describe(one.program_id)}: it stays."
                )
        raise _gone(attachment)

    def _set(self, command: str, attachment: Attachment, program: int) -> None:
        self._route.tc(
            command,
            "bpf",
            attachment.ifindex,
            self._handle,
            parent=_PARENTS[attachment.direction],
            prio=PRIORITY,
            fd=program,
            name="xdpdns",
            direct_action=True,
        )

    def _remove_qdisc(self, attachment: Attachment) -> None:
        if not attachment.made_qdisc:
            return
        index = attachment.ifindex
        if self._qdisc(index) == "clsact" and not any(
            self._filters(index, direction) for direction in _PARENTS
        ):
            self._route.tc("del", "clsact", index)

    def _qdisc(self, index: int) -> str:
        """The kind of qdisc where clsact goes: `clsact`, `ingress`, or empty for none."""
        for message in self._route.get_qdiscs(index):
            if message["handle"] == _QDISC:
                return str(message.get_attr("TCA_KIND"))
        return ""

    def _filters(self, index: int, direction: Direction) -> list[_Filter]:
        try:
            messages = list(self._route.get_filters(index, parent=_PARENTS[direction]))
        except NetlinkError as error:
            if error.code in _NO_QDISC:
                return []
            raise
        found = []
        for message in messages:
            options = message.get_attr("TCA_OPTIONS")
            if options is None:
                continue  # the head of a priority
            kind = str(message.get_attr("TCA_KIND"))
            ident = options.get_attr("TCA_BPF_ID") if kind == "bpf" else 0
            found.append(_Filter(kind, message["info"] >> 16, message["handle"], ident or 0))
        return found


def _gone(attachment: Attachment) -> AttachError:
    return AttachError(
        f"our filter is not at clsact {attachment.direction} of {attachment.interface} any more: "
        "the interface is gone, or somebody took it off."
    )


def _refused(
    interface: str, direction: Direction, error: NetlinkError
) -> AttachError | MissingNeedError:
    if error.code == errno.EPERM:
        return MissingNeedError(
            f"the kernel does not permit to attach to {interface}: run as root, or with "
            "CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON.",
            errno.EPERM,
        )
    return AttachError(
        f"{interface} does not take a BPF filter at clsact {direction} "
        f"({os.strerror(error.code)}): the kernel needs CONFIG_NET_CLS_BPF and "
        "CONFIG_NET_SCH_INGRESS (`modprobe cls_bpf sch_ingress`)."
    )
