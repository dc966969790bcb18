"""Where readings come from: the programs on an interface, whoever put them there."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from xdpdns.errors import AttachError
from xdpdns.hooks import Hooks
from xdpdns.running import RunningProgram, exchange, not_running, ours, programs
from xdpdns.top.sums import Reading


@dataclass(frozen=True, slots=True)
class Where:
    """How an interface is being counted: the hook of the queries' program, and since when.

    `since` is a Unix time; `dimensions` are all labels of its rows.
    """

    mode: str
    since: float
    dimensions: tuple[str, ...]

    @property
    def age(self) -> float:
        """Seconds since then."""
        return time.time() - self.since


class Source:
    """Reads what counts on one interface; each time it looks whether that is still the same.

    Where queries and responses go both ways, it reads those of a role.

    It belongs to the thread of `hooks`. What it reads it leaves as it is.
    """

    def __init__(self, name: str, hooks: Hooks, role: str = "server") -> None:
        self.name = name
        self.where: Where | None = None
        self._hooks = hooks
        self._role = role
        self._ids: tuple[int, ...] = ()
        self._programs: dict[str, RunningProgram] = {}

    def read(self) -> Reading:
        """All counters now, on a monotonic clock.

        Raises:
            NotRunningError: nothing of ours counts there (any more).
            AttachError: there is no such interface (any more).
            UnreadableError: it can't be read by this xdpdns.
        """
        ids = tuple(one.program_id for one in ours(self._hooks.link(self.name), self._hooks))
        if ids != self._ids:
            self._open()
        if not self._programs:
            raise not_running(self.name)
        now = time.monotonic()
        sides = {side: program.snapshot() for side, program in self._programs.items()}
        return Reading(now, tuple(one.info.id for one in self._programs.values()), sides)

    def _open(self) -> None:
        """Open what is there now: for each side of the role the program that sees packets first."""
        self.close()
        with ExitStack() as stack:
            found = [stack.enter_context(one) for one in programs(self.name, self._hooks)]
            self._programs = exchange(found, self._role)
            for one in found:
                if one not in self._programs.values():
                    one.close()
            stack.pop_all()
        self._ids = tuple(one.info.id for one in found)
        if found:
            first = self._programs.get("queries", found[0])
            labels = [
                label for one in self._programs.values() for label in one.meta.settings.labels
            ]
            self.where = Where(first.mode, first.since, tuple(dict.fromkeys(labels)))

    def close(self) -> None:
        """Close all fds; may be called again."""
        for program in self._programs.values():
            program.close()
        self._programs = {}
        self._ids = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def choose(hooks: Hooks) -> list[str]:
    """The interfaces to show when none was named: those that are counted, else the only one up.

    Raises:
        AttachError: there are several, or none.
    """
    links = hooks.links()
    if counted := [link.name for link in links if ours(link, hooks)]:
        return counted
    candidates = [link.name for link in links if link.up and link.name != "lo"]
    if len(candidates) == 1:
        return candidates
    if not candidates:
        raise AttachError("no interface is up: bring one up, or name one as `xdpdns top lo`.")
    raise AttachError(
        f"nothing is being counted yet: name an interface, as `xdpdns top {candidates[0]}` "
        f"({', '.join(candidates)} are up)."
    )
