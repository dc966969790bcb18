"""The agent: binds its addresses, has a supervisor count (supervisor/), gives up its power, serves.

Scrapes read maps in a thread of their own; the event loop only talks HTTP and hears what the
supervisor says.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from xdpdns import kernel, listen
from xdpdns.errors import ListenError, XdpdnsError
from xdpdns.privileges import User, acting_as, become, default_user, drop, reading_needs
from xdpdns.roles import Programs, Way
from xdpdns.service import Service
from xdpdns.service_manager import ServiceManager
from xdpdns.settings import ProgramSettings
from xdpdns.supervisor import Supervisor
from xdpdns.supervisor.messages import Started
from xdpdns.supervisor.selection import Selection

if TYPE_CHECKING:
    from xdpdns.families import InterfaceState
    from xdpdns.hooks import Hook
    from xdpdns.interface import Interfaces
    from xdpdns.listen import Address
    from xdpdns.server import Server
    from xdpdns.web_config import WebConfigFile

log = logging.getLogger(__name__)

LAST_SCRAPE = 1.0
"""Seconds for which an agent that lost its supervisor says so before it ends."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What `xdpdns attach` was told.

    `keep` leaves programs and counters in the kernel, for the next agent to go on with.
    `hook` is where the program sits; `mode` is `auto`, `native` or `generic`, at XDP; `stats` has
    the kernel time the programs, which costs some 20 to 40 ns a packet. `netns` is the network
    namespace of the interfaces, by name or path; None is the agent's own, in which it listens in
    any case. `user` is whom the agent becomes before it answers; None: see default_user().
    `programs` are what each interface is to have (roles.py).
    `recheck` says what is wrong, now, in the file that options came from.
    """

    selection: Selection
    listen: tuple[Address, ...]
    hook: Hook = "xdp"
    mode: str = "auto"
    keep: bool = False
    stats: bool = False
    netns: str | None = None
    user: User | None = None
    web_config: WebConfigFile | None = None
    programs: Programs = field(
        default_factory=lambda: {Way("ingress", "queries"): ProgramSettings()}
    )
    recheck: Callable[[], Sequence[str]] = tuple


class Stopped(BaseException):
    """SIGINT or SIGTERM came while the agent was starting."""


def run(settings: AgentSettings) -> bool:
    """Be the agent until SIGINT or SIGTERM; on any failure half way nothing stays attached.

    Whether it is to be started anew: see service.py.

    Raises:
        SupervisorError: the process that watches the interfaces has ended.
        XdpdnsError: the start failed.
    """
    with ExitStack() as stack:
        # First thing: a signal during the start must unwind, not kill.
        stack.enter_context(_stoppable())
        manager = ServiceManager.from_environment()
        stack.callback(manager.close)
        try:
            return _run(settings, manager, stack)
        except Stopped:
            log.info("Stopped while starting.")
            return False


def _run(settings: AgentSettings, manager: ServiceManager, stack: ExitStack) -> bool:
    kernel.require_root()
    _allow_files()
    # Before anything is attached. What follows needs no power.
    try:
        listeners = listen.bind(settings.listen)
    except ListenError:
        with _undisturbed():
            from xdpdns import preflight
        preflight.look(settings)  # if there is more to say than that the port is taken
        raise
    for listener in listeners:
        stack.callback(listener.close)
    with _undisturbed():
        # A fork, and so before there are threads. It compiles and attaches on another CPU while
        # this process imports what it needs.
        supervisor = Supervisor(settings, partial(since_exec, os.getpid()))
        stack.callback(supervisor.close)
        from xdpdns.interface import Interfaces
        from xdpdns.server import Server

    _leave_root(settings)
    drop(*reading_needs())
    interfaces = Interfaces(settings.programs, settings.stats)
    stack.callback(interfaces.close)
    server = Server(
        listeners,
        interfaces.collect,
        interfaces.states,
        web_config=settings.web_config,
        on_first_scrape=lambda: log.debug("First scrape %.2f s after exec.", since_exec()),
        starting=True,
    )
    return asyncio.run(_serve(settings, server, supervisor, interfaces, manager))


async def _serve(
    settings: AgentSettings,
    server: Server,
    supervisor: Supervisor,
    interfaces: Interfaces,
    manager: ServiceManager,
) -> bool:
    """Serve until a signal, from now on: clients learn that the supervisor is still at its start.

    Whether the agent is to be started anew.

    Raises:
        SupervisorError: the supervisor has ended; clients had a while to learn of it.
        XdpdnsError: the start failed.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    failures: list[XdpdnsError] = []
    service = Service(manager, settings, lambda: supervisor.heard, stop.set)

    def started() -> None:
        # What is there now stays: so garbage is looked for often, and never piles up.
        gc.freeze()
        server.started.set()
        for address in server.addresses:
            log.info("Serving %s", _url(address, settings.web_config))
        service.ready(interfaces.states())

    def hear() -> None:
        try:
            while True:
                message, fds = supervisor.receive(block=False)
                if isinstance(message, Started):
                    started()
                else:
                    interfaces.tell(message, fds)
        except BlockingIOError:
            pass  # that was all
        except XdpdnsError as error:
            loop.remove_reader(supervisor)
            failures.append(error)
            if not server.started.is_set():
                stop.set()
                return
            interfaces.unwatched()
            log.error("%s", error)
            loop.call_later(LAST_SCRAPE, stop.set)
        if server.started.is_set():
            service.changed(interfaces.states())

    async with server:
        loop.add_reader(supervisor, hear)
        await stop.wait()
        loop.remove_reader(supervisor)
        service.stopping()
    if server.started.is_set():
        log.info("%s", _stopping(settings, [] if service.again else interfaces.states()))
    elif not failures:
        log.info("Stopped while starting.")
    for number in (signal.SIGINT, signal.SIGTERM):
        # What follows takes programs off: a second Ctrl-C must not leave one behind.
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    if failures:
        raise failures[0]
    return service.again


