"""The supervisor's own process: it has the compiler's child, the hooks, and nobody to talk to.

It tells the agent what it sees (messages.py), and hears nothing but the end of the socket.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from xdpdns import decode, keep, kernel, privileges
from xdpdns.errors import XdpdnsError
from xdpdns.hooks import Hooks, Link
from xdpdns.program import Compilation
from xdpdns.settings import ProgramSettings
from xdpdns.supervisor.events import LinkEvents
from xdpdns.supervisor.links import Links
from xdpdns.supervisor.messages import (
    Alive,
    Failed,
    Forgotten,
    Loaded,
    Started,
    send,
)
from xdpdns.supervisor.outbox import AgentEndedError, Outbox
from xdpdns.supervisor.tools import Tools
from xdpdns.supervisor.watched import Watched

if TYPE_CHECKING:
    from xdpdns.app import AgentSettings

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between looks: a BPF link that comes or goes makes no event."""

SETTLE = 0.02
"""Seconds that events are gathered for, and the least time between two looks."""

SHARE = 20
"""At most one part in so many of a CPU is spent on looking, with however many interfaces and
events; what it takes to attach not counted."""

MOST_FOLLOWED = 64
"""Interfaces that patterns may bring: each has maps of its own, whose memory is taken at once."""

LONG = 60.0
"""Seconds after which the compiler should have been done, and people want to know that it isn't."""

FORGET_AFTER, REMEMBERED = 60.0, 16
"""An interface that came by a pattern and has gone is waited for so many seconds, so that its
counters can go on; of those that came last, so many."""


def supervise(
    settings: AgentSettings,
    agent: socket.socket,
    compilations: Mapping[ProgramSettings, Compilation],
    since_exec: Callable[[], float],
) -> None:
    """Attach, watch until the agent ends, and take off what is not to stay.

    `compilations` are under way, and are closed here. A failure of the start is sent to the agent,
    whose error it then is.
    """
    outbox = Outbox(agent)
    with ExitStack() as stack:
        for compilation in compilations.values():
            stack.callback(compilation.close)
        try:
            supervision = Supervision(settings, outbox, stack)
            supervision.start(compilations, since_exec)
        except AgentEndedError:
            return
        except XdpdnsError as error:
            send(agent, Failed.of(error))
            return
        agent.setblocking(False)
        gc.freeze()  # what is there now stays: so garbage is looked for often, and never piles up
        supervision.watch()


