"""The report after RIPE-352 for people: its tables and bars in the terminal, by rich."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.table import Table

from xdpdns.replay import seconds
from xdpdns.report_edns import (
    ASSUMED_SIZE,
    Distribution,
    EdnsReport,
    Projection,
    figure2,
    fraction,
)


def show(report: EdnsReport) -> None:
    """Print the whole report."""
    width = None if sys.stdout.isatty() else 100
    console = Console(width=width, highlight=False, markup=False, emoji=False)

    def section(title: str, *parts: RenderableType) -> None:
        console.print(title, style="bold")
        for part in parts:
            console.print(part)
        console.print()

    for name in report.files:
        # on one line, whatever its length; bytes that are no UTF-8 as U+FFFD
        console.out(os.fsencode(name).decode(errors="replace"))
    console.print()
    section("Table 1. The traffic", _table1(report))
    section(
        "Table 2. Remaining queries with an OPT record (E), and of these with DO set (D)",
        _table2(report),
        f"Neither E nor D: {report.no_edns:,} without an OPT record, {report.not_parsed:,} whose "
        f"question is not parsed, {report.unseen:,} whose OPT is not reached.",
    )
    section("Figure 2. Distributions", *map(_bars, figure2(report)))
    section(
        "If every query set DO",
        _projection(report.projection()),
        f"Queries without EDNS are taken to offer {ASSUMED_SIZE} bytes, as in the paper. Of "
        f"{report.not_parsed + report.unseen:,} queries it is not known whether they have EDNS. "
        "How much larger the replies would be can't be told from queries.",
    )


def percent(part: int, whole: int) -> str:
    """A share for people; `-` of nothing."""
    share = fraction(part, whole)
    return "-" if share is None else f"{share:.2%}"


def moment(nanoseconds: int | None) -> str:
    """A time stamp in UTC to the nanosecond; in seconds since 1970 where a calendar ends."""
    if nanoseconds is None:
        return "-"
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}.{rest:09d} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds(nanoseconds)} s after 1970"


def _plain(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    table.add_column(min_width=38)
    for column in columns:
        table.add_column(column, justify="right", min_width=12)
    return table


def _table1(report: EdnsReport) -> Table:
    table = _plain("")
    ports = " or ".join(map(str, report.ports))
    table.add_row("first packet", moment(report.first_ns))
    table.add_row("last packet", moment(report.last_ns))
    for what, count in (
        ("packets", report.packets),
        (f"UDP packets to port {ports}", report.udp),
        ("DNS messages (12 bytes or more)", report.dns),
        ("opcode QUERY", report.opcode_query),
        ("  with TC set", report.tc),
        ("  with QR set", report.qr),
        ("  with both set", report.tc_and_qr),
        ("remaining: QUERY, TC clear, QR clear", report.remaining),
    ):
        table.add_row(what, f"{count:,}")
    return table


def _table2(report: EdnsReport) -> Table:
    table = _plain("E", "D")
    edns, do = report.edns, report.do
    table.add_row("number", f"{edns:,}", f"{do:,}")
    table.add_row(
        "fraction of the remaining queries",
        percent(edns, report.remaining),
        percent(do, report.remaining),
    )
    table.add_row("fraction of E", "", percent(do, edns))
    for size, count in report.edns_sizes.items():
        table.add_row(f"EDNS size {size}", f"{count:,}", f"{report.do_sizes.get(size, 0):,}")
    return table


def _bars(distribution: Distribution) -> Table:
    table = Table(
        title=f"{distribution.title}, shares of {distribution.of} ({distribution.whole:,})",
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        show_header=False,
    )
    table.add_column(min_width=20)
    table.add_column(justify="right", min_width=12)
    table.add_column(justify="right", min_width=8)
    table.add_column(no_wrap=True)
    for name, count in distribution.bars:
        bar = "█" * round((fraction(count, distribution.whole) or 0) * 40)
        table.add_row(name, f"{count:,}", percent(count, distribution.whole), bar)
    return table


def _projection(projection: Projection) -> Table:
    known = projection.known
    table = _plain("those that change", "all of them")
    table.add_row("queries", f"{projection.changed:,}", f"{known:,}")
    table.add_row(
        "fraction of all of them", percent(projection.changed, known), percent(known, known)
    )
    for size, count in projection.sizes.items():
        if count:
            changed = projection.changed_sizes.get(size, 0)
            table.add_row(f"EDNS size {size}", f"{changed:,}", f"{count:,}")
    return table
