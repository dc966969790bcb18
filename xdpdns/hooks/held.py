"""What hangs on a BPF link, at XDP or TCX: swapped, taken off and looked at by its link.

A link is nobody's but its maker's: whoever has no fd of it can't replace its program. It knows
where it is: closed, it takes the program off also where the interface has meanwhile been moved to
another network namespace.
"""

from __future__ import annotations

import errno

from xdpdns import bpf_link, kernel
from xdpdns.errors import AttachError, KernelError, OccupiedError
from xdpdns.hooks.attachment import Attachment

_NAMES = {"xdp": "XDP", "tcx": "TCX", "clsact": "clsact"}


def replace(attachment: Attachment, program: int) -> None:
    """Swap our program for another one at once: no packet is in neither.

    Raises:
        AttachError: the interface is gone, or somebody took ours off.
        OccupiedError: the link has another program by now.
    """
    try:
        bpf_link.link_update(attachment.link, program, attachment.program)
    except KernelError as error:
        if error.errno == errno.ENOLINK:
            raise _gone(attachment) from error
        if error.errno == errno.EPERM and alive(attachment):
            raise _not_ours(attachment) from error
        raise
    attachment.program, attachment.program_id = program, kernel.prog_info(program).id


def detach(attachment: Attachment) -> None:
    """Take our program off, also if others hold the link or it is pinned; close the link.

    Raises:
        AttachError: the interface is gone, or somebody took ours off.
        OccupiedError: the link has another program by now.
    """
    if not alive(attachment):
        attachment.close()
        raise _gone(attachment)
    if bpf_link.link_info(attachment.link).program_id != attachment.program_id:
        raise _not_ours(attachment)
    bpf_link.link_detach(attachment.link)
    attachment.close()


def look(attachment: Attachment) -> int | None:
    """The id of our link's program; None if the link is dead."""
    if not alive(attachment):
        return None
    return bpf_link.link_info(attachment.link).program_id


def alive(attachment: Attachment) -> bool:
    """Whether the link is on an interface, wherever that is."""
    return attachment.link >= 0 and bpf_link.link_info(attachment.link).ifindex != 0


def _gone(attachment: Attachment) -> AttachError:
    return AttachError(
        f"our program is not {_where(attachment)} any more: the interface is gone, or somebody "
        "took it off."
    )


def _not_ours(attachment: Attachment) -> OccupiedError:
    return OccupiedError(
        f"the program {_where(attachment)} is not the one that xdpdns put there any more: it stays."
    )


def _where(attachment: Attachment) -> str:
    return f"at {_NAMES[attachment.hook]} {attachment.direction} of {attachment.interface}"
