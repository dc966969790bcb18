"""What a benchmark hands back: tables of figures that own up to their spread.

A machine is never as quiet as one would like. So what is compared takes turns, round by round; a
ratio is taken within each round, and the median of the rounds is quoted beside half the distance
of their quartiles. Where that spread is wide, it is all that is printed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_SPREAD = 0.10
"""A figure whose rounds lie further apart than this, as a share of the median, is not printed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One quantity over the rounds, in `unit`."""

    rounds: tuple[float, ...]
    unit: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a share of the median."""
        if not self.median:
            return 0.0
        low, _, high = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return (high - low) / 2 / abs(self.median)

    @property
    def usable(self) -> bool:
        return self.spread <= MAX_SPREAD

    def __truediv__(self, other: Sample) -> Sample:
        """The ratio of two quantities, taken round by round."""
        return Sample(tuple(a / b for a, b in zip(self.rounds, other.rounds, strict=True)), "x")

    def __add__(self, other: Sample) -> Sample:
        return Sample(
            tuple(a + b for a, b in zip(self.rounds, other.rounds, strict=True)), self.unit
        )

    def __str__(self) -> str:
        if not self.usable:
            return f"spread too wide ({self.spread:.0%})"
        unit = self.unit if self.unit in ("", "x", "%") else f" {self.unit}"
        return f"{number(self.median)}{unit} ±{self.spread:.1%}"


Cell = str | int | float | Sample


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of figures below their headings; `note` says how to read them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __str__(self) -> str:
        cells = [self.columns, *(tuple(map(text, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [self.title, "-" * len(self.title)]
        lines += [
            "  ".join(
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, *([self.note] if self.note else []), ""])

    def to_json(self) -> dict[str, Any]:
        rows = [dict(zip(self.columns, map(plain, row), strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "note": self.note}


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def text(cell: Cell) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    return number(cell) if isinstance(cell, float) else str(cell)


def plain(cell: Cell) -> Any:
    """A cell for JSON: a sample with all of its rounds, so that others can judge it."""
    if not isinstance(cell, Sample):
        return cell
    return {
        "median": cell.median,
        "spread": cell.spread,
        "unit": cell.unit,
        "too_wide": not cell.usable,
        "rounds": list(cell.rounds),
    }


def take_turns(
    measures: Mapping[str, Callable[[], float]], rounds: int, unit: str = "", warm_up: int = 1
) -> dict[str, Sample]:
    """Take one figure of each in every round; the first `warm_up` rounds are thrown away."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for at in range(-warm_up, rounds):
        for name, measure in measures.items():
            figure = measure()
            if at >= 0:
                taken[name].append(figure)
    return {name: Sample(tuple(values), unit) for name, values in taken.items()}


def cpu_seconds(work: Callable[[], object]) -> float:
    """What the calling thread's CPU spent on it: others who run meanwhile are not in it."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def verdict(sample: Sample, goal: float, *, at_least: bool = False) -> str:
    """The goal and whether the median reaches it, for a table's last column."""
    if not sample.usable:
        return f"{'>=' if at_least else '<='} {goal:g}: ?"
    reached = sample.median >= goal if at_least else sample.median <= goal
    return f"{'>=' if at_least else '<='} {goal:g}: {'yes' if reached else 'NO'}"


def middle(values: Sequence[float], unit: str = "") -> Sample:
    return Sample(tuple(values), unit)
