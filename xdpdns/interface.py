"""The interfaces as the agent has them: what the supervisor says of them, and their counters.

The agent reads maps by file descriptors that it was handed, which are good for nothing else: the
maps are frozen (loader.py).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace

from xdpdns import kernel
from xdpdns.decode import Decoder
from xdpdns.errors import XdpdnsError
from xdpdns.families import InterfaceState
from xdpdns.roles import Programs, Way
from xdpdns.settings import ProgramSettings
from xdpdns.supervisor.messages import Forgotten, Loaded, Message, State


class Counters:
    """The counters of one program: the fds of its maps, which close() closes.

    And that of the program, if the kernel times it: without, it can't be run at will.

    A reading in another thread that has begun is waited for.
    """

    def __init__(self, loaded: Loaded, fds: list[int], settings: ProgramSettings) -> None:
        self._fds = fds
        self._maps = dict(zip(loaded.maps, fds, strict=False))
        self._program = fds[-1] if len(fds) > len(loaded.maps) else None
        self._decoder = Decoder(loaded.key, loaded.counters, settings)
        self._reading = threading.Lock()

    def read(self, state: InterfaceState, stats: bool) -> InterfaceState:
        """The state with all counters; `stats`: the kernel is timing programs."""
        with self._reading:
            if not self._fds:  # forgotten meanwhile
                return state
            try:
                snapshot = self._decoder.snapshot(self._maps)
                info = kernel.prog_info(self._program) if stats and self._program else None
            except XdpdnsError as error:
                return replace(state, error=error)
        return replace(
            state,
            snapshot=snapshot,
            runs=info.run_count if info else None,
            run_seconds=info.run_time_ns / 1e9 if info else None,
        )

    def close(self) -> None:
        """Close all fds; may be called again."""
        with self._reading:
            self._decoder.close()
            for fd in self._fds:
                os.close(fd)
            self._fds = []


class Interfaces:
    """All of them, by the supervisor's numbers.

    tell() belongs to one thread, collect() may be called in another.
    """

    def __init__(self, settings: Programs, stats: bool) -> None:
        self._settings = settings
        self._stats = stats
        self._states: dict[int, dict[Way, InterfaceState]] = {}
        self._counters: dict[tuple[int, Way], Counters] = {}

    def tell(self, message: Message, fds: list[int]) -> None:
        """Take in a message of the supervisor."""
        if isinstance(message, Loaded):
            way = Way(message.direction, message.side)
            counters = Counters(message, fds, self._settings[way])
            self._counters = {**self._counters, (message.number, way): counters}
        elif isinstance(message, State):
            states = {way: _state(message, way) for way in self._settings}
            self._states = {**self._states, message.number: states}
        elif isinstance(message, Forgotten):
            self._states = {n: s for n, s in self._states.items() if n != message.number}
            forgotten = {k: c for k, c in self._counters.items() if k[0] == message.number}
            self._counters = {k: c for k, c in self._counters.items() if k not in forgotten}
            for counters in forgotten.values():
                counters.close()

    def unwatched(self) -> None:
        """Nobody watches any more: what is true of the interfaces is not known."""
        self._states = {
            number: {
                way: replace(
                    state,
                    up=False,
                    reason="unwatched",
                    detail=f"the process that watches {state.interface} has ended.",
                )
                for way, state in states.items()
            }
            for number, states in self._states.items()
        }

    def states(self) -> list[InterfaceState]:
        """All states, without counters: one for each program that an interface is to have."""
        return [state for states in self._states.values() for state in states.values()]

    def collect(self) -> Iterator[InterfaceState]:
        """All states with their counters, read one after the other."""
        stats = kernel_stats(self._stats)
        counters = self._counters
        for number, states in self._states.items():
            for way, state in states.items():
                if (number, way) in counters:
                    yield counters[number, way].read(state, stats)
                else:
                    yield state

    def close(self) -> None:
        """Close all fds."""
        for counters in self._counters.values():
            counters.close()


def _state(message: State, way: Way) -> InterfaceState:
    mode, program_id = message.hooks.get(way.direction, ("", 0))
    return InterfaceState(
        message.name,
        up=not message.reason,
        reason=message.reason,
        detail=message.detail,
        direction=way.direction,
        side=way.side,
        mode=mode,
        program_id=program_id,
    )


def kernel_stats(forced: bool) -> bool:
    """Whether run times are being taken: we asked for it, or the sysctl is on."""
    return forced or kernel.stats_enabled()
