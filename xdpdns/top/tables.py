"""The tables: what each is made from, and its rows with rate, share and change.

A further one is a line in TABLES, given that sums.counters() or the rows have its source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from xdpdns.top.history import History
from xdpdns.top.sums import MESSAGES, Counts, Source

Sort = Literal["rate", "name", "change"]
Base = Literal["previous", "average"]
_Any = Mapping[Source, Counts]


@dataclass(frozen=True, slots=True)
class Table:
    """A table over all values of something.

    `values` takes the counts out of sums; None where the program doesn't count that. Shares are of
    what `of` counts: values that are not `disjoint`, of flags, don't add up to it. What
    is `ascending` (a histogram) stays in its order, however much there is of each.
    """

    name: str
    title: str
    values: Callable[[_Any], Counts | None]
    of: Source
    ascending: bool = False
    disjoint: bool = True


def _by(
    name: str,
    title: str,
    side: str = "queries",
    of: str = MESSAGES,
    *,
    ascending: bool = False,
    disjoint: bool = True,
) -> Table:
    return Table(name, title, lambda sums: sums.get((side, name)), (side, of), ascending, disjoint)


def _bits(name: str, title: str, side: str, *labels: str) -> Table:
    """Labels that are 0 or 1: the messages that have each set."""

    def values(sums: _Any) -> Counts | None:
        counted = [label for label in labels if (side, label) in sums]
        if not counted:
            return None
        return {label.upper(): sums[side, label].get("1", 0) for label in counted}

    return Table(name, title, values, (side, MESSAGES), disjoint=False)


TABLES = (
    _by("qtype", "types"),
    _by("tld", "TLDs"),
    _by("edns", "EDNS sizes"),
    _by("rcode", "rcodes", "responses"),
    _by("duration", "answer times", "responses", of="duration", ascending=True),
    _by("outcome", "outcomes", of="outcome"),
    _bits("bits", "flags", "queries", "do", "ad", "qr"),
    _by("af", "family"),
    _by("proto", "transport"),
    _bits("response_bits", "answer flags", "responses", "aa", "tc", "ad", "do"),
    _by("timed", "timed", "responses", of="duration"),
    _by("flag", "header flags", of="opcode", disjoint=False),
    _by("opcode", "opcodes", of="opcode"),
    _by("class", "classes", of="class"),
)
"""In the order of their importance: a small screen shows the first ones."""


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a table.

    Attributes:
        value: its name.
        total: all that was ever counted of it.
        count: what was counted in the last interval.
        rate: the same a second.
        share: its part of the last interval's whole, 0 to 1; None while the whole is 0.
        total_share: its part of everything that was counted.
        changes: by the base that is compared with, the change of the rate as a fraction (0.5: half
            as much again); None where there is no such base, infinite where it was 0.
    """

    value: str
    total: int
    count: int
    rate: float
    share: float | None
    total_share: float | None
    changes: dict[Base, float | None]


@dataclass(frozen=True, slots=True)
class Filled:
    """A table with its rows: every value that was ever counted, unsorted."""

    table: Table
    rows: list[Row]


def fill(history: History, tables: tuple[Table, ...] = TABLES) -> list[Filled]:
    """The tables that are counted, at the end of the history."""
    last = history.intervals[-1] if history.intervals else None
    earlier = history.intervals[-2] if len(history.intervals) > 1 else None
    window, window_seconds = history.before_last()
    bases: dict[Base, tuple[_Any, float]] = {
        "previous": (earlier.sums, earlier.seconds) if earlier else ({}, 0.0),
        "average": (window, window_seconds),
    }
    filled = []
    for table in tables:
        totals = table.values(history.totals)
        if totals is None:
            continue
        counts = (table.values(last.sums) if last else None) or {}
        seconds = last.seconds if last else 0.0
        whole = last.sums.total(table.of) if last else 0
        everything = history.totals.total(table.of)
        before = {
            base: ((table.values(sums) or {}), seconds) for base, (sums, seconds) in bases.items()
        }
        rows = []
        for value, total in totals.items():
            if not total:
                continue
            count = counts.get(value, 0)
            rate = count / seconds if seconds else 0.0
            rows.append(
                Row(
                    value=value,
                    total=total,
                    count=count,
                    rate=rate,
                    share=count / whole if whole else None,
                    total_share=total / everything if everything else None,
                    changes={
                        base: _change(rate, values.get(value, 0), base_seconds)
                        for base, (values, base_seconds) in before.items()
                    },
                )
            )
        filled.append(Filled(table, rows))
    return filled


def _change(rate: float, count: int, seconds: float) -> float | None:
    if not seconds:
        return None
    if not count:
        return float("inf") if rate else None
    return rate / (count / seconds) - 1


def ordered(filled: Filled, sort: Sort, base: Base, *, totals: bool = False) -> list[Row]:
    """Largest first by rate (or total), by name, or by the size of the change."""
    rows = filled.rows
    if filled.table.ascending and sort != "change":
        return rows
    if sort == "name":
        return sorted(rows, key=lambda row: row.value)

    def size(row: Row) -> tuple[float, float, int]:
        change = row.changes[base]
        first = (row.total if totals else row.count) if sort == "rate" else abs(change or 0)
        return first, row.count, row.total

    return sorted(sorted(rows, key=lambda row: row.value), key=size, reverse=True)
