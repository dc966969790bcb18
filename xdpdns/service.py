"""The agent as a service: what its manager hears of it while it serves, and what SIGHUP does.

An agent that serves has no power left to load a program, so it can't take new options over itself.
It ends, and its manager starts it anew, with the environment and the configuration file of then;
with --keep the program in the kernel counts meanwhile, and the new agent goes on from its values.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xdpdns.families import InterfaceState
from xdpdns.service_manager import ServiceManager

if TYPE_CHECKING:
    from xdpdns.app import AgentSettings

log = logging.getLogger(__name__)

START_AGAIN = os.EX_TEMPFAIL
"""The exit code of an agent that is to be started anew (75; the unit's RestartForceExitStatus=)."""

_NAMES = 8


class Service:
    """From the moment that the agent serves; all on the event loop.

    Args:
        manager: whom to tell.
        settings: those of the agent.
        heard: when the supervisor said something last, by time.monotonic().
        stop: has the agent end.

    Attributes:
        again: whether the agent ends to be started anew.
    """

    def __init__(
        self,
        manager: ServiceManager,
        settings: AgentSettings,
        heard: Callable[[], float],
        stop: Callable[[], None],
    ) -> None:
        self.again = False
        self._manager = manager
        self._settings = settings
        self._heard = heard
        self._stop = stop
        self._status = ""

    def ready(self, states: Sequence[InterfaceState]) -> None:
        """Interfaces are attached and clients are answered."""
        self._status = status_line(states)
        self._manager.ready(self._status)
        self._beat()
        if not os.isatty(0):  # a terminal that is closed sends SIGHUP too, to end us
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)

    def changed(self, states: Sequence[InterfaceState]) -> None:
        """Something may have become of an interface."""
        status = status_line(states)
        if status != self._status:
            self._status = status
            self._manager.status(status)

    def stopping(self) -> None:
        """The end begins."""
        self._manager.stopping()

    def reload(self) -> None:
        """Take changed files over; where that is impossible, say so and go on as before."""
        self._manager.reloading()
        if self._settings.web_config is not None:
            self._settings.web_config.read_again()
        problems = self._settings.recheck()
        for problem in problems:
            log.error("%s Until then the options stay as they were.", problem)
        if problems:
            self._manager.ready(self._status)
        elif not self._settings.keep or not self._manager:
            missing = "--keep" if not self._settings.keep else "a service manager"
            log.warning(
                "Without %s a reload takes no options over: start the agent anew for that.", missing
            )
            self._manager.ready(self._status)
        else:
            log.info("Starting again, for new options; the program counts on meanwhile.")
            self.again = True
            self._stop()

    def _beat(self) -> None:
        """Say that we live, as long as the supervisor does too; again in time for the next."""
        every = self._manager.alive_every
        if every is not None:
            if time.monotonic() - self._heard() < 2 * every:
                self._manager.alive()
            asyncio.get_running_loop().call_later(every, self._beat)


def status_line(states: Sequence[InterfaceState]) -> str:
    """One line for people: what is counted, and what isn't, and why."""
    # an interface has a state for each of its programs
    up = list(dict.fromkeys(state.interface for state in states if state.up))
    down = list(
        dict.fromkeys(
            f"{state.interface} is not counted: {state.reason}" for state in states if not state.up
        )
    )
    counting = [f"Counting on {_some(up, ', ')}"] if up else []
    text = "; ".join([*counting, *([_some(down, "; ")] if down else [])])
    return f"{text}." if text else "Waiting for an interface."


def _some(texts: Sequence[str], separator: str) -> str:
    more = len(texts) - _NAMES
    return separator.join([*texts[:_NAMES], *([f"{more} more"] if more > 0 else [])])
