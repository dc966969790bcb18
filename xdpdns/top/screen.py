"""A frame of the terminal: a View becomes lines, whatever its width and height."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import fsum
from textwrap import wrap

from rich.text import Text

from xdpdns.top.figures import (
    change_style,
    change_text,
    count,
    duration,
    number,
    percent,
    sparkline,
)
from xdpdns.top.history import History
from xdpdns.top.sums import MESSAGES
from xdpdns.top.tables import Base, Filled, Row, Sort, fill, ordered

COLUMN = 38
"""What a table is wide at least, where the terminal is; two fit into 80 columns."""
_ALONE = 78
"""What a table is wide at most, when it is alone."""
_GAP = 2
_LEAST_ROWS = 5  # of a table, before another one is shown below it
_CELLS = (9, 7, 8)  # the columns of numbers beside a value

HELP = (
    ("Tab, Shift-Tab", "the next interface, the one before"),
    ("1 to 9, 0", "one table alone; all tables (also Right and Left)"),
    ("t", "totals since the counters began, or rates"),
    ("s", "sort by rate or total, by name, by change"),
    ("c", "change since the interval before, or against the average of the window"),
    ("/", "filter rows: qtype=AAAA tld=nl,de do!=1 (Enter; empty: all; Esc: as before)"),
    ("space", "hold the picture still; counting goes on"),
    ("?", "this help"),
    ("q", "leave"),
    ("", "Answer times are there where `attach` has --latency-sample."),
)


@dataclass(frozen=True, slots=True)
class View:
    """What is to be seen, and how.

    Attributes:
        interface: with its hook, as the title shows it.
        history: what was counted there.
        clock: the time of day, as text.
        totals: counts since the counters began, in place of rates.
        sort: the order of rows.
        base: what changes are against.
        alone: the number of the only table, from 1; 0 for all. It goes round.
        frozen: the picture stands still.
        help: the keys are explained in place of the tables.
        prompt: the filter that is being typed; None if none is.
        selected: the next character takes the place of all of it.
        notice: a line about what is wrong or new; empty if nothing is.
        facts: more words for the title.
    """

    interface: str
    history: History
    clock: str = ""
    totals: bool = False
    sort: Sort = "rate"
    base: Base = "average"
    alone: int = 0
    frozen: bool = False
    help: bool = False
    prompt: str | None = None
    selected: bool = False
    notice: str = ""
    facts: Sequence[str] = field(default=())


def frame(view: View, width: int, height: int, *, ascii_only: bool = False) -> list[Text]:
    """Exactly `height` lines of at most `width` columns."""
    head = [*_head(view, width, ascii_only)][: max(1, height - 1)]
    room = height - len(head) - 1
    body = _help(width) if view.help else _tables(view, width, room, ascii_only)
    body = [*body[:room], *(Text() for _ in range(room - len(body)))] if room > 0 else []
    lines = [*head, *body, _foot(view)][:height]
    for line in lines:
        line.no_wrap = True
        line.truncate(width)
    return lines


def listing(view: View, width: int, rows: int, *, ascii_only: bool = False) -> list[Text]:
    """The head and all tables one after the other, each with its first `rows` rows."""
    lines = [*_head(view, width, ascii_only)]
    for at, one in enumerate(fill(view.history), 1):
        if not one.rows:
            continue
        shown = _rows(view, one, rows)
        lines += [Text(), *_lines(view, at, one, shown, min(width, 80), ascii_only)]
        if len(one.rows) > rows:
            lines.append(Text(f"({len(one.rows) - rows} more)"))
    return lines


def _head(view: View, width: int, ascii_only: bool) -> Iterator[Text]:
    title = Text.assemble(("xdpdns top  ", "bold"), (view.interface, "bold cyan"))
    title.append("".join(f"  {fact}" for fact in view.facts))
    if len(title) + len(view.clock) < width:
        title.append(view.clock.rjust(width - len(title)))
    yield title
    yield _summary(view, width)
    rates = view.history.rates(("queries", MESSAGES), width - 20)
    top = max(rates, default=0.0)
    spark = Text(sparkline(rates, top, ascii_only), style="cyan")
    spark.append(f"  at most {number(top)}/s", style="not bold default")
    yield spark if rates else Text("waiting for the first interval", style="dim")
    if view.notice:
        yield Text(view.notice, style="bold yellow")


def _summary(view: View, width: int) -> Text:
    """The rates of all together; the last of them only if there is room."""
    history = view.history
    queries = ("queries", MESSAGES)
    lost = history.totals.get(("queries", "overflow"), {})
    missing = sum(count for reason, count in lost.items() if reason != "folded")
    line = Text("queries ")
    line.append(f"{number(history.rate(queries))}/s", style="bold")
    line.append(f"  average {number(history.average(queries))}/s of {duration(history.seconds)}")
    if ("responses", MESSAGES) in history.totals:
        line.append(f"  responses {number(history.rate(('responses', MESSAGES)))}/s")
    line.append(f"  total {history.totals.total(queries):,}")
    if missing:
        line.append(f"  {missing:,} in no row", style="bold red")
    packets = f"  packets {number(history.rate(('queries', 'outcome')))}/s"
    if ("queries", "outcome") in history.totals and len(line) + len(packets) <= width:
        line.append(packets)
    return line


def _foot(view: View) -> Text:
    if view.prompt is not None:
        typed = Text(view.prompt, "reverse" if view.selected else "")
        return Text.assemble(("/", "bold"), typed, ("_", "blink"))
    line = Text()
    if view.frozen:
        line.append(" HELD ", style="reverse bold")
        line.append(" ")
    if view.history.filter:
        line.append(f" {view.history.filter.text} ", style="reverse")
        line.append(" ")
    line.append(f"{'totals' if view.totals else 'rates'} by {view.sort}", style="dim")
    if not view.totals:
        against = "the average" if view.base == "average" else view.base
        line.append(f", change to {against}", "dim")
    line.append("  ?", style="bold")
    line.append(" help ", style="dim")
    line.append(" q", style="bold")
    line.append(" quit", style="dim")
    return line


def _help(width: int) -> list[Text]:
    lines = [Text()]
    for keys, meaning in HELP:
        for at, part in enumerate(wrap(meaning, max(8, width - 19))):
            lines.append(Text.assemble((f"  {keys if not at else '':<16} ", "bold"), part))
    return lines


def _tables(view: View, width: int, height: int, ascii_only: bool) -> list[Text]:
    filled = fill(view.history)
    if not filled:
        return [Text("No row has all of these labels." if view.history.filter else "")]
    columns = max(1, (width + _GAP) // (COLUMN + _GAP))
    wide = (width - _GAP * (columns - 1)) // columns
    if view.alone:
        key = (view.alone - 1) % len(filled) + 1
        one = filled[key - 1]
        parts = min(columns, -(-(len(one.rows) + 1) // max(1, height)))
        wide = min(_ALONE, (width - _GAP * (parts - 1)) // parts)
        lines = _whole(view, key, one, parts * height - 1, wide, ascii_only)
        return _beside([lines[at * height :][:height] for at in range(parts)], wide, height)
    return _beside(_arrange(view, filled, columns, wide, height, ascii_only), wide, height)


def _arrange(
    view: View, filled: list[Filled], columns: int, wide: int, height: int, ascii_only: bool
) -> list[list[Text]]:
    """The tables in columns, the most important first; each with its rows, or a fair part."""
    placed: list[list[tuple[int, Filled]]] = [[] for _ in range(columns)]
    wants = [0] * columns
    for key, one in enumerate(filled, 1):
        if not one.rows:
            continue
        least = 1 + min(_LEAST_ROWS, len(one.rows))
        room = [at for at in range(columns) if _least(placed[at]) + least <= height]
        if not room:
            continue
        at = min(room, key=lambda at: (wants[at], at))
        placed[at].append((key, one))
        wants[at] += min(len(one.rows), height // 2) + 2
    made = []
    for column in placed:
        sizes = _share([len(one.rows) + 1 for _, one in column], height - max(0, len(column) - 1))
        lines: list[Text] = []
        for (key, one), size in zip(column, sizes, strict=True):
            if lines:
                lines.append(Text())
            lines += _whole(view, key, one, size - 1, wide, ascii_only)
        made.append(lines)
    return made


def _least(place: list[tuple[int, Filled]]) -> int:
    """Lines that tables need at least, each with an empty one after it."""
    return sum(2 + min(_LEAST_ROWS, len(one.rows)) for _, one in place)


def _share(wanted: list[int], room: int) -> list[int]:
    """Part `room` lines: nobody gets more than they want, and what they leave goes to others."""
    given = [0] * len(wanted)
    for at in sorted(range(len(wanted)), key=lambda at: wanted[at]):
        waiting = sum(1 for size in given if not size)
        given[at] = max(0, min(wanted[at], (room - sum(given)) // waiting))
    return given


def _whole(view: View, key: int, one: Filled, room: int, wide: int, ascii_only: bool) -> list[Text]:
    """A table in a title and `room` lines; the last of them says what of it is not shown."""
    if len(one.rows) <= room:
        return _lines(view, key, one, _rows(view, one, room), wide, ascii_only)
    rows = _rows(view, one, max(0, room - 1))
    rest = [row for row in one.rows if row not in rows]
    left = wide - sum(_CELLS[: _columns(wide)])
    line = Text(_fit(f"{len(rest)} more", left, ascii_only), "dim")
    if one.table.disjoint:
        rate = number(fsum(row.rate for row in rest))
        if view.totals:
            share = fsum(row.total_share or 0.0 for row in rest)
            cells = (count(sum(row.total for row in rest)), percent(share), rate)
        else:
            cells = (rate, percent(fsum(row.share or 0.0 for row in rest)), "")
        for at, cell in enumerate(cells[: _columns(wide)]):
            line.append(_cell(at, cell))
    return [*_lines(view, key, one, rows, wide, ascii_only), line]


def _columns(wide: int) -> int:
    """How many columns of numbers there is room for."""
    return 3 if wide >= sum(_CELLS) + 10 else 1


def _rows(view: View, one: Filled, room: int) -> list[Row]:
    """The first rows; of a histogram those with the most, in its order."""
    rows = ordered(one, view.sort, view.base, totals=view.totals)
    if one.table.ascending and len(rows) > room:
        most = sorted(rows, key=lambda row: -(row.total if view.totals else row.count))[:room]
        return [row for row in rows if row in most]
    return rows[:room]


def _lines(
    view: View, key: int, one: Filled, rows: list[Row], wide: int, ascii_only: bool
) -> list[Text]:
    """A table as lines of `wide` columns: its title, then a row each."""
    names = ("total", "share", "rate") if view.totals else ("rate", "share", "change")
    shown = _columns(wide)
    left = wide - sum(_CELLS[:shown])
    name = f"{key} {one.table.title}" if key < 10 else f"  {one.table.title}"
    title = Text(_fit(name, left, ascii_only), style="bold")
    title.append("".join(_cell(at, name) for at, name in enumerate(names[:shown])), "not bold dim")
    lines = [title]
    for row in rows:
        change = row.changes[view.base]
        if view.totals:
            cells = (count(row.total), percent(row.total_share), number(row.rate))
        else:
            cells = (number(row.rate), percent(row.share), change_text(change))
        line = Text(_fit(row.value, left, ascii_only))
        if not row.count and not view.totals:
            line.stylize("dim")
        for at, cell in enumerate(cells[:shown]):
            style = change_style(change) if at == 2 and not view.totals else ""
            line.append(_cell(at, cell), style)
        lines.append(line)
    return lines


def _cell(at: int, text: str) -> str:
    return text.rjust(_CELLS[at])


def _fit(text: str, width: int, ascii_only: bool) -> str:
    if len(text) <= width:
        return text.ljust(width)
    return text[: max(0, width - 1)] + (">" if ascii_only else "…")[:width]


def _beside(columns: Sequence[list[Text]], wide: int, height: int) -> list[Text]:
    lines = []
    for at in range(min(height, max((len(column) for column in columns), default=0))):
        line = Text()
        for place, column in enumerate(columns, 1):
            cell = column[at] if at < len(column) else Text()
            line.append_text(cell)
            if place < len(columns):
                line.append(" " * (wide - len(cell) + _GAP))
        lines.append(line)
    return lines
