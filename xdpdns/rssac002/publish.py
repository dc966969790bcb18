"""What `xdpdns report rssac002` does: from captures or counters to files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from xdpdns import kernel, present, roles
from xdpdns.dump.files import replace_file
from xdpdns.loader import LoadedProgram
from xdpdns.netns import enter, in_thread
from xdpdns.program import Compilation
from xdpdns.rssac002 import captures, counters
from xdpdns.rssac002.measures import (
    METRICS,
    QUERY_LABELS,
    RESPONSE_LABELS,
    Measures,
    file_name,
    to_yaml,
)
from xdpdns.settings import ProgramSettings

log = logging.getLogger(__name__)

_ROWS = 1024
"""More than the labels can make: 4 of families and transports, by 25 response codes."""


@dataclass
class Found:
    """The days to write; `done` is to be called when they are written."""

    days: dict[date, Measures]
    warnings: Sequence[object] = ()
    done: Callable[[], None] = field(default=lambda: None)


def from_captures(paths: Sequence[str], ports: tuple[int, ...], only: date | None) -> Found:
    """The days that captures hold; raises as replay() does."""
    kernel.require_root()
    queries = ProgramSettings(ports=ports, labels=QUERY_LABELS, max_series=_ROWS)
    # Both at XDP: at TC the kernel makes a socket buffer of each packet first.
    chosen = [
        replace(side, hook="xdp")
        for side in roles.programs("server", queries, response_labels=RESPONSE_LABELS).values()
    ]
    with ExitStack() as stack:
        running = [stack.enter_context(closing(Compilation(one))) for one in chosen]
        compiled = [one.result() for one in running]

        def load() -> tuple[LoadedProgram, LoadedProgram]:
            first = LoadedProgram(compiled[0], chosen[0])
            try:
                return first, LoadedProgram(compiled[1], chosen[1])
            except BaseException:
                first.close()
                raise

        advance = stack.enter_context(present.progress("Replaying"))
        found = captures.by_day(paths, load, advance, only)
    warnings: list[object] = [*found.warnings]
    if found.untimed:
        warnings.append(f"{found.untimed} packets have no time stamp and are in no day.")
    if not found.days:
        warnings.append(f"There is no packet {f'of {only} ' if only else ''}to report.")
    return Found(found.days, warnings)


def from_counters(names: Sequence[str], state: Path, netns: str | None) -> Found:
    """The day that has ended a moment ago, if the counters were noted when it began.

    They are noted anew in `state` for the day that begins: before an error is raised since there
    is no whole day, and else by `done`, so that a day that could not be written can be asked for
    again.

    Raises:
        ReportError: this is not a moment after midnight, or there is no whole day.
        NotRunningError, UnreadableError, AttachError, MissingNeedError: as counters.read().
    """
    kernel.require_root()
    before = counters.load(state)
    after = counters.read(names) if netns is None else in_thread(lambda: _inside(netns, names))
    begun = counters.day_begun(after.moment)
    if before is None:
        counters.save(state, after)
        log.info("The counters are noted; %s can be reported when it has ended.", begun)
        return Found({})
    if before.moment.date() == begun:
        log.info("The counters were noted at %s UTC already.", f"{before.moment:%H:%M:%S}")
        return Found({})
    try:
        day, measures = counters.day(before, after)
    except counters.ReportError:
        counters.save(state, after)
        raise
    return Found({day: measures}, done=lambda: counters.save(state, after))


def write(folder: Path, service: str, day: date, measures: Measures) -> list[Path]:
    """Write the files of a day, each in place of one that is there; their paths.

    Raises:
        WriteError: what the system said.
    """
    paths = []
    for metric in METRICS:
        path = folder / file_name(metric, service, day)
        replace_file(path, to_yaml(metric, service, day, measures).encode())
        paths.append(path)
    return paths


def _inside(netns: str, names: Sequence[str]) -> counters.Reading:
    enter(netns)
    return counters.read(names)
