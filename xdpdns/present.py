"""Counters for people: tables and progress bars in the terminal, by rich."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.table import Table

from xdpdns.exposition import render
from xdpdns.families import InterfaceState, families
from xdpdns.snapshot import Snapshot

TOP = 15
"""Lines of a table of values; the rest is summed in one line."""


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes on the standard error, if that is a terminal: call it with done and total."""
    console = Console(stderr=True)
    bar = Progress(
        what,
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def prometheus(snapshot: Snapshot, interface: str) -> str:
    """The counters in the text format 0.0.4, as if they were an interface's of that name."""
    failures: list[Exception] = []
    state = InterfaceState(interface, up=True, mode="replay", snapshot=snapshot)
    text = render(
        families([state], lambda _name, error: failures.append(error)),
        False,
        lambda _name, error: failures.append(error),
    )
    if failures:
        raise failures[0]
    return text.decode()


def counters(snapshot: Snapshot, packets: int) -> None:
    """Print a table of outcomes and one of each dimension."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    outcomes = {name: count for name, count in snapshot.outcomes.items() if count}
    console.print(_table(f"{packets:,} packets", "outcome", Counter(outcomes)))
    queries = sum(snapshot.queries.values())
    for index, name in enumerate(snapshot.dimensions):
        values: Counter[str] = Counter()
        for labels, count in snapshot.queries.items():
            values[labels[index]] += count
        if values:
            console.print(_table(f"{queries:,} queries by {name}", name, values))
    lost = sum(snapshot.overflow.values())
    if lost or snapshot.folded:
        console.print(
            f"{snapshot.folded:,} queries were folded into ~other and {lost:,} are in no row: "
            "raise --max-series.",
            style="yellow",
        )


def _table(title: str, column: str, values: Counter[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(column, min_width=24)
    table.add_column("count", justify="right", min_width=12)
    table.add_column("share", justify="right")
    table.add_column("", no_wrap=True)
    total = sum(values.values()) or 1
    top = values.most_common(TOP)
    rest = total - sum(count for _, count in top)
    if len(values) > TOP:
        top.append((f"({len(values) - TOP} more)", rest))
    for value, count in top:
        share = count / total
        table.add_row(value, f"{count:,}", f"{share:7.2%}", "█" * round(share * 30))
    return table
