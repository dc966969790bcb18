"""A sample for people: tables on the standard output, and a bar on the error while it is taken."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from xdpdns.sample.counts import Exchange, Side, Way
from xdpdns.sample.take import Sample, SampleSettings, Watch
from xdpdns.sample.verdict import Verdict

_WIDTH = 120  # in a pipe, where nobody sets one
_STATES = {"yes": "[bold red]yes[/]", "no": "[green]no[/]", "insufficient": "[dim]insufficient[/]"}

_SENSES = {"below": "<", "above": ">", "equal": "="}


@contextmanager
def progress(settings: SampleSettings) -> Iterator[Watch]:
    """A bar of packets or seconds on the standard error, if that is a terminal.

    It begins when it is first told something: its thread is no company for a fork.
    """
    console = Console(stderr=True)
    bar = Progress(
        "sampling",
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=1.0, words="")

    def watch(taken: int, elapsed: float) -> None:
        shares, words = [0.0], []
        if settings.packets is not None:
            shares.append(taken / settings.packets)
            words.append(f"{taken:,} of {settings.packets:,} packets")
        if settings.seconds is not None:
            shares.append(elapsed / settings.seconds)
        words.append(f"{elapsed:.0f} s" + _of(settings.seconds))
        bar.update(task, completed=max(shares), words=", ".join(words))
        bar.start()

    try:
        yield watch
    finally:
        bar.stop()


def _of(seconds: float | None) -> str:
    return "" if seconds is None else f" of {seconds:g}"


_ENDS = {
    "packets": "",
    "seconds": "",
    "interrupted": ", interrupted",
    "gone": ", until the interface was gone",
}


def text(sample: Sample, verdicts: Sequence[Verdict], top: int) -> None:
    """Print it."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    counts = sample.counts
    console.print(
        f"{sample.interface}: {counts.packets:,} packets in {sample.seconds:.3f} s"
        f"{_ENDS[sample.ended]}",
        markup=False,
    )
    console.print()
    console.print(_ways(counts.incoming, counts.outgoing))
    for side, did, peers, most in (
        (counts.server, "as a server", "clients", "clients that ask most"),
        (counts.client, "as a client", "servers", "servers asked most"),
    ):
        if side.total != Exchange():
            console.print()
            console.print(_peers(side, did, peers, most, top))
    console.print()
    seen = [one for one in verdicts if one.of]
    console.print(_verdicts(seen) if seen else "No DNS over UDP was seen: is it --port?")
    for one in seen:
        if one.state == "yes":
            console.print(f"\n[bold]{one.name}[/]: {one.meaning}.")


def _ways(incoming: Way, outgoing: Way) -> Table:
    """Indented rows are parts of the one above."""
    table = _table("", "in", "out")
    for name, attribute in (
        ("packets", "packets"),
        ("DNS queries (UDP)", "queries"),
        ("  of type ANY", "any_queries"),
        ("DNS answers (UDP)", "answers"),
        ("  truncated", "truncated_answers"),
        ("other UDP of the ports", "other_dns"),
        ("TCP segments of the ports", "tcp_segments"),
        ("other packets", "other_packets"),
    ):
        numbers = (getattr(incoming, attribute), getattr(outgoing, attribute))
        table.add_row(name, *(f"{number:,}" for number in numbers))
    return table


def _peers(side: Side, did: str, peers: str, most: str, top: int) -> Table:
    table = _table(most, "queries", "answers", "queries per answer")
    for where, one in side.peers[:top]:
        table.add_row(str(where), *_exchange(one))
    if len(side.peers) > top:
        table.add_row(f"{len(side.peers) - top:,} other {peers}", *_exchange(side.others(top)))
    if side.unlisted != Exchange():
        table.add_row("others (the table is full)", *_exchange(side.unlisted))
    table.add_row(f"all, {did}", *_exchange(side.total))
    return table


def _exchange(one: Exchange) -> tuple[str, str, str]:
    ratio = "none answered" if one.per_answer is None else f"{one.per_answer:.2f}"
    return f"{one.queries:,}", f"{one.answers:,}", ratio


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    table = _table("verdict", "", "value", "yes if", "figures")
    table.columns[1].justify = table.columns[4].justify = "left"
    for one in verdicts:
        value = "" if one.value is None else f"{one.value:.1%}"
        bound = f"{_SENSES[one.sense]} {one.threshold:.0%}"
        table.add_row(one.name, _STATES[one.state], value, bound, one.figures)
    return table


def _table(first: str, *columns: str) -> Table:
    """A plain one, of numbers but for the first column."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table
