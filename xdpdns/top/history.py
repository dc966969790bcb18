"""The last minutes as differences, for rates, averages and the sparkline."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from itertools import islice

from xdpdns.top.filters import Filter
from xdpdns.top.sums import Changes, Counts, Reading, Source, Sums, difference, sums, whole

WINDOW = 300
"""Intervals that are remembered: five minutes at one a second."""
_ROWS_KEPT = 300_000
"""Changed rows that are kept, for another filter; some 100 bytes each."""


@dataclass(slots=True)
class Interval:
    """What was counted in `seconds`; `changes` are forgotten where there are very many."""

    seconds: float
    sums: Sums
    changes: Mapping[str, Changes] | None

    @property
    def rows(self) -> int:
        """How many rows it keeps."""
        return sum(len(one.rows) for one in (self.changes or {}).values())


class History:
    """Readings of the same programs, one after the other, as a filter sees them."""

    def __init__(self, window: int = WINDOW) -> None:
        self.filter = Filter()
        self.totals = Sums()
        """Everything that was ever counted, also before the first reading."""
        self.intervals: deque[Interval] = deque()
        self.count = 0
        """Intervals so far, also those that the window has left behind."""
        self._window = window
        self._last: Reading | None = None
        self._average = Sums()
        self._rows = 0

    @property
    def last(self) -> Reading | None:
        """The newest reading."""
        return self._last

    def add(self, reading: Reading) -> None:
        """Go on with a newer reading; one of other programs begins anew."""
        last = self._last
        if last is None or last.programs != reading.programs:
            self._begin(reading)
            return
        changes = difference(reading, last)
        made = sums(changes, self.filter)
        interval = Interval(reading.time - last.time, made, changes)
        self._last = reading
        self.totals.add(made)
        self._average.add(made)
        self.intervals.append(interval)
        self.count += 1
        self._rows += interval.rows
        self._forget()

    def copy(self) -> History:
        """One that stands still while this one goes on."""
        made = History(self._window)
        made.filter, made.count = self.filter, self.count
        made.totals, made._average = self.totals.copy(), self._average.copy()
        made.intervals = deque(map(copy, self.intervals))
        made._last, made._rows = self._last, self._rows
        return made

    def set_filter(self, wanted: Filter) -> None:
        """Look at the past through another filter, as far back as its rows were kept."""
        self.filter = wanted
        if self._last is None:
            return
        while self.intervals and self.intervals[0].changes is None:
            self.intervals.popleft()
        self.totals = sums(whole(self._last), wanted)
        self._average = Sums()
        for interval in self.intervals:
            interval.sums = sums(interval.changes or {}, wanted)
            self._average.add(interval.sums)

    def rate(self, source: Source, back: int = 0) -> float | None:
        """A second's count in the last interval, or `back` before it; None if there is none."""
        if back >= len(self.intervals):
            return None
        interval = self.intervals[-1 - back]
        return interval.sums.total(source) / interval.seconds

    def average(self, source: Source) -> float | None:
        """A second's count over the window; None before the first interval."""
        seconds = self.seconds
        return self._average.total(source) / seconds if seconds else None

    @property
    def seconds(self) -> float:
        """How long the window is so far."""
        return sum(interval.seconds for interval in self.intervals)

    def before_last(self) -> tuple[Mapping[Source, Counts], float]:
        """The sums of the window but for its last interval, and their seconds."""
        if len(self.intervals) < 2:
            return {}, 0.0
        rest = self._average.copy()
        rest.add(self.intervals[-1].sums, -1)
        return rest, self.seconds - self.intervals[-1].seconds

    def rates(self, source: Source, points: int) -> list[float]:
        """The window as so many rates or fewer, oldest first, each over as many intervals.

        The number of intervals of a point grows with the window, and its edges stay where they
        are, so that a picture of it moves on steadily.
        """
        if points < 1 or not self.intervals:
            return []
        each = -(-len(self.intervals) // points)
        first = self.count - len(self.intervals)
        groups: dict[int, tuple[float, float]] = {}
        for number, interval in enumerate(self.intervals, first):
            count, seconds = groups.get(number // each, (0.0, 0.0))
            groups[number // each] = (
                count + interval.sums.total(source),
                seconds + interval.seconds,
            )
        made = [count / seconds for count, seconds in groups.values()]
        return made[-points:]

    def _begin(self, reading: Reading) -> None:
        self._last = reading
        self.intervals.clear()
        self.count = self._rows = 0
        self.totals = sums(whole(reading), self.filter)
        self._average = Sums()

    def _forget(self) -> None:
        while len(self.intervals) > self._window:
            gone = self.intervals.popleft()
            self._average.add(gone.sums, -1)
            self._rows -= gone.rows
        for interval in islice(self.intervals, len(self.intervals) - 1):
            if self._rows <= _ROWS_KEPT:
                break
            self._rows -= interval.rows
            interval.changes = None
