"""The whole thing on a private pair of namespaces with real queries: `xdpdns demo`.

::

    client's namespace                    server's namespace           ours
    sender --> eth0 ==================== eth0 <-- program, maps ----- agent --> http://127.0.0.1:10530
               192.0.2.2, 2001:db8::2     192.0.2.1, 2001:db8::1

The sender knows what it sent and the agent's /metrics what was counted: both stand side by side,
and must be equal. Nothing is left behind, not even by SIGKILL: the namespaces have no names and end
with this process, and the kernel then ends the agent (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

from xdpdns import kernel
from xdpdns.errors import XdpdnsError
from xdpdns.listen import Address

LOOK_EVERY = 0.5
"""Seconds between looks at the counters."""
_SETTLE = 2.0
"""Seconds that the last packets have to arrive in the counters."""

Tally = dict[str, Counter[str]]


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `xdpdns demo` was told: packets a second, and seconds (None: until Ctrl-C)."""

    rate: float
    seconds: float | None
    listen: Address


@dataclass(frozen=True, slots=True)
class Look:
    """What was sent beside what was counted at one moment.

    All three are by dimension (`outcome` and the labels) and value: `planned` are shares of all
    packets (outcome) or queries (labels), `sent` and `counted` are numbers.
    """

    seconds: float
    planned: dict[str, dict[str, float]]
    sent: Tally
    counted: Tally

    @property
    def equal(self) -> bool:
        """Whether every value of every dimension was counted as often as it was sent."""
        return self.sent == self.counted

    @property
    def packets(self) -> tuple[int, int]:
        """Packets sent and counted."""
        return self.sent["outcome"].total(), self.counted["outcome"].total()


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended; `first_seconds` is from the process's start to the first numbers."""

    url: str
    first_seconds: float
    look: Look


class View(Protocol):
    """Who shows the demonstration while it runs."""

    def started(self, url: str, inside: str) -> None:
        """The agent serves at `url`; `inside` is a command that enters the server's namespace."""

    def look(self, look: Look) -> None:
        """New numbers; the first come with the first look."""


def run(settings: DemoSettings, view: View) -> Result | None:
    """Demonstrate until the time is over, or SIGINT or SIGTERM; None if those came too early.

    Raises:
        XdpdnsError: no permission, the address is taken, or the agent ended.
    """
    kernel.require_root()
    from xdpdns.app import since_exec
    from xdpdns.demo.agent import Agent
    from xdpdns.demo.cable import Cable

    with ExitStack() as stack:
        stop = stack.enter_context(_signals())
        cable = stack.enter_context(Cable())
        agent = stack.enter_context(Agent(cable.server, settings.listen))
        # The agent compiles on another CPU while the messages are made.
        from xdpdns.demo.mix import block, tally
        from xdpdns.demo.sender import Sender

        packets = block()
        planned = _shares(tally(packets, len(packets)))
        sockets = cable.client_sockets()
        for one in sockets.values():
            stack.callback(one.close)
        sender = Sender(sockets, packets, settings.rate)
        stack.callback(sender.stop)
        if not agent.wait(stop):
            return None
        url = f"http://{agent.address}/metrics"
        view.started(url, f"nsenter --net=/proc/{os.getpid()}/fd/{cable.server}")

        started = time.monotonic()
        sender.start()

        def look() -> Look:
            counted = agent.counted()
            sent = tally(packets, sender.sent)
            return Look(time.monotonic() - started, planned, sent, counted)

        first = 0.0
        pause = LOOK_EVERY / 5  # the first numbers come sooner
        while not stop.wait(pause) and not _over(settings, started) and sender.error is None:
            view.look(look())
            first = first or since_exec()
            pause = LOOK_EVERY
        sender.stop()
        if sender.error is not None:
            raise XdpdnsError(
                f"the client could not send ({sender.error}): somebody changed its namespace."
            )
        deadline = time.monotonic() + _SETTLE
        while not (last := look()).equal and time.monotonic() < deadline:
            time.sleep(0.05)
        view.look(last)
        return Result(url, first or since_exec(), last)


def to_json(result: Result) -> dict[str, Any]:
    """`{"url", "seconds", "first_numbers_seconds", "sent", "counted", "equal", "dimensions"}`.

    `dimensions` has a list for `outcome` and for each label: `{"value", "share", "sent",
    "counted"}`, the share being the planned one; most sent first.
    """
    sent, counted = result.look.packets
    return {
        "url": result.url,
        "seconds": round(result.look.seconds, 2),
        "first_numbers_seconds": round(result.first_seconds, 2),
        "sent": sent,
        "counted": counted,
        "equal": result.look.equal,
        "dimensions": {
            name: [
                {"value": value, "share": share, "sent": sent, "counted": counted}
                for value, share, sent, counted in rows(result.look, name)
            ]
            for name in result.look.sent
        },
    }


def rows(look: Look, dimension: str) -> list[tuple[str, float, int, int]]:
    """Value, planned share, sent, counted; most planned first, also what was only counted."""
    planned, sent, counted = look.planned[dimension], look.sent[dimension], look.counted[dimension]
    values = sorted(planned, key=lambda value: (-planned[value], value))
    values += sorted(set(counted) - set(planned))
    return [(value, planned.get(value, 0.0), sent[value], counted[value]) for value in values]


def _shares(tally: Tally) -> dict[str, dict[str, float]]:
    return {
        name: {value: count / counts.total() for value, count in counts.items()}
        for name, counts in tally.items()
    }


def _over(settings: DemoSettings, started: float) -> bool:
    return settings.seconds is not None and time.monotonic() - started >= settings.seconds


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; the old handlers come back."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
