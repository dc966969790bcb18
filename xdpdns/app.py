"""The agent: compiles, loads, attaches, serves, and takes off what it put on, in that order.

Netlink belongs to one thread (pyroute2's sockets are bound to theirs); scrapes read maps in
another; the event loop only talks HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from xdpdns import kernel, netns
from xdpdns.privileges import User, become, drop, reading_needs
from xdpdns.program import Compilation
from xdpdns.settings import ProgramSettings

if TYPE_CHECKING:
    from xdpdns.attach import Netlink
    from xdpdns.families import InterfaceState
    from xdpdns.interface import Interface
    from xdpdns.listen import Address
    from xdpdns.server import Server
    from xdpdns.web_config import WebConfigFile

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between looks at whether the programs are still attached."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What `xdpdns attach` was told.

    `keep` leaves programs and counters in the kernel, for the next agent to go on with.
    `mode` is `auto`, `native` or `generic`; `stats` has the kernel time the programs, which costs
    some 20 to 40 ns a packet. `netns` is the network namespace of the interfaces, by name or path;
    None is the agent's own, in which it listens in any case.
    `user` is whom the agent becomes before it answers; None: it stays who it is.
    """

    interfaces: tuple[str, ...]
    listen: tuple[Address, ...]
    mode: str = "auto"
    keep: bool = False
    stats: bool = False
    netns: str | None = None
    user: User | None = None
    web_config: WebConfigFile | None = None
    program: ProgramSettings = field(default_factory=ProgramSettings)


class Stopped(BaseException):
    """SIGINT or SIGTERM came while the agent was starting."""


def run(settings: AgentSettings) -> None:
    """Be the agent until SIGINT or SIGTERM; on any failure half way nothing stays attached."""
    with ExitStack() as stack:
        # First thing: a signal during the start must unwind, not kill.
        stack.enter_context(_stoppable())
        try:
            _run(settings, stack)
        except Stopped:
            log.info("Stopped while starting.")


def _run(settings: AgentSettings, stack: ExitStack) -> None:
    kernel.require_root()
    guardian = None
    with _undisturbed():
        # The child compiles on another CPU while this process imports what it needs.
        compilation = Compilation(settings.program)
        stack.callback(compilation.close)
        from xdpdns.attach import Netlink
        from xdpdns.guardian import Guardian
        from xdpdns.interface import Interface, kernel_stats
        from xdpdns.keep import Keeper
        from xdpdns.loader import LoadedProgram
        from xdpdns.server import Server

        if not settings.keep:
            # A fork, and so before there are threads.
            guardian = Guardian(settings.netns)
            stack.callback(guardian.close)
    worker = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="netlink"))
    if settings.netns is not None:
        # A namespace is a thread's own: only netlink moves there, the listeners stay.
        worker.submit(netns.enter, settings.netns).result()
    netlink: Netlink = worker.submit(Netlink).result()
    stack.callback(_in_thread(worker, netlink.close))
    keepers: dict[str, Keeper] = {}
    for name in settings.interfaces:
        if settings.keep:
            keepers[name] = worker.submit(Keeper, name, netlink).result()
            stack.callback(_in_thread(worker, keepers[name].close))
        else:
            worker.submit(netlink.check, name).result()

    compiled = compilation.result()
    log.debug("Compiled in %.2f s, %.2f s after exec.", compiled.seconds, since_exec())
    if settings.stats:
        stack.callback(os.close, kernel.enable_stats())
    interfaces: list[Interface] = []
    for name in settings.interfaces:
        if name in keepers:
            keep = partial(keepers[name].attach, settings.mode, compiled, settings.program)
            interface = worker.submit(keep).result()
        else:
            interface = Interface(name, LoadedProgram(compiled, settings.program), netlink)
            stack.callback(_in_thread(worker, interface.detach))
            worker.submit(interface.attach, settings.mode, guardian).result()
        interfaces.append(interface)
    log.debug("Attached %.2f s after exec.", since_exec())

    def look() -> None:
        for interface in interfaces:
            interface.look()

    def collect() -> Iterator[InterfaceState]:
        worker.submit(look).result()
        stats = kernel_stats(settings.stats)
        for interface in interfaces:
            yield interface.read(stats)

    server = Server(
        settings.listen,
        collect,
        lambda: [interface.state for interface in interfaces],
        web_config=settings.web_config,
        on_first_scrape=lambda: log.debug("First scrape %.2f s after exec.", since_exec()),
    )

    def announce() -> None:
        for interface in interfaces:
            interface.stays = True  # what is not kept is the guardian's to take off
            _announce(interface, settings.mode)
        if settings.user is not None:
            become(settings.user)
        needs = reading_needs()
        drop(*needs)
        worker.submit(drop, *needs).result()

    asyncio.run(_serve(server, announce, lambda: worker.submit(look)))


async def _serve(server: Server, announce: Callable[[], None], look: Callable[[], object]) -> None:
    """Serve until a signal; the loop's own handlers replace those of the start.

    `announce` is called once the addresses are bound: until then the start may fail, and then its
    reason is all that there is to say.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        announce()
        for address in server.addresses:
            log.info("Serving http://%s/metrics", address)
        while not stop.is_set():
            look()
            try:
                await asyncio.wait_for(stop.wait(), LOOK_EVERY)
            except TimeoutError:
                continue
    log.info("Stopping.")
    for number in (signal.SIGINT, signal.SIGTERM):
        # What follows takes programs off: a second Ctrl-C must not leave one behind.
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def _in_thread(worker: ThreadPoolExecutor, function: Callable[[], None]) -> Callable[[], None]:
    """Have a function run in the worker's thread, and wait for it."""
    return lambda: worker.submit(function).result()


def _announce(interface: Interface, wanted: str) -> None:
    log.info("Counting on %s in %s mode.", interface.name, interface.mode)
    if wanted == "auto" and interface.mode == "generic":
        log.warning(
            "%s's driver can't run XDP natively, so packets are counted a little later and "
            "at a higher cost (generic mode).",
            interface.name,
        )


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into Stopped; put the old handlers back."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back: the hooks of forks and imports swallow exceptions."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def since_exec() -> float:
    """Seconds since this process was started, to 10 ms: field 22 of /proc/self/stat."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
