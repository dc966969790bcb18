"""For a pipe: the same tables as text, or as one JSON object a line."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf
from typing import Any

from xdpdns.top.history import History
from xdpdns.top.screen import View, listing
from xdpdns.top.sums import MESSAGES
from xdpdns.top.tables import Filled, Row, fill


def text(view: View, width: int, rows: int, *, ascii_only: bool = False) -> str:
    """The head and every table with its first `rows` rows, ending with an empty line."""
    lines = [line.plain.rstrip() for line in listing(view, width, rows, ascii_only=ascii_only)]
    return "\n".join([*lines, "", ""])


def to_json(history: History, facts: Mapping[str, Any]) -> dict[str, Any]:
    """An object with `facts` first, then the last interval; described in the README."""
    return {
        **facts,
        "seconds": round(history.intervals[-1].seconds, 6) if history.intervals else None,
        "window_seconds": round(history.seconds, 6),
        "filter": history.filter.text,
        "sides": {side: _side(history, side) for side, _ in _sides(history)},
        "tables": [_table(one) for one in fill(history)],
    }


def _sides(history: History) -> list[tuple[str, str]]:
    return [source for source in history.totals if source[1] == MESSAGES]


def _side(history: History, side: str) -> dict[str, Any]:
    source = (side, MESSAGES)
    overflow = history.totals.get((side, "overflow"), {})
    return {
        "total": history.totals.total(source),
        "rate": _rounded(history.rate(source)),
        "average": _rounded(history.average(source)),
        "in_no_row": sum(count for reason, count in overflow.items() if reason != "folded"),
    }


def _table(one: Filled) -> dict[str, Any]:
    side, _ = one.table.of
    return {
        "name": one.table.name,
        "side": side,
        "rows": [_row(row) for row in sorted(one.rows, key=lambda row: (-row.total, row.value))],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "value": row.value,
        "total": row.total,
        "total_share": _rounded(row.total_share),
        "count": row.count,
        "rate": _rounded(row.rate),
        "share": _rounded(row.share),
        **{f"change_{base}": _rounded(change) for base, change in row.changes.items()},
    }


def _rounded(value: float | None) -> float | None:
    """JSON has no infinity: a change from nothing is null, and its `total` equals its `count`."""
    return None if value is None or isinf(value) else round(value, 6)
