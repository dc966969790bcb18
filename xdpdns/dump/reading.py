"""One reading of the counters of some interfaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from xdpdns import catalogue
from xdpdns.errors import AttachError, NotRunningError
from xdpdns.families import AgentState, Family, InterfaceState, agent_families, families
from xdpdns.hooks import Hooks
from xdpdns.netns import enter, in_thread
from xdpdns.running import counted, not_running, programs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """The states of interfaces at one moment: one for each program, or for its absence.

    `time` and `since` are Unix times in seconds: when the counters were read, and since when they
    count, the oldest of them. `previous` is the reading before this one, if there was one.
    """

    time: float
    since: float
    states: tuple[InterfaceState, ...]
    previous: Reading | None = None


def read(interfaces: Iterable[str], previous: Reading | None = None) -> Reading:
    """Read the programs of ours on these interfaces, of the calling thread's network namespace.

    After a first reading, an interface that is not counted any more has a state without counters;
    before one it is an error.

    Raises:
        NotRunningError: no program of ours counts there.
        UnreadableError: this xdpdns can't read what it counted.
        AttachError: there is no such interface.
        MissingNeedError: not root.
    """
    now = time.time()
    states, began = [], [now]
    for name in interfaces:
        try:
            for state, since in _programs(name):
                states.append(state)
                began.append(since)
        except AttachError as error:
            if previous is None:
                raise
            reason = "detached" if isinstance(error, NotRunningError) else "absent"
            states.append(InterfaceState(name, up=False, reason=reason, detail=str(error)))
    # the one before that is of no use to anybody
    before = None if previous is None else replace(previous, previous=None)
    return Reading(now, min(began), tuple(states), before)


def _programs(interface: str) -> list[tuple[InterfaceState, float]]:
    """What each program of ours has counted there, and since when (Unix time).

    Of two programs for one way, as while one takes over from another, the first is read.
    """
    with ExitStack() as stack:
        hooks = stack.enter_context(Hooks())
        up = hooks.link(interface).up
        found = [stack.enter_context(program) for program in programs(interface, hooks)]
        if not found:
            raise not_running(interface)
        chosen = {program.way: program for program in reversed(found)}
        return [
            (
                InterfaceState(
                    interface,
                    up=up,
                    reason="" if up else "down",
                    detail="" if up else f"{interface} is down: no packets arrive until it is up.",
                    direction=program.direction,
                    side=program.side,
                    mode=program.mode,
                    program_id=program.info.id,
                    snapshot=program.snapshot(),
                ),
                program.since,
            )
            for program in reversed(chosen.values())
        ]


class Reader:
    """Reads some interfaces again and again, of this network namespace or another.

    Raises, as read() does:
        NotRunningError: no program of ours counts there, or none at all if none were named.
    """

    def __init__(self, interfaces: Iterable[str], netns: str | None = None) -> None:
        self._netns = netns
        self._names = list(dict.fromkeys(interfaces)) or self._there(counted)
        if not self._names:
            raise NotRunningError("no xdpdns counts here: start one with `xdpdns attach eth0`.")
        self._last: Reading | None = None

    def read(self) -> Reading:
        """Make the next reading, as the function of this name does."""
        before = self._last
        self._last = self._there(lambda: read(self._names, before))
        return self._last

    def _there(self, action: Callable[[], T]) -> T:
        """Do it in the namespace; the caller's thread stays where it is."""
        if self._netns is None:
            return action()
        name = self._netns

        def act() -> T:
            enter(name)
            return action()

        return in_thread(act)


def metrics(reading: Reading) -> list[Family]:
    """The metrics of the interfaces, and the version; an error in one of them is raised."""

    def failed(collector: str, error: Exception) -> None:
        raise error

    build = [one for one in agent_families(AgentState()) if one.metric == catalogue.BUILD]
    return [*families(reading.states, failed), *build]
