"""Numbers and bars as text, for people: short, aligned by whoever places them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf

_BARS, _ASCII_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"


def sparkline(values: Sequence[float], top: float, ascii_only: bool) -> str:
    """A bar for each value, `top` the highest; anything above nothing is seen."""
    bars = _ASCII_BARS if ascii_only else _BARS
    steps = len(bars) - 1
    return "".join(
        bars[max(1, min(steps, round(value / top * steps)))] if value > 0 else bars[0]
        for value in values
    )


def number(value: float | None) -> str:
    """A rate in at most eight columns: `0.4`, `12`, `123,456`, `1.23M`."""
    if value is None:
        return "-"
    if 0 < value < 9.95 and value != int(value):
        return f"{value:.1f}"
    if value < 999_999.5:
        return f"{value:,.0f}"
    return f"{value / 1e6:.2f}M" if value < 1e9 else f"{value / 1e9:.2f}G"


def count(value: int) -> str:
    """A count: exact below 100 million."""
    return f"{value:,}" if value < 100_000_000 else number(float(value))


def percent(share: float | None) -> str:
    """A share of 0 to 1; nothing where there is no whole."""
    return "" if share is None else f"{share:.1%}"


def change_text(change: float | None) -> str:
    """A change as a fraction: `+12%`, `-100%`, `=`, `x25` from ten times on, `new` from nothing."""
    if change is None:
        return ""
    if isinf(change):
        return "new"
    if abs(change) < 0.005:
        return "="
    return f"{change:+.0%}" if change < 9.995 else f"x{min(999, change + 1):.0f}"


def change_style(change: float | None) -> str:
    """Its colour: only what changes by a fifth has one."""
    if change is None or abs(change) < 0.2:
        return ""
    return "yellow" if change > 0 else "blue"


def duration(seconds: float) -> str:
    """`59 s`, `4 min 59 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"
