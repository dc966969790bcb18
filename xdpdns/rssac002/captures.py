"""The measures of every UTC day that captures hold, by the packets' time stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from os import PathLike
from pathlib import Path

from xdpdns.capture import Batch, Capture
from xdpdns.errors import CaptureError
from xdpdns.loader import LoadedProgram
from xdpdns.replay import Progress, Reading, Runner
from xdpdns.rssac002.measures import Measures, added, measure

DAY = 86_400 * 1_000_000_000
"""Nanoseconds; there are no leap seconds in a capture's time."""

_OPEN = 3
"""Days whose programs are loaded at once: several CPUs or files go back and forth at midnight."""

Load = Callable[[], tuple[LoadedProgram, LoadedProgram]]
"""Loads the programs for queries and responses anew, their counters zero."""


@dataclass
class Days:
    """What captures hold of each day.

    `untimed` packets have no time stamp, and are in no day. `warnings` has an error for each file
    that was not readable to its end.
    """

    days: dict[date, Measures] = field(default_factory=dict)
    untimed: int = 0
    warnings: tuple[CaptureError, ...] = ()


def by_day(
    paths: Sequence[str | PathLike[str]],
    load: Load,
    progress: Progress | None = None,
    only: date | None = None,
) -> Days:
    """Run the packets of each day, or those of `only` one, through programs of their own.

    A message that came in two TCP segments, one on each side of midnight, is not put together.
    Raises as replay() does.
    """
    reading = Reading([Path(path) for path in paths], progress)
    found = Days()
    with ExitStack() as stack:
        opened: dict[date, _Open] = {}

        def finish(day: date) -> None:
            measures = opened.pop(day).finish()
            before = found.days.get(day)
            found.days[day] = measures if before is None else added(before, measures)

        for path in reading.files:
            with Capture(path) as capture:
                for batch in reading.batches(capture):
                    for day, part in _split(batch):
                        if day is None:
                            found.untimed += len(part)
                        elif only in (None, day):
                            if day not in opened:
                                if len(opened) == _OPEN:
                                    finish(next(iter(opened)))
                                opened[day] = stack.enter_context(closing(_Open(load())))
                            opened[day].runner.run(part)
        for day in list(opened):
            finish(day)
    found.warnings = tuple(reading.warnings)
    return found


class _Open:
    """The programs of one day while its packets come."""

    def __init__(self, programs: tuple[LoadedProgram, LoadedProgram]) -> None:
        self._programs = programs
        self.runner = Runner(*(program.fd for program in programs))

    def finish(self) -> Measures:
        """The measures; ends it."""
        queries, responses = (program.snapshot() for program in self._programs)
        self.close()
        return measure(queries, responses)

    def close(self) -> None:
        for program in self._programs:
            program.close()


def _split(batch: Batch) -> Iterator[tuple[date | None, Batch]]:
    """Runs of packets of one day; None for those without time."""
    days = [time // DAY if time else -1 for time in batch.timestamps]
    at = 0
    for day, run in groupby(days):
        end = at + sum(1 for _ in run)
        part = Batch(
            batch.buffer,
            batch.linktype,
            batch.offsets[at:end],
            batch.lengths[at:end],
            batch.wire_lengths[at:end],
            batch.timestamps[at:end],
        )
        yield (None if day < 0 else datetime.fromtimestamp(day * 86_400, UTC).date()), part
        at = end
