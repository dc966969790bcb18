"""For people: tables and progress bars in the terminal, by rich."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.status import Status as Spinner
from rich.table import Table

if TYPE_CHECKING:
    from xdpdns.check import Report
    from xdpdns.demo import Look, Result, View
    from xdpdns.devices import Program
    from xdpdns.holders import Holder
    from xdpdns.plan import Plan
    from xdpdns.status import ProgramStatus, Status


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


_ANSWERS = {True: "[green]yes[/]", False: "[red]no[/]", None: "[yellow]?[/]"}


def check(report: Report) -> None:
    """Print the needs, each that is not met with its mend; then the hints and interfaces."""
    console = _console()
    console.print(report.system, markup=False)
    needs = _plain("need", "", "")
    for need in report.needs:
        needs.add_row(need.need, _ANSWERS[need.met], escape(need.found))
        if need.mend:
            needs.add_row("", "", f"[bold]-> {escape(need.mend)}[/]")
    hints = _plain("good to know", "")
    for hint in report.hints:
        hints.add_row(hint.about, escape(hint.found))
        if hint.mend:
            hints.add_row("", f"[dim]-> {escape(hint.mend)}[/]")
    interfaces = _plain("interface", "driver", "native XDP", "state")
    for one in report.interfaces:
        taken = [f"{'xdpdns' if p.ours else p.name} in {_hook(p)}" for p in one.programs]
        state = ["up" if one.up else "down", *taken]
        native = {True: "yes", False: "no, generic only", None: "unknown"}[one.native]
        interfaces.add_row(one.interface, one.driver or "none", native, escape(", ".join(state)))
    for table in (needs, hints, interfaces):
        console.print()
        console.print(table)
    unmet = sum(not need.met for need in report.needs)
    console.print()
    if unmet:
        console.print(f"{unmet} of {len(report.needs)} needs are not met.")
        return
    console.print("All needs are met: `xdpdns attach IFACE`.")
    for one in report.interfaces:
        if any(p.mode in ("native", "generic", "offload") and not p.ours for p in one.programs):
            console.print(
                f"{one.interface} has another XDP program: `xdpdns attach {one.interface} --hook "
                "tcx`, or `--hook clsact` before Linux 6.6."
            )


def status(found: Status) -> None:
    """Print a line for each program, and what it takes to see or mend more."""
    console = _console()
    table = _plain("interface", "hook", "program", "since", "cost", "rows", "held by")
    programs = [(one, program) for one in found.interfaces for program in one.programs]
    for one, program in programs:
        rows = program.rows
        table.add_row(
            one.interface + ("" if one.up else " (down)"),
            _hook(program),
            f"{program.id} {_whose(program)}",
            _since(program.counting_since),
            _cost(program),
            f"{rows.entries:,} of {rows.max_entries:,}" if rows else "",
            ", ".join(f"pid {holder.pid}" for holder in program.holders) or "no process",
        )
    if programs:
        console.print(table)
        if holders := [holder for _, program in programs for holder in program.holders]:
            console.print()
            console.print(_holders(holders))
            console.print()
    else:
        names = ", ".join(one.interface for one in found.interfaces)
        console.print(f"No program is attached to {names}.")
    for one in found.interfaces:
        alone = [program for program in one.programs if program.ours and not program.holders]
        if any(program.kept for program in alone):
            console.print(
                f"{one.interface} is counted without an agent, as --keep has it: `xdpdns attach "
                f"{one.interface} --keep` goes on, `xdpdns detach {one.interface}` ends it."
            )
        elif alone:
            console.print(
                f"{one.interface} is counted without an agent, which was killed: "
                f"`xdpdns detach {one.interface}` removes the program."
            )
    if any(not program.runs for _, program in programs) and not found.kernel_stats:
        console.print(
            "The kernel times programs only on request, at 20 to 40 ns a packet: "
            "`sysctl kernel.bpf_stats_enabled=1`, or `xdpdns attach --program-stats`."
        )


def _whose(program: ProgramStatus) -> str:
    """Ours, that of a sample being taken, or somebody else's by its name."""
    if program.ours:
        return f"xdpdns: {', '.join(program.counts)}"
    known = program.name == "xdpdns_sample"
    return escape(program.name or "?") + ("" if known else " (not ours)")


def _hook(program: ProgramStatus | Program) -> str:
    """XDP by its mode, else where at TC."""
    if program.mode in ("tcx", "clsact"):
        return f"{program.mode} {program.direction}"
    return f"{program.mode} mode"


_ENOUGH_RUNS = 1000
"""Fewer are mostly those of cold caches, and say nothing of a load."""


def _cost(program: ProgramStatus) -> str:
    if not program.runs:
        return "not timed"
    if program.runs < _ENOUGH_RUNS:
        return f"too few runs ({program.runs:,})"
    return f"{program.run_ns / program.runs:.0f} ns ({program.runs:,} runs)"