class Supervision:
    """All interfaces that are watched, by the numbers that the agent knows them by."""

    def __init__(self, settings: AgentSettings, outbox: Outbox, stack: ExitStack) -> None:
        self._settings = settings
        self._selection = settings.selection
        self._outbox = outbox
        self._stack = stack
        self._watched: dict[int, Watched] = {}
        self._numbers = 0
        self._quiet = True
        self._full = False

    def start(
        self,
        compilations: Mapping[ProgramSettings, Compilation],
        since_exec: Callable[[], float],
    ) -> None:
        """Wait for the compilers, and attach to all that is there.

        Raises:
            XdpdnsError: an interface that was named, or the program, or the machine can't.
            AgentEndedError: the agent didn't wait for it.
        """
        settings, stack = self._settings, self._stack
        self._events = LinkEvents()
        stack.callback(self._events.close)
        self._hooks = stack.enter_context(Hooks())
        self._tools = Tools(
            self._hooks, settings.programs, settings.hook, settings.mode, settings.keep
        )
        stack.callback(self._close)
        if settings.keep:
            keep.prepare(self._hooks)
        self._reserve()
        patience = 1.0  # of who started it: a fast start needs no word
        waiting = dict(compilations)
        while waiting:
            ready = self._outbox.listen(
                *(one.fileno() for one in waiting.values()), timeout=patience
            )
            if not ready:
                log.info("Compiling the programs." if patience < LONG else "Still compiling.")
                patience = LONG
            for program, compilation in list(waiting.items()):
                if compilation.fileno() in ready:
                    del waiting[program]
                    compiled = self._tools.compiled[program] = compilation.result()
                    took = compiled.seconds, since_exec()
                    log.debug("Compiled %s in %.2f s, %.2f s after exec.", program.side, *took)
                    # the first's programs fill what the compilers leave of the CPUs
                    for watched in [*self._watched.values()][:1]:
                        watched.load()
        if settings.stats:
            stack.callback(os.close, kernel.enable_stats())
        for watched in self._watched.values():
            watched.begin()
            self._outbox.listen(timeout=0.0)
        log.debug("Attached %.2f s after exec.", since_exec())
        for watched in self._watched.values():
            watched.stays = settings.keep
            self._tell_loaded(watched)
        self.look(set())
        self._warn_generic()
        self._outbox.put(Started())
        needs = (privileges.CAP_BPF, privileges.CAP_PERFMON) if self._selection.grows else ()
        privileges.drop(privileges.CAP_NET_ADMIN, *needs, *privileges.reading_needs())

    def _reserve(self) -> None:
        if self._selection.grows:
            self._selection.require_matches([link.name for link in self._hooks.links()])
        for name in self._selection.names:
            self._add(name, optional=False).reserve()

    def _add(self, name: str, optional: bool) -> Watched:
        self._numbers += 1
        watched = Watched(self._numbers, name, self._tools, optional)
        self._watched[watched.number] = watched
        return watched

    def _close(self) -> None:
        for watched in reversed(self._watched.values()):
            watched.close()

    def watch(self) -> None:
        """Look at each event and once a second, until the agent ends."""
        done, rest = False, 0.0
        try:
            while True:
                gone: set[int] = set()
                if done:
                    self._pass(rest)
                if self._pass(LOOK_EVERY - rest if done else 0.0, self._events.fileno()):
                    self._outbox.listen(timeout=SETTLE)
                    gone = self._events.drain()
                began = time.thread_time()
                self._quiet = True
                try:
                    done = self.look(gone)
                except XdpdnsError as error:
                    log.warning("The interfaces can't be looked at: %s", error)
                    done = True
                if self._quiet:  # to attach takes longer, and is not done every time
                    rest = SHARE * (time.thread_time() - began)
                self._outbox.put(Alive())
        except AgentEndedError:
            return

    def _pass(self, seconds: float, *events: int) -> list[int]:
        """Let time go by, until one of the descriptors is readable: those that are.

        The agent hears of it each second, for it has a watchdog.
        """
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            ready = self._outbox.listen(*events, timeout=max(0.0, min(left, LOOK_EVERY)))
            if ready or left <= LOOK_EVERY:
                return ready
            self._outbox.put(Alive())

    def look(self, gone: set[int]) -> bool:
        """See what has become of the interfaces; `gone` are indexes that were given up.

        Whether that was all: of those that come by a pattern, whose programs have to be verified,
        only so many are taken at once that the agent hears of it now and then.
        """
        until = time.monotonic() + LOOK_EVERY
        links = Links(self._hooks, everything=self._selection.grows)
        taken = set()
        for watched in self._watched.values():
            link = None if watched.index in gone else links.at(watched.index)
            if link is not None:
                taken.add(link.index)
                self._look_at(watched, link)
        for watched in list(self._watched.values()):
            if watched.index in taken:
                continue
            link = links.called(watched.wanted) or links.called(watched.name)
            if link is not None and link.index in taken:
                link = None  # another one's, by a rename
            if link is not None:
                taken.add(link.index)
            self._look_at(watched, link)
        for link in links.all():
            if link.up and link.index not in taken and self._selection.follows(link.name):
                if sum(watched.optional for watched in self._watched.values()) >= MOST_FOLLOWED:
                    self._too_many(link.name)
                    break
                self._look_at(self._add(link.name, optional=True), link)
                if time.monotonic() > until:
                    return False
        self._forget()
        return True

    def _too_many(self, name: str) -> None:
        if not self._full:
            self._full = True
            log.warning(
                "%d interfaces are followed already, so %s and others that come are not: name "
                "those that matter, or leave some out by --exclude.",
                MOST_FOLLOWED,
                name,
            )

    def _look_at(self, watched: Watched, link: Link | None) -> None:
        before = watched.programs.copy()
        try:
            changed = watched.look(link)
        except XdpdnsError as error:  # of this one; the others can be looked at
            changed = self._failed(watched, error)
        if watched.programs != before:
            self._tell_loaded(watched)
        if changed:
            self._quiet = False
            self._outbox.put(watched.state)

    @staticmethod
    def _failed(watched: Watched, error: XdpdnsError) -> bool:
        """Note that an interface can't be looked at; whether that is news."""
        before = watched.state
        watched.state = replace(before, reason="refused", detail=str(error), hooks={})
        if watched.state == before:
            return False
        extra = {"interface": watched.name, "reason": "refused"}
        log.warning("%s can't be looked at: %s", watched.name, error, extra=extra)
        return True

    def _tell_loaded(self, watched: Watched) -> None:
        for way, program in watched.programs.items():
            compiled = self._tools.compiled[self._settings.programs[way]]
            names = decode.maps_read(self._settings.programs[way])
            loaded = Loaded(watched.number, *way, names, compiled.key, compiled.counters)
            fds = [program.maps[name] for name in names]  # frozen: good for reading only
            if self._settings.stats or kernel.stats_enabled():
                fds.append(program.fd)
            self._outbox.put(loaded, fds)

    def _forget(self) -> None:
        """Let go of what came by a pattern and has been gone for too long, or too many of them."""
        absent = sorted(
            (watched.absent_since, watched.number)
            for watched in self._watched.values()
            if watched.optional and watched.absent_since is not None
        )
        for at, (since, number) in enumerate(absent):
            if time.monotonic() - since > FORGET_AFTER or at < len(absent) - REMEMBERED:
                self._full = False
                watched = self._watched.pop(number)
                watched.stays = False
                watched.close()
                self._outbox.put(Forgotten(number))

    def _warn_generic(self) -> None:
        for watched in self._watched.values():
            if self._settings.mode == "auto" and "generic" in watched.modes:
                log.warning(
                    "%s's driver can't run XDP natively, so packets are counted a little later and "
                    "at a higher cost (generic mode).",
                    watched.name,
                    extra={"interface": watched.name},
                )