def _leave_root(settings: AgentSettings) -> None:
    """Become the user that was asked for; else one that owns nothing, if that is enough.

    Raises:
        MissingNeedError: not permitted.
        SettingsError: that user can't read the web configuration.
    """
    user, web = settings.user, settings.web_config
    if user is not None:
        become(user)
        if web is not None:
            web.require_readable(user)
        return
    user = default_user()
    if user is None:
        return
    try:
        if web is not None:
            with acting_as(user):
                web.require_readable(user)
        become(user)
    except XdpdnsError as error:
        log.warning("What answers HTTP stays root, without capabilities. %s", error)


def _stopping(settings: AgentSettings, states: Sequence[InterfaceState]) -> str:
    """What stays behind, which may not be known to who stops the agent."""
    names = dict.fromkeys(state.interface for state in states if state.program_id)
    if not settings.keep or not names:
        return "Stopping."
    there = f" --netns {settings.netns}" if settings.netns is not None else ""
    return (
        f"Stopping; {', '.join(names)} is counted on, as --keep says: the next `attach --keep` "
        f"goes on from that, and `xdpdns detach {' '.join(names)}{there}` ends it."
    )


def _url(address: str, web: WebConfigFile | None) -> str:
    """Where the metrics are, and what a client needs for them."""
    config = web.current() if web is not None else None
    scheme = "https" if config is not None and config.tls else "http"
    auth = ", with basic auth" if config is not None and config.users else ""
    return f"{scheme}://{address}/metrics{auth}"


def _allow_files() -> None:
    """Permit as many open files as the hard limit: each interface's maps are some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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


def since_exec(pid: int | None = None) -> float:
    """Seconds since a process (this one) was started, to 10 ms: field 22 of /proc/PID/stat."""
    fields = Path(f"/proc/{pid or 'self'}/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
