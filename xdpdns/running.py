"""Reads programs of ours that are on interfaces already, whoever put them there.

::

    with running("eth0") as program:
        print(program.snapshot().outcomes)

Nothing is asked of an agent and nothing is changed: the maps are opened by their ids, and what they
mean stands in the kernel beside them (meta.py). So this works beside an agent, and after it with
`attach --keep`. Needs root (CAP_SYS_ADMIN opens objects by their id).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from xdpdns import kernel, meta, roles
from xdpdns.decode import Decoder
from xdpdns.errors import KernelError, NotRunningError, UnreadableError
from xdpdns.hooks import Direction, Found, Hooks, Link, owner
from xdpdns.meta import Meta
from xdpdns.pins import Place
from xdpdns.roles import Way
from xdpdns.snapshot import Snapshot


@dataclass
class RunningProgram:
    """A program of ours on an interface, with fds of its maps until close().

    Or one that it hands over to (roles.py), by the other's `info`.

    While it is open its maps live, also after the program was taken off; running() tells.

    Attributes:
        interface: where it was found.
        mode: its hook there: `native`, `generic`, `tcx` or `clsact`.
        info: the kernel's description of it; `info.id` is the program's id.
        meta: its options and layouts.
        direction: of the packets that it sees: `ingress` or `egress`.
        since: since when its counters count, as a Unix time.
    """

    interface: str
    mode: str
    info: kernel.ProgInfo
    meta: Meta
    direction: Direction
    since: float
    _maps: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Open the maps.

        Raises:
            UnreadableError: loaded by an xdpdns whose counters mean something else; or a map went
                with its agent.
            KernelError: a map may not be opened.
        """
        if not self.meta.readable:
            raise UnreadableError(
                f"the program on {self.interface} was loaded by xdpdns {self.meta.version} with "
                "other counters than this version's: read it with that one, or start its agent "
                "again with this one."
            )
        layouts = self.meta.layouts
        self._decoder = Decoder(layouts["key"], layouts["counters"], self.meta.settings)
        try:
            for name, ident in self.meta.maps.items():
                self._maps[name] = kernel.map_fd(ident)
        except KernelError as error:
            self.close()
            if error.errno == errno.ENOENT:
                raise UnreadableError(
                    f"some counters of the program on {self.interface} went with its agent: take "
                    f"it off with `xdpdns detach {self.interface}`, and start one anew."
                ) from error
            raise

    @property
    def side(self) -> str:
        """What it counts: `queries` or `responses`."""
        return self.meta.settings.side

    @property
    def way(self) -> Way:
        """Where and what it counts."""
        return Way(self.direction, self.side)

    def snapshot(self) -> Snapshot:
        """Read all counters."""
        return self._decoder.snapshot(self._maps)

    def close(self) -> None:
        """Close the maps' fds; may be called again."""
        self._decoder.close()
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
    """Our program that counts queries on an interface of the calling thread's network namespace.

    `hooks` are those of the same thread, for who asks often.

    Raises:
        NotRunningError: there is no program, or only somebody else's.
        UnreadableError: it can't be read by this xdpdns.
        AttachError: there is no such interface.
        MissingNeedError: not root.
    """
    found = programs(interface, hooks)
    chosen = next((one for one in found if one.side == "queries"), None)
    for one in found:
        if one is not chosen:
            one.close()
    if chosen is None:
        raise not_running(interface)
    return chosen


def programs(interface: str, hooks: Hooks | None = None) -> list[RunningProgram]:
    """All programs of ours on an interface, whatever they count; raises as running() does.

    Empty where there are none.
    """
    if hooks is None:
        with Hooks() as own:
            return programs(interface, own)
    link = hooks.link(interface)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(program)
            for one in ours(link, hooks)
            for program in _open(link, one)
        ]
        stack.pop_all()  # they are the caller's now
    return opened


def counted(hooks: Hooks | None = None) -> list[str]:
    """The interfaces of the calling thread's network namespace on which a program of ours is."""
    if hooks is None:
        with Hooks() as own:
            return counted(own)
    return [link.name for link in hooks.links() if ours(link, hooks)]


def ours(link: Link, hooks: Hooks) -> list[Found]:
    """Where programs of ours are on an interface.

    Raises:
        MissingNeedError: there are programs, and we may not look at them.
    """
    found = hooks.found(link)
    for one in found[:1]:
        _permitted(one.program_id)
    return [one for one in found if owner.is_ours(one.program_id)]


def not_running(interface: str) -> NotRunningError:
    """That nothing of ours is there, in a sentence."""
    return NotRunningError(
        f"no xdpdns counts on {interface}: start one with `xdpdns attach {interface}`."
    )


def _permitted(ident: int) -> None:
    try:
        os.close(kernel.prog_fd(ident))
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise


def exchange(found: Sequence[RunningProgram], role: str = "server") -> dict[str, RunningProgram]:
    """The programs that see the two halves of one exchange, by side, the queries' first.

    Those of the role; if nothing of it is counted, of the other. Of two for one way the first.
    """
    there = {program.way: program for program in reversed(found)}
    for one in (role, "server", "client"):
        chosen = {way.side: there[way] for way in roles.WAYS[one] if way in there}
        if chosen:
            return dict(sorted(chosen.items()))
    return {}


def _open(link: Link, where: Found) -> Iterator[RunningProgram]:
    """The program, if it is still there, and the one that it hands over to."""
    try:
        fd = kernel.prog_fd(where.program_id)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return  # taken off since it was found
        raise
    try:
        info = kernel.prog_info(fd)
        found = meta.read(info)
        if not found:
            raise UnreadableError(
                f"the program on {link.name} carries no description of its counters (an older "
                "xdpdns): read them from its agent's /metrics."
            )
        since = Place(link.index).since(info.id) or info.loaded_at
        for one in found:
            yield RunningProgram(link.name, where.mode, info, one, where.direction, since)
    finally:
        os.close(fd)