# linux/capability.h: those that our processes may have
_CAPABILITIES = {12: "CAP_NET_ADMIN", 38: "CAP_PERFMON", 39: "CAP_BPF"}


def _holders(holders: Iterable[Holder]) -> Table:
    """What each process could do if somebody took it over."""
    table = _plain("process", "uid", "capabilities", "memory")
    for holder in sorted(set(holders)):
        mask = int(holder.capabilities, 16)
        names = [name for bit, name in _CAPABILITIES.items() if mask >> bit & 1]
        if mask.bit_count() > len(names):
            names = [f"{mask.bit_count()} of them"]
        table.add_row(
            f"pid {holder.pid} {escape(holder.command)}",
            str(holder.uid),
            " ".join(names) or "none",
            _bytes(holder.rss_bytes),
        )
    return table


def _since(moment: datetime) -> str:
    age = timedelta(seconds=round((datetime.now(UTC) - moment).total_seconds()))
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S} ({age})"


def plan(made: Plan) -> None:
    """Print the dimensions of each side with their product, and what the rows come to."""
    console = _console()
    facts = Table.grid(padding=(0, 2))
    for side, rows in made.sides.items():
        table = _plain(f"of {side}", "values", "product", "such as")
        for column in table.columns[1:3]:
            column.justify = "right"
        for one in rows.dimensions:
            such = " ".join(one.examples)
            table.add_row(one.label, _bound(one.values), _bound(one.product), such)
        console.print(table)
        console.print()
        impossible = rows.reachable != rows.dimensions[-1].product
        note = " (DO is 0 where there is no OPT record)" if impossible else ""
        facts.add_row(f"{side}' rows that can be", _bound(rows.reachable) + note)
    facts.add_row("--max-series", f"{made.max_series:,}")
    sides = " and ".join(f"{rows.rows:,} of {side}" for side, rows in made.sides.items())
    facts.add_row("rows at most", f"{sides}, and about {made.other_series} other series")
    facts.add_row("a full scrape", f"about {_bytes(made.scrape_bytes)} before gzip")
    memory = [f"{_bytes(size)} on {cpus} CPUs" for cpus, size in made.memory.items()]
    memory[list(made.memory).index(made.cpus)] += " (the machine planned for)"
    facts.add_row("kernel memory", ", ".join(memory))
    console.print(facts)
    console.print("\nAll of it for one interface; the memory is allocated at the start, whole.")


def _bound(number: int | None) -> str:
    return "any" if number is None else f"{number:,}"


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


class _DemoView:
    """A line that is kept up to date on a terminal; elsewhere only where to find what."""

    def __init__(self, console: Console, spinner: Spinner) -> None:
        self._console = console
        self._spinner = spinner

    def started(self, url: str, inside: str) -> None:
        self._console.print(f"Counting on eth0 of a private namespace: {url}")
        self._console.print(f"Look into it with `{inside} COMMAND`. Ctrl-C ends it.")
        self._spinner.update("no numbers yet")

    def look(self, look: Look) -> None:
        sent, counted = look.packets
        queries, late = look.counted["af"], sent - counted
        parts = [f"{look.seconds:.1f} s", f"{sent:,} sent", f"{counted:,} counted"]
        parts += [f"{queries[af] / (queries.total() or 1):.1%} {af}" for af in sorted(queries)]
        self._spinner.update("  ".join(parts) + (f"  {late} on their way" if late > 0 else ""))


@contextmanager
def demo(quiet: bool) -> Iterator[View]:
    """Show a demonstration while it runs: on the standard error, or not at all."""
    console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
    with console.status("starting: compiling, attaching", spinner="dots") as spinner:
        yield _DemoView(console, spinner)


def comparison(result: Result) -> None:
    """Print what was planned, sent and counted, dimension by dimension."""
    from xdpdns.demo import rows

    console = _console()
    table = _plain("dimension", "value", "planned", "sent", "counted", "")
    for column in table.columns[2:5]:
        column.justify = "right"
    for name in result.look.sent:
        for value, share, sent, counted in rows(result.look, name):
            mark = "=" if sent == counted else "differs"
            table.add_row(name, value, f"{share:.1%}", f"{sent:,}", f"{counted:,}", mark)
            name = ""
    console.print(table)
    sent, counted = result.look.packets
    console.print(
        f"\n{sent:,} packets sent in {result.look.seconds:.1f} s, {counted:,} counted, "
        f"every value {'equal' if result.look.equal else 'NOT equal'}. "
        f"First numbers {result.first_seconds:.1f} s after the start."
    )


def _console() -> Console:
    # Where nobody sets a width (a pipe, a log), lines may be as long as they need.
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def _plain(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
