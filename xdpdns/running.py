"""Reads programs of ours that are on interfaces already, whoever put them there.

::

    with running("eth0") as program:
        print(program.snapshot().outcomes)

Nothing is asked of an agent and nothing is changed: the maps are opened by their ids, and what they
mean stands in the kernel beside them (meta.py). So this works beside an agent, after one that was
killed, and with `attach --keep`. Needs root (CAP_SYS_ADMIN opens objects by their id).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from xdpdns import kernel, meta
from xdpdns.decode import Decoder
from xdpdns.errors import KernelError, NotRunningError, UnreadableError
from xdpdns.hooks import Found, Hooks, Link, owner
from xdpdns.meta import Meta
from xdpdns.snapshot import Snapshot


@dataclass
class RunningProgram:
    """A program of ours on an interface, with fds of its maps until close().

    While it is open its maps live, also after the program was taken off; running() tells.

    Attributes:
        interface: where it was found.
        mode: its hook there: `native`, `generic`, `tcx` or `clsact`.
        info: the kernel's description of it; `info.id` is the program's id.
        meta: its options and layouts.
    """

    interface: str
    mode: str
    info: kernel.ProgInfo
    meta: Meta
    _maps: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Open the maps.

        Raises:
            UnreadableError: loaded by an xdpdns whose counters mean something else.
            KernelError: a map is gone (ENOENT), or may not be opened.
        """
        if not self.meta.readable:
            raise UnreadableError(
                f"the program on {self.interface} was loaded by xdpdns {self.meta.version} with "
                "other counters than this version's: read it with that one, or start its agent "
                "again with this one."
            )
        try:
            for name, ident in self.meta.maps.items():
                self._maps[name] = kernel.map_fd(ident)
        except KernelError:
            self.close()
            raise
        layouts = self.meta.layouts
        self._decoder = Decoder(layouts["key"], layouts["counters"], self.meta.settings)

    def snapshot(self) -> Snapshot:
        """Read all counters; about 0.6 microseconds a row."""
        return self._decoder.snapshot(self._maps)

    def close(self) -> None:
        """Close the maps' fds; may be called again."""
        for fd in self._maps.values():
            os.close(fd)
        self._maps = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def running(interface: str, hooks: Hooks | None = None) -> RunningProgram:
    """Our program on an interface of the calling thread's network namespace.

    `hooks` are of the same thread, for who asks often.

    Raises:
        NotRunningError: there is no program, or only somebody else's.
        UnreadableError: it can't be read by this xdpdns.
        AttachError: there is no such interface.
        MissingNeedError: not root.
    """
    if hooks is None:
        with Hooks() as own:
            return running(interface, own)
    for found in hooks.found(hooks.link(interface)):
        if found.direction == "ingress" and (program := _open(interface, found)):
            return program
    raise NotRunningError(
        f"no xdpdns counts on {interface}: start one with `xdpdns attach {interface}`."
    )


def counted(hooks: Hooks | None = None) -> list[str]:
    """The interfaces of the calling thread's network namespace on which a program of ours is."""
    if hooks is None:
        with Hooks() as own:
            return counted(own)
    return [link.name for link in hooks.links() if program_id(hooks, link)]


def program_id(hooks: Hooks, link: Link) -> int | None:
    """The id of our program on an interface; None if there is none."""
    return next(
        (
            found.program_id
            for found in hooks.found(link)
            if found.direction == "ingress" and owner.is_ours(found.program_id)
        ),
        None,
    )


def _open(interface: str, found: Found) -> RunningProgram | None:
    """The program, if it is ours and still there."""
    try:
        fd = kernel.prog_fd(found.program_id)
        try:
            info = kernel.prog_info(fd)
            if not owner.is_ours(found.program_id):
                return None
            described = meta.read(info)
            if described is None:
                raise UnreadableError(
                    f"the program on {interface} carries no description of its counters (a kernel "
                    "before 5.10, or an older xdpdns): read them from its agent's /metrics."
                )
            return RunningProgram(interface, found.mode, info, described)
        finally:
            os.close(fd)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None  # taken off since it was found
        raise
