"""Takes a sample: attaches, counts so many packets or for so long, detaches, reads."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from xdpdns import kernel
from xdpdns.errors import AttachError
from xdpdns.hooks import Hook, Hooks, Link
from xdpdns.running import ours
from xdpdns.sample.counts import Counts
from xdpdns.sample.hold import hold
from xdpdns.sample.program import SampleCompilation, SampleProgram

Ended = Literal["packets", "seconds", "interrupted", "gone"]
Watch = Callable[[int, float], None]
"""Told now and then how many packets have been counted, if that was to be bounded, and seconds."""

_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """What `xdpdns sample` was told.

    Attributes:
        interface: its name; empty: the only one there is.
        packets: so many of both ways together, or None.
        seconds: for so long, or None; the first of both that is reached ends it.
        ports: that carry DNS.
        hook: `tcx` or `clsact`; None: the better one that there is.
        max_addresses: room in the table of addresses.
    """

    interface: str = ""
    packets: int | None = None
    seconds: float | None = 10.0
    ports: tuple[int, ...] = (53,)
    hook: Hook | None = None
    max_addresses: int = 65536


@dataclass(frozen=True, slots=True)
class Sample:
    """What was counted where, from when on, for how long, and why it ended."""

    settings: SampleSettings
    interface: str
    hook: Hook
    started: datetime
    seconds: float
    ended: Ended
    counts: Counts


def take(settings: SampleSettings, watch: Watch) -> Sample:
    """Take a sample. Ctrl-C ends it early, once it has begun.

    Raises:
        AttachError: the interface is absent or down, or takes no program.
        OccupiedError: at clsact a sample is being taken already.
        MissingNeedError: not permitted, or the kernel is too old.
        CompileError: the program does not compile.
    """
    kernel.require_root()
    with Hooks() as hooks:
        link = _up(hooks.link(settings.interface)) if settings.interface else choose(hooks)
        hook = settings.hook or hooks.at_tc()
    compilation = SampleCompilation(settings.ports)
    try:
        compiled = compilation.result()
    finally:
        compilation.close()
    with SampleProgram(compiled, settings.max_addresses) as program:
        with hold(link, program.fds, hook):
            now, begin = datetime.now(UTC), time.monotonic_ns()
            program.open(settings.packets)
            try:
                ended = _wait(program, link, settings, watch)
            except KeyboardInterrupt:
                ended = "interrupted"
            program.shut()
            end = time.monotonic_ns()
        if ended == "packets":
            end = program.ended_ns
        return Sample(settings, link.name, hook, now, (end - begin) / 1e9, ended, program.read())


def choose(hooks: Hooks) -> Link:
    """The interface that is meant when none was named: the only one that is up, or is counted.

    Raises:
        AttachError: there are several, or none.
    """
    up = [link for link in hooks.links() if link.up and link.name != "lo"]
    if len(up) == 1:
        return up[0]
    if not up:
        raise AttachError("no interface is up: bring one up, or name one as `xdpdns sample lo`.")
    counted = [link for link in up if ours(link, hooks)]
    if len(counted) == 1:
        return counted[0]
    names = ", ".join(link.name for link in up)
    raise AttachError(f"name an interface, as `xdpdns sample {up[0].name}` ({names} are up).")


def _up(link: Link) -> Link:
    if not link.up:
        raise AttachError(f"{link.name} is down: bring it up with `ip link set {link.name} up`.")
    return link


def _wait(program: SampleProgram, link: Link, settings: SampleSettings, watch: Watch) -> Ended:
    """Until one of the bounds is reached, or the interface has gone."""
    packets, seconds = settings.packets, settings.seconds
    begin = time.monotonic()
    while True:
        taken = program.taken
        elapsed = time.monotonic() - begin
        if packets is not None and taken >= packets:
            return "packets"
        if seconds is not None and elapsed >= seconds:
            return "seconds"
        try:
            socket.if_indextoname(link.index)
        except OSError:
            return "gone"
        watch(taken, elapsed)
        left = _PAUSE if seconds is None else seconds - elapsed
        time.sleep(max(0.0, min(_PAUSE, left)))
