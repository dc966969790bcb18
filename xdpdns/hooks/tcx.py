"""TCX, the TC ingress and egress without a qdisc: any number of programs, each by its own BPF link.

Linux 6.6. Ours is put before all that are there: a program that answers anything but TCX_NEXT ends
the chain. It answers TCX_NEXT itself, so that the packet goes on to everybody else's. The attaching
is made against the revision of the chain that was looked at, so that two agents can't come in one
moment; the rest is the link's (held.py).
"""

from __future__ import annotations

import errno
import os

from xdpdns import bpf_link, kernel
from xdpdns.errors import AttachError, KernelError, MissingNeedError, OccupiedError
from xdpdns.hooks import held, owner
from xdpdns.hooks.attachment import Attachment, Direction, Found
from xdpdns.hooks.link import Link

_TYPES: dict[Direction, int] = {
    "ingress": bpf_link.TCX_INGRESS,
    "egress": bpf_link.TCX_EGRESS,
}
_TRIES = 100
_NO_INTERFACE = 0x7FFFFFFF


def supported() -> bool:
    """Whether this kernel has TCX."""
    try:
        bpf_link.query(_NO_INTERFACE, bpf_link.TCX_INGRESS)
    except KernelError as error:
        if error.errno == errno.EPERM:
            raise
        return error.errno != errno.EINVAL  # ENODEV: it did look for the interface
    return True


class Tcx:
    """The TCX hooks of the network namespace that the calling thread is in."""

    def found(self, link: Link) -> list[Found]:
        """All programs at both hooks of an interface, in order; none where there is no TCX."""
        try:
            return [
                Found("tcx", direction, "tcx", one.program_id, one.link_id)
                for direction, hook in _TYPES.items()
                for one in bpf_link.query(link.index, hook).programs
            ]
        except KernelError as error:
            if error.errno in (errno.EINVAL, errno.ENODEV):  # before 6.6; gone meanwhile
                return []
            raise

    def check(self, link: Link, direction: Direction) -> None:
        """Whether this kernel can, and no xdpdns is there; neighbours don't matter.

        Raises:
            MissingNeedError: no TCX, or not permitted.
            OccupiedError: an xdpdns counts there already.
        """
        self._free(link, direction)

    def attach(self, link: Link, program: int, direction: Direction, mode: str) -> Attachment:
        """Put a program first; `mode` is only for XDP.

        Raises:
            MissingNeedError: no TCX, or not permitted.
            OccupiedError: an xdpdns counts there already.
            AttachError: the kernel refused.
        """
        for _ in range(_TRIES):
            revision = self._free(link, direction)
            try:
                fd = bpf_link.link_create(program, link.index, _TYPES[direction], revision)
            except MissingNeedError:
                raise
            except KernelError as error:
                if error.errno == errno.ESTALE:
                    continue  # somebody else came or went since we looked
                raise AttachError(
                    f"{link.name} does not take a program at TCX {direction} "
                    f"({os.strerror(error.errno)}): the kernel log (`dmesg`) may say more."
                ) from error
            ident = kernel.prog_info(program).id
            return Attachment(
                link.name, link.index, "tcx", direction, "tcx", ident, program=program, link=fd
            )
        raise AttachError(
            f"the programs at TCX {direction} of {link.name} change faster than they can be looked "
            f"at: see who does that with `bpftool net show dev {link.name}`."
        )

    def replace(self, attachment: Attachment, program: int) -> None:
        """Swap our program for another one at once: see held.replace()."""
        held.replace(attachment, program)

    def detach(self, attachment: Attachment) -> None:
        """Take our program off: see held.detach()."""
        held.detach(attachment)

    def look(self, attachment: Attachment, link: Link) -> int | None:
        """The id of our link's program; None if the link is dead."""
        return held.look(attachment)

    def _free(self, link: Link, direction: Direction) -> int:
        """The chain's revision, if there is no xdpdns in it."""
        try:
            chain = bpf_link.query(link.index, _TYPES[direction])
        except MissingNeedError:
            raise
        except KernelError as error:
            if error.errno == errno.ENODEV:
                raise AttachError(f"the interface {link.name} went away meanwhile.") from error
            raise MissingNeedError(
                f"this kernel ({os.uname().release}) has no TCX, which came with Linux 6.6: use "
                "`--hook clsact`.",
                error.errno,
            ) from error
        for one in chain.programs:
            if owner.is_ours(one.program_id):
                raise OccupiedError(owner.counted_already(link.name, one.program_id, "tcx"))
        return chain.revision
