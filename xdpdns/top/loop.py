"""The loop: each interval a reading of every interface, after each key a new picture."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from xdpdns.errors import AttachError, SettingsError
from xdpdns.hooks import Hooks
from xdpdns.roles import Programs, Way
from xdpdns.running import ours
from xdpdns.settings import ProgramSettings
from xdpdns.top import own, report
from xdpdns.top.controls import Controls
from xdpdns.top.filters import parse
from xdpdns.top.history import WINDOW, History
from xdpdns.top.screen import View, frame
from xdpdns.top.source import Source, choose
from xdpdns.top.tables import Sort

_TEXT_WIDTH = 80


@dataclass(frozen=True, slots=True)
class TopSettings:
    """What `xdpdns top` was told.

    Attributes:
        interfaces: to show; none: those being counted, or the only one there is.
        interval: seconds between readings.
        count: intervals until the end; None: none.
        output: `screen`, `text` or `json`.
        filter: conditions, see filters.parse().
        sort: the order of rows.
        totals: counts since the program was loaded, in place of rates.
        rows: of each table in `text`.
        programs: for an interface that nothing counts on yet.
        role: of an interface on which both are counted, the one to show.
    """

    interfaces: tuple[str, ...] = ()
    interval: float = 1.0
    count: int | None = None
    output: str = "screen"
    filter: str = ""
    sort: Sort = "rate"
    totals: bool = False
    rows: int = 10
    programs: Programs = field(
        default_factory=lambda: {Way("ingress", "queries"): ProgramSettings()}
    )
    role: str = "server"


class Shown:
    """An interface with its source and history."""

    def __init__(self, name: str, hooks: Hooks, role: str) -> None:
        self.source = Source(name, hooks, role)
        self.history = History(WINDOW)
        self.notice = ""
        self._held: History | None = None

    @property
    def name(self) -> str:
        """The interface."""
        return self.source.name

    def read(self) -> None:
        """One more reading."""
        last = self.history.last
        reading = self.source.read()
        again = last is not None and last.programs != reading.programs
        self.notice = "another program counts now, from zero" if again else ""
        self.history.add(reading)

    def try_read(self) -> None:
        """One more reading; what is wrong becomes the notice, and the next may be right again."""
        try:
            self.read()
        except AttachError as error:
            self.notice = str(error)

    def set_filter(self, text: str) -> None:
        """Show only some rows.

        Raises:
            SettingsError: it can't be understood.
        """
        where = self.source.where
        wanted = parse(text, where.dimensions if where else ())
        self.history.set_filter(wanted)
        if self._held is not None:
            self._held.set_filter(wanted)

    def hold(self, on: bool) -> None:
        """Have the view stand still, or go on."""
        if not on:
            self._held = None
        elif self._held is None:
            self._held = self.history.copy()

    def view(self, controls: Controls, clock: str) -> View:
        """What is to be seen of it."""
        where = self.source.where
        return View(
            interface=f"{self.name} ({where.mode})" if where else self.name,
            history=self._held or self.history,
            clock=clock,
            totals=controls.totals,
            sort=controls.sort,
            base=controls.base,
            alone=controls.alone,
            frozen=controls.frozen,
            help=controls.help,
            prompt=controls.prompt,
            selected=controls.selected,
            notice=controls.notice or self.notice,
            facts=self._words(),
        )

    def facts(self, now: datetime) -> dict[str, Any]:
        """Where and when, for JSON."""
        where, last = self.source.where, self.history.last
        return {
            "time": now.isoformat(timespec="milliseconds"),
            "interface": self.name,
            "mode": where.mode if where else "",
            "programs": list(last.programs) if last else [],
        }

    def _words(self) -> list[str]:
        """The program and its age, as text."""
        where, last = self.source.where, self.history.last
        if where is None or last is None:
            return []
        numbers = "+".join(map(str, last.programs))
        hours, rest = divmod(int(where.age), 3600)
        return [f"program {numbers}", f"up {hours}:{rest // 60:02}:{rest % 60:02}"]


def run(settings: TopSettings) -> None:
    """Show what is being counted, until the count is reached, `q` or Ctrl-C.

    Raises:
        AttachError: an interface can't be counted on, and nothing counts there yet.
        SettingsError: the filter can't be understood.
    """
    with ExitStack() as stack:
        hooks = stack.enter_context(Hooks())
        shown = []
        for name in settings.interfaces or choose(hooks):
            if not ours(hooks.link(name), hooks):
                own.count(name, settings.programs, hooks, stack)
            one = Shown(name, hooks, settings.role)
            stack.callback(one.source.close)
            one.history.add(one.source.read())
            one.set_filter(settings.filter)
            shown.append(one)
        if settings.output == "screen":
            _interactive(settings, shown)
        else:
            _piped(settings, shown)


def _ticks(settings: TopSettings) -> Iterator[float]:
    """When to read next, on the monotonic clock, as often as was asked for.

    A tick that the machine was too busy for is left out.
    """
    at = time.monotonic()
    for number in itertools.count():
        if number == settings.count:
            return
        at = max(at + settings.interval, time.monotonic())
        yield at


def _piped(settings: TopSettings, shown: Sequence[Shown]) -> None:
    controls = Controls(1, lambda text: "", totals=settings.totals, sort=settings.sort)
    for at in _ticks(settings):
        time.sleep(max(0.0, at - time.monotonic()))
        now = datetime.now(UTC)
        for one in shown:
            one.read()
            if settings.output == "json":
                click.echo(json.dumps(report.to_json(one.history, one.facts(now))))
            else:
                view = one.view(controls, f"{now:%H:%M:%S} UTC")
                click.echo(report.text(view, _TEXT_WIDTH, settings.rows), nl=False)


def _interactive(settings: TopSettings, shown: Sequence[Shown]) -> None:
    from xdpdns.top.terminal import Terminal

    def apply(text: str) -> str:
        try:
            for one in shown:
                one.set_filter(text)
        except SettingsError as error:
            return str(error)
        return ""

    controls = Controls(
        len(shown), apply, totals=settings.totals, sort=settings.sort, filter=settings.filter
    )
    with Terminal() as terminal:

        def paint() -> tuple[int, int]:
            size = terminal.size
            one = shown[controls.shown]
            one.hold(controls.frozen)
            view = one.view(controls, time.strftime("%H:%M:%S"))
            terminal.show(frame(view, *size, ascii_only=terminal.ascii_only))
            return size

        for at in _ticks(settings):
            painted = paint()
            while time.monotonic() < at:
                pressed = terminal.wait(at)
                for key in pressed:
                    controls.press(key)
                if controls.done:
                    return
                if pressed or terminal.size != painted:
                    painted = paint()
            for one in shown:
                one.try_read()
