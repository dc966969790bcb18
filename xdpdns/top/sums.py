"""Rows and counters to sums that can be added and subtracted: the arithmetic of the tables.

A :class:`Sums` has for each source (a label of the rows, or a counter beside them) the counts of
its values. It is linear: the sums of a difference are the difference of the sums, so the history
keeps small differences, and only rows that changed are ever looked at again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from xdpdns.snapshot import Snapshot, Timing, growth
from xdpdns.top.filters import Filter, Labels

Counts = Mapping[str, int]
Source = tuple[str, str]
"""What is counted (`queries` or `responses`), and by what: a label, or one of those below."""

MESSAGES = "messages"
"""The source of a single value: all rows that the filter lets through."""


class Sums(dict[Source, dict[str, int]]):
    """Counts by source and value; a source that isn't there isn't counted at all."""

    def add(self, other: Mapping[Source, Counts], sign: int = 1) -> None:
        """Add (or with -1 subtract) in place."""
        for source, counts in other.items():
            own = self.setdefault(source, {})
            for value, count in counts.items():
                own[value] = own.get(value, 0) + sign * count

    def copy(self) -> Sums:
        """One that can be changed by itself."""
        return Sums({source: dict(counts) for source, counts in self.items()})

    def total(self, source: Source) -> int:
        """The sum over the values; 0 for what isn't there."""
        return sum(self.get(source, {}).values())


@dataclass(frozen=True, slots=True)
class Reading:
    """What the programs of an interface had counted at a time (seconds, any steady clock).

    `programs` are the kernel's ids of them: other ones count from zero. There is a Snapshot for
    each side that is counted.
    """

    time: float
    programs: tuple[int, ...]
    sides: Mapping[str, Snapshot]


@dataclass(frozen=True, slots=True)
class Changes:
    """What one side counted between two readings: the rows that changed, and the counters."""

    dimensions: tuple[str, ...]
    rows: Mapping[Labels, int]
    counters: Mapping[str, Counts]


def sums(changes: Mapping[str, Changes], wanted: Filter) -> Sums:
    """The sums of what a filter lets through; only rows can be filtered, so counters go with it."""
    made = Sums()
    for side, changed in changes.items():
        if not wanted.fits(changed.dimensions):
            continue
        for name, counts in _by_label(changed, wanted).items():
            made[side, name] = counts
        if not wanted:
            for name, counted in changed.counters.items():
                made[side, name] = dict(counted)
    return made


def _by_label(changed: Changes, wanted: Filter) -> dict[str, dict[str, int]]:
    rows = changed.rows
    if wanted:
        lets_through = wanted.test(changed.dimensions)
        rows = {labels: count for labels, count in rows.items() if lets_through(labels)}
    made: dict[str, dict[str, int]] = {MESSAGES: {"": sum(rows.values())}}
    # A label at a time: of many rows that is twice as fast as a row at a time.
    for label, values in zip(changed.dimensions, zip(*rows, strict=True), strict=False):
        column: defaultdict[str, int] = defaultdict(int)
        for value, count in zip(values, rows.values(), strict=True):
            column[value] += count
        made[label] = dict(column)
    return {**{label: {} for label in changed.dimensions}, **made}


def whole(reading: Reading) -> dict[str, Changes]:
    """Everything that a reading has, as changes since nothing was counted."""
    return {
        side: Changes(snapshot.dimensions, snapshot.queries, counters(snapshot))
        for side, snapshot in reading.sides.items()
    }


def difference(now: Reading, before: Reading) -> dict[str, Changes]:
    """What was counted between two readings of the same programs."""
    made = {}
    for side, snapshot in now.sides.items():
        old = before.sides[side]
        earlier = counters(old)
        counted = {
            name: {value: count - earlier[name].get(value, 0) for value, count in counts.items()}
            for name, counts in counters(snapshot).items()
        }
        rows = growth(snapshot.queries, old.queries)
        made[side] = Changes(snapshot.dimensions, rows, counted)
    return made


def counters(snapshot: Snapshot) -> dict[str, Counts]:
    """What is counted beside the rows, by the name of its source."""
    marginals = snapshot.marginals
    timed = {} if snapshot.timing is None else _timed(snapshot.timing)
    return {
        **timed,
        "outcome": snapshot.outcomes,
        "opcode": marginals.opcodes,
        "class": marginals.classes,
        "flag": marginals.flags,
        "overflow": {**snapshot.overflow, "folded": snapshot.folded},
    }


def _timed(timing: Timing) -> dict[str, Counts]:
    """Response times in the kernel's buckets, all families and transports together."""
    durations: dict[str, int] = {}
    for histogram in timing.durations.values():
        edges = [*(f"< {_time(bound)}" for bound in histogram.bounds), "longer"]
        for edge, count in zip(edges, histogram.counts, strict=True):
            durations[edge] = durations.get(edge, 0) + count
    # who still waits is no counter: it goes down
    fates = {
        "answered": timing.matched,
        "expired": timing.expired,
        "displaced": timing.displaced,
        "sent again": timing.duplicate,
        "unasked": timing.orphan,
    }
    return {"duration": durations, "timed": fates}


def _time(nanoseconds: int) -> str:
    for size, unit in ((10**9, "s"), (10**6, "ms")):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds / 1000:.3g} us"
