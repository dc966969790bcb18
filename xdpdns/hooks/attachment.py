"""What all hooks have in common: a program that we attached, and any program that is found there.

Both are plain data and file descriptors, so that they can be handed to another process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal, Self

Hook = Literal["xdp", "tcx", "clsact"]
Direction = Literal["ingress", "egress"]


@dataclass(frozen=True, slots=True)
class Found:
    """A program on a hook of an interface, whoever put it there.

    `mode` is `native`, `generic` or `offload` at XDP, else the hook's name again. `link_id` is the
    kernel's id of the BPF link that holds it there, 0 if none is known to. `priority` and `handle`
    are those of a clsact filter, else 0.
    """

    hook: Hook
    direction: Direction
    mode: str
    program_id: int
    link_id: int = 0
    priority: int = 0
    handle: int = 0


@dataclass(slots=True)
class Attachment:
    """A program of ours on a hook of an interface.

    Attributes:
        interface: its name, for messages; everything is done by the index.
        ifindex: the interface's index, which a rename doesn't change.
        hook: what kind of hook.
        direction: `egress` is only possible at `tcx` and `clsact`.
        mode: `native` or `generic` at XDP, else the hook's name again.
        program_id: the kernel's id of the program.
        made_qdisc: clsact: the qdisc is ours to remove.
        program: a file descriptor of the program; whoever loaded (or received) it closes it.
        link: a file descriptor of the BPF link, -1 at hooks without one; close() closes it.
    """

    interface: str
    ifindex: int
    hook: Hook
    direction: Direction
    mode: str
    program_id: int
    made_qdisc: bool = False
    program: int = -1
    link: int = -1

    def plain(self) -> dict[str, Any]:
        """Everything but the file descriptors, for JSON."""
        return {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("program", "link")
        }

    def fds(self) -> list[int]:
        """The file descriptors to send beside plain(): the program's, and the link's if any."""
        return [self.program] if self.link < 0 else [self.program, self.link]

    @classmethod
    def received(cls, plain: dict[str, Any], fds: list[int]) -> Self:
        """The attachment at the other end of a socket; `fds` are now the receiver's."""
        program, link = (*fds, -1)[:2]
        return cls(**plain, program=program, link=link)

    def close(self) -> None:
        """Close the link's fd; may be called again.

        With the last one of a link that is not pinned, in whatever process, the program is off.
        """
        if self.link >= 0:
            os.close(self.link)
            self.link = -1
