"""What a replay counted, for people and for Prometheus."""

from __future__ import annotations

import sys
from collections import Counter

from rich.console import Console
from rich.table import Table

from xdpdns.exposition import render
from xdpdns.families import InterfaceState, families
from xdpdns.replay import ReplayResult
from xdpdns.roles import WAYS
from xdpdns.snapshot import Snapshot, Tcp, Timing
from xdpdns.vocab import COUNTED, message_outcomes

_BAD = {*message_outcomes()} - {*COUNTED.values(), "opcode", "not_response"}

TOP = 15
"""Lines of a table of values; the rest is summed in one line."""


def prometheus(queries: Snapshot, interface: str, responses: Snapshot | None = None) -> str:
    """The counters in the text format 0.0.4, as if they were those of a server's interface."""
    failures: list[Exception] = []
    states = [
        InterfaceState(
            interface,
            up=True,
            mode="replay",
            snapshot=snapshot,
            direction=way.direction,
            side=way.side,
        )
        for way, snapshot in zip(WAYS["server"], (queries, responses), strict=True)
        if snapshot is not None
    ]
    text = render(
        families(states, lambda _name, error: failures.append(error)),
        False,
        lambda _name, error: failures.append(error),
    )
    if failures:
        raise failures[0]
    return text.decode()


def show(result: ReplayResult) -> None:
    """Print the sums, then tables of outcomes and dimensions, of queries and of responses."""
    # Where nobody sets a width (a pipe, a log), lines may be as long as they need.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(f"{result.packets:,} packets, in which there are:")
    console.print(_sums(result))
    console.print()
    if result.responses is not None:
        console.print(
            "Each packet is looked at for queries, where a response is one of `other_port`, and "
            "then for responses, where a query is.\n"
        )
    _counters(console, result.snapshot, "looked at for queries", "queries")
    if result.responses is not None:
        _counters(console, result.responses, "looked at for responses", "responses")
        if result.responses.timing is not None:
            _durations(console, result.responses.timing)


def _sums(result: ReplayResult) -> Table:
    """How many messages of each kind there are, over UDP and within TCP segments."""
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=24)
    table.add_column(justify="right", min_width=12)
    bad = 0
    for side, snapshot in (("queries", result.snapshot), ("responses", result.responses)):
        if snapshot is None:
            continue
        counted = COUNTED[side]
        udp, tcp = snapshot.outcomes[counted], 0
        bad += sum(snapshot.outcomes.get(name, 0) for name in _BAD)
        if snapshot.tcp is not None:
            tcp = snapshot.tcp.messages[counted]
            bad += sum(snapshot.tcp.messages.get(name, 0) for name in _BAD)
        table.add_row(side, f"{udp + tcp:,}", f"{udp:,} over UDP, {tcp:,} over TCP")
    table.add_row("malformed messages", f"{bad:,}", "to or from the watched ports")
    return table


def _counters(console: Console, snapshot: Snapshot, title: str, side: str) -> None:
    outcomes = {name: count for name, count in snapshot.outcomes.items() if count}
    console.print(_table(title, "outcome", Counter(outcomes)))
    if snapshot.tcp is not None:
        _tcp(console, snapshot.tcp, side)
    counted = sum(snapshot.queries.values())
    alike = []
    for index, name in enumerate(snapshot.dimensions):
        values: Counter[str] = Counter()
        for labels, count in snapshot.queries.items():
            values[labels[index]] += count
        if len(values) == 1:
            alike += [f"{name}={value}" for value in values]
        elif values:
            console.print(_table(f"{counted:,} {side} by {name}", name, values))
    if alike:
        console.print(f"All {counted:,} {side} have {', '.join(alike)}.")
    lost = sum(snapshot.overflow.values())
    if lost or snapshot.folded:
        console.print(
            f"{snapshot.folded:,} {side} were folded into ~other and {lost:,} are in no row: "
            "raise --max-series.",
            style="yellow",
        )


def _tcp(console: Console, tcp: Tcp, side: str) -> None:
    """The segments, if there are any, and the messages in them."""
    segments = Counter({name: count for name, count in tcp.segments.items() if count})
    if not segments:
        return
    console.print(_table(f"{segments.total():,} TCP segments", "segment", segments))
    whole, rest = sum(tcp.messages.values()), tcp.split + tcp.unread
    console.print(
        f"{whole:,} messages lie within a segment, {tcp.messages[COUNTED[side]]:,} of them "
        f"{side}; {rest:,} do not, or were too many for theirs."
    )


def _durations(console: Console, timing: Timing) -> None:
    """What became of the timed queries, and how soon they were answered."""
    results = ("matched", "expired", "displaced", "waiting")
    pairing = Counter({name: getattr(timing, name) for name in results if getattr(timing, name)})
    timed = f"{timing.tracked:,} timed queries (one in {timing.sample})"
    console.print(_table(timed, "result", pairing))
    console.print(
        f"{timing.duplicate:,} queries came again while they waited; no query waited for "
        f"{timing.orphan:,} responses."
    )
    for (af, proto), histogram in timing.durations.items():
        edges = [*(f"below {_seconds(bound)}" for bound in histogram.bounds), "longer"]
        times = {edge: n for edge, n in zip(edges, histogram.counts, strict=True) if n}
        if times:
            title = f"{histogram.count:,} response times over {af} and {proto}"
            console.print(_table(title, "time", Counter(times), by_count=False))


def _seconds(nanoseconds: int) -> str:
    """A time in the unit in which it has one to three places before the point."""
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds / 1e3:.3g} us"


def _table(title: str, column: str, values: Counter[str], *, by_count: bool = True) -> Table:
    """Values with their shares: the most frequent first, or all in their own order."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(column, min_width=24)
    table.add_column("count", justify="right", min_width=12)
    table.add_column("share", justify="right")
    table.add_column("", no_wrap=True)
    total = sum(values.values()) or 1
    top = values.most_common(TOP) if by_count else list(values.items())
    rest = total - sum(count for _, count in top)
    if len(values) > len(top):
        top.append((f"({len(values) - len(top)} more)", rest))
    for value, count in top:
        share = count / total
        table.add_row(value, f"{count:,}", f"{share:7.2%}", "█" * round(share * 30))
    return table
