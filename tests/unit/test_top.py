"""`xdpdns top`, its pure part: readings to differences, tables, frames; keys to choices."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from rich.cells import cell_len

from xdpdns.errors import SettingsError
from xdpdns.snapshot import Histogram, Marginals, Snapshot, Timing
from xdpdns.top import report
from xdpdns.top.controls import Controls, keys
from xdpdns.top.figures import number, sparkline
from xdpdns.top.filters import Filter, parse
from xdpdns.top.history import History
from xdpdns.top.screen import View, frame, listing
from xdpdns.top.sums import MESSAGES, Reading, difference, sums, whole
from xdpdns.top.tables import TABLES, Filled, Row, fill, ordered

DIMENSIONS = ("af", "do", "ad", "qr", "qtype", "tld")
QUERIES = ("queries", MESSAGES)
Labels = tuple[str, ...]


def snapshot(rows: dict[Labels, int], **outcomes: int) -> Snapshot:
    empty = Histogram((0,), (0, 0), 0)
    queries = sum(rows.values())
    return Snapshot(
        dimensions=DIMENSIONS,
        queries=dict(rows),
        outcomes={"query": queries, "tcp": 0, **outcomes},
        marginals=Marginals(
            {"QUERY": queries}, {"rd": queries // 2}, {"IN": queries}, {}, empty, empty, empty
        ),
        overflow={"map_full": 0},
    )


def reading(at: float, rows: dict[Labels, int], program: int = 7, **outcomes: int) -> Reading:
    return Reading(at, (program,), {"queries": snapshot(rows, **outcomes)})


def row(qtype: str = "A", tld: str = "nl", *, af: str = "ipv4", do: str = "0") -> Labels:
    return (af, do, "0", "0", qtype, tld)


def table(history: History, name: str) -> dict[str, Row]:
    [one] = [one for one in fill(history) if one.table.name == name]
    return {row.value: row for row in one.rows}


def traffic(seed: int, steps: int) -> list[Reading]:
    """Readings of random growing counters, at uneven times."""
    chance = random.Random(seed)
    counts: Counter[Labels] = Counter()
    at, readings = 100.0, []
    for _ in range(steps):
        readings.append(reading(at, dict(counts), tcp=chance.randrange(9)))
        at += chance.choice((0.5, 1.0, 2.5))
        for _ in range(chance.randrange(40)):
            counts[
                row(
                    chance.choice(("A", "AAAA", "NS", "~other")),
                    chance.choice(("nl", "de", ".", "~other")),
                    do=chance.choice("01"),
                    af=chance.choice(("ipv4", "ipv6")),
                )
            ] += chance.randrange(1, 9)
    return readings


# --- filters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("", {0, 1, 2, 3}),
        ("qtype=AAAA", {1}),
        ("type=aaaa", {1}),
        ("qtype=A,AAAA tld=nl", {0, 1}),
        ("tld!=NL,de", {3}),
        ("qtype=~other", {3}),
        ("do=1 qtype!=A", {2}),
        ("tld=.", set()),
    ],
)
def test_filters(text: str, passing: set[int]) -> None:
    rows = [row(), row("AAAA"), row("NS", "de", do="1"), row("~other", "~other")]
    test = parse(text, DIMENSIONS).test(DIMENSIONS)
    assert {at for at, labels in enumerate(rows) if test(labels)} == passing


@pytest.mark.parametrize(
    ("text", "says"),
    [("qtype", "no condition"), ("=A", "no condition"), ("colour=red", "choose from af, do")],
)
def test_bad_filters(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        parse(text, DIMENSIONS)


# --- differences --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "qtype=A", "tld!=nl do=1", "af=ipv6"])
def test_sums_are_linear(text: str) -> None:
    """The sums of all differences, and what was there before, are those of the whole."""
    wanted = parse(text, DIMENSIONS)
    readings = traffic(1, 20)
    total = sums(whole(readings[5]), wanted)
    for before, now in pairwise(readings[5:]):
        total.add(sums(difference(now, before), wanted))
    assert total == sums(whole(readings[-1]), wanted)


def test_a_difference_has_only_the_rows_that_changed() -> None:
    before, now = reading(0, {row(): 5, row("NS"): 2}), reading(1, {row(): 5, row("NS"): 3})
    assert difference(now, before)["queries"].rows == {row("NS"): 1}


@pytest.mark.parametrize("text", ["", "qtype=A,NS"])
def test_history_against_counting_by_hand(text: str) -> None:
    window = 6
    readings = traffic(2, 30)
    history = History(window)
    wanted = parse(text, DIMENSIONS)
    history.set_filter(wanted)
    lets_through = wanted.test(DIMENSIONS)

    def counted(one: Reading, qtype: str = "") -> int:
        return sum(
            n
            for labels, n in one.sides["queries"].queries.items()
            if lets_through(labels) and qtype in ("", labels[4])
        )

    for at, one in enumerate(readings):
        history.add(one)
        if at < 2:
            continue
        before, start = readings[at - 1], readings[max(0, at - window)]
        seconds = one.time - before.time
        assert history.rate(QUERIES) == pytest.approx((counted(one) - counted(before)) / seconds)
        assert history.average(QUERIES) == pytest.approx(
            (counted(one) - counted(start)) / (one.time - start.time)
        )
        assert history.totals.total(QUERIES) == counted(one)
        for name, found in table(history, "qtype").items():
            assert found.total == counted(one, name)
            assert found.count == counted(one, name) - counted(before, name)
            assert found.rate == pytest.approx(found.count / seconds)
            base = counted(before, name) - counted(start, name)
            if base:
                was = base / (before.time - start.time)
                assert found.changes["average"] == pytest.approx(found.rate / was - 1)
    assert len(history.intervals) == window


def test_another_filter_shows_the_same_past() -> None:
    """Whether a filter was set at the start or later, the tables and rates are the same."""
    readings = traffic(3, 25)
    wanted = parse("qtype=A tld!=de", DIMENSIONS)
    early, late = History(), History()
    early.set_filter(wanted)
    for one in readings:
        early.add(one)
        late.add(one)
    late.set_filter(wanted)
    assert fill(early) == fill(late)
    assert early.rates(QUERIES, 50) == late.rates(QUERIES, 50)
    late.set_filter(Filter())
    early.set_filter(Filter())
    assert fill(early) == fill(late)


def test_very_many_rows_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xdpdns.top.history._ROWS_KEPT", 40)
    history = History()
    readings = traffic(4, 20)
    for one in readings:
        history.add(one)
    assert sum(interval.rows for interval in history.intervals) <= 40
    assert len(history.intervals) == 19
    whole_average = history.average(QUERIES)
    history.set_filter(Filter())
    # the past is shorter, and what there is of it right
    assert 0 < len(history.intervals) < 19
    assert history.totals.total(QUERIES) == sum(readings[-1].sides["queries"].queries.values())
    assert whole_average is not None
    assert history.average(QUERIES) is not None


def test_another_program_begins_anew() -> None:
    history = History()
    history.add(reading(0, {row(): 100}))
    history.add(reading(1, {row(): 200}))
    history.add(reading(2, {row(): 3}, program=8))
    assert history.rate(QUERIES) is None
    assert history.totals.total(QUERIES) == 3
    history.add(reading(3, {row(): 4}, program=8))
    assert history.rate(QUERIES) == 1


def test_a_held_copy_stands_still() -> None:
    history = History()
    for one in traffic(5, 9):
        history.add(one)
    held = history.copy()
    before = fill(held)
    history.add(reading(999, {row(): 10**6}))
    assert fill(held) == before
    assert fill(history) != before


def test_points_of_the_sparkline_stay_where_they_are() -> None:
    history = History(100)
    rows = {row(): 0}
    pictures = []
    for at in range(60):
        rows[row()] += at
        history.add(reading(float(at), dict(rows)))
        pictures.append(history.rates(QUERIES, 20))
    assert len(pictures[19]) == 19
    assert pictures[19] == [float(at) for at in range(1, 20)]
    # 59 intervals in 20 points: three each; whole groups never change again
    assert pictures[-1][1:18] == pictures[-2][1:18]
    assert history.rates(QUERIES, 0) == []


# --- tables -------------------------------------------------------------------------------------


def test_shares_and_flags() -> None:
    history = History()
    history.add(reading(0, {row(): 10}))
    history.add(reading(2, {row(): 10, row("AAAA", do="1"): 6, row("NS", do="1"): 2}, tcp=8))
    types = table(history, "qtype")
    assert {name: one.count for name, one in types.items()} == {"A": 0, "AAAA": 6, "NS": 2}
    assert (types["AAAA"].share, types["AAAA"].rate, types["A"].total_share) == (0.75, 3, 10 / 18)
    assert {name: one.share for name, one in table(history, "bits").items()} == {"DO": 1.0}
    outcomes = table(history, "outcome")
    assert (outcomes["query"].share, outcomes["tcp"].share) == (0.5, 0.5)
    assert table(history, "flag")["rd"].share == 0.5


def test_counters_go_with_a_filter() -> None:
    """What is not counted by row can't be told apart: better no table than a wrong one."""
    history = History()
    history.set_filter(parse("qtype=A", DIMENSIONS))
    history.add(reading(0, {row(): 10, row("NS"): 3}))
    assert {one.table.name for one in fill(history)} == {"qtype", "tld", "bits", "af"}


def test_change() -> None:
    history = History()
    for at, (a, ns, mx) in enumerate([(0, 0, 0), (10, 4, 0), (40, 4, 0), (60, 4, 7)]):
        history.add(reading(float(at), {row("A"): a, row("NS"): ns, row("MX"): mx}))
    types = table(history, "qtype")
    assert types["A"].changes == {"previous": pytest.approx(-1 / 3), "average": pytest.approx(0)}
    assert types["NS"].changes == {"previous": None, "average": -1}
    assert types["MX"].changes == {"previous": float("inf"), "average": float("inf")}


def test_order() -> None:
    def made(value: str, total: int, count: int, change: float | None) -> Row:
        return Row(value, total, count, float(count), 0.1, 0.1, {"average": change})

    rows = [made("b", 9, 1, -0.9), made("a", 5, 4, 0.1), made("c", 7, 4, None)]
    by = {
        (sort, totals): "".join(
            one.value for one in ordered(Filled(TABLES[0], rows), sort, "average", totals=totals)
        )
        for sort in ("rate", "name", "change")
        for totals in (False, True)
    }
    assert by == {
        ("rate", False): "cab",
        ("rate", True): "bca",
        ("name", False): "abc",
        ("name", True): "abc",
        ("change", False): "bac",
        ("change", True): "bac",
    }


def test_responses_beside_queries() -> None:
    """Each side has its tables; times stay in their order; a filter hides what it can't tell."""

    def both(at: float, answers: int) -> Reading:
        made = snapshot({row("A"): answers, row("NS"): answers})
        times = Histogram((16_384, 1_048_576, 1 << 33), (answers, 0, answers * 3, 0), 0)
        responses = replace(
            snapshot({}),
            dimensions=("qtype", "rcode", "tc"),
            queries={("A", "NOERROR", "0"): answers, ("NS", "REFUSED", "1"): answers * 3},
            timing=Timing(1, 9, 1, 2, 3, 4, 5, {("ipv4", "udp"): times, ("ipv6", "udp"): times}),
        )
        return Reading(at, (1, 2), {"queries": made, "responses": responses})

    history = History()
    history.add(both(0, 0))
    history.add(both(1, 10))
    codes = table(history, "rcode")
    assert {name: one.share for name, one in codes.items()} == {"NOERROR": 0.25, "REFUSED": 0.75}
    assert table(history, "response_bits")["TC"].share == 0.75
    assert {name: one.total for name, one in table(history, "qtype").items()} == {"A": 10, "NS": 10}
    [times] = [one for one in fill(history) if one.table.name == "duration"]
    assert [(one.value, one.count) for one in ordered(times, "rate", "average")] == [
        *(("< 16.4 us", 20), ("< 8.59 s", 60))
    ]
    assert {one.value: one.total for one in table(history, "timed").values()} == {
        "answered": 80,
        "expired": 1,
        "displaced": 2,
        "sent again": 4,
        "unasked": 5,
    }
    lines = [line.plain for line in frame(View("eth0", history), 80, 24)]
    assert "  responses 40/s" in lines[1]
    history.set_filter(parse("rcode=REFUSED", ("qtype", "rcode")))
    assert {one.table.name for one in fill(history)} == {"rcode", "response_bits"}
    history.set_filter(parse("qtype=A", ("qtype", "rcode")))
    assert table(history, "rcode").keys() == {"NOERROR"}
    assert table(history, "qtype").keys() == {"A"}


def test_every_table_has_its_own_name_and_a_title_that_fits() -> None:
    assert len({one.name for one in TABLES}) == len(TABLES)
    assert all(len(one.title) <= 12 for one in TABLES)  # beside the numbers at 200 columns


# --- frames -------------------------------------------------------------------------------------


def history_of(rows: dict[Labels, int]) -> History:
    history = History()
    history.add(reading(0, {}))
    history.add(reading(1, rows))
    history.add(reading(2, {labels: count * 3 for labels, count in rows.items()}))
    return history


ROWS = {
    row(qtype, tld, do=do): count
    for count, (qtype, tld, do) in enumerate(
        (
            (q, t, d)
            for q in ("A", "AAAA", "HTTPS", "NS")
            for t in ("nl", "xn--" + "v" * 20)
            for d in "01"
        ),
        1,
    )
}


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"totals": True}, {"help": True}, {"alone": 2}, {"alone": -1}]
)
def test_a_frame_fits_any_terminal(ascii_only: bool, options: dict[str, Any]) -> None:
    view = replace(View("eth0 (native)", history_of(ROWS), notice="something is wrong"), **options)
    for width in (1, 2, 7, 20, 33, 34, 40, 79, 80, 81, 120, 200, 500):
        for height in (1, 2, 3, 5, 9, 24, 60, 200):
            lines = frame(view, width, height, ascii_only=ascii_only)
            assert len(lines) == height
            assert max(cell_len(line.plain) for line in lines) <= width
            if ascii_only:
                assert "".join(line.plain for line in lines).isascii()


def test_a_frame_without_anything() -> None:
    for history in (History(), history_of({})):
        assert len(frame(View("eth0", history), 80, 24)) == 24


def test_what_stands_in_a_frame() -> None:
    history = history_of({row("A"): 30, row("NS", "de"): 10})
    lines = [line.plain for line in frame(View("eth0 (native)", history, clock="12:00:00"), 80, 24)]
    assert lines[0].startswith("xdpdns top  eth0 (native)")
    assert lines[0].endswith(" 12:00:00")
    assert lines[1] == "queries 80/s  average 60/s of 2 s  total 120  packets 80/s"
    assert lines[3].split() == [
        *("1", "types", "rate", "share", "change"),
        *("2", "TLDs", "rate", "share", "change"),
    ]
    assert lines[4].split() == ["A", "60", "75.0%", "+100%", "nl", "60", "75.0%", "+100%"]
    totals = [line.plain for line in frame(View("eth0", history, totals=True), 80, 24)]
    assert totals[5].split() == ["NS", "30", "25.0%", "20", "de", "30", "25.0%", "20"]


def test_hostile_text_is_only_text() -> None:
    """What a sender chose is never markup for rich; what isn't print is escaped by decode.py."""
    labels = row("A", "[bold red]x[/]"), row("A", "\\027[2J")
    history = history_of(dict.fromkeys(labels, 5))
    lines = frame(View("eth0", history, alone=2), 80, 24)
    assert [line.plain.split()[0] for line in lines[4:6]] == ["[bold", "\\027[2J"]
    assert lines[4].plain.startswith("[bold red]x[/]")
    assert not any("\x1b" in line.plain for line in lines)


def test_a_listing_has_all_tables() -> None:
    text = "\n".join(line.plain for line in listing(View("eth0", history_of(ROWS)), 80, 2))
    for title in ("1 types", "2 TLDs", "outcomes", "flags", "family", "opcodes", "classes"):
        assert title in text
    assert "(2 more)" in text


def test_what_is_cut_is_summed_up() -> None:
    types = ("A", "AAAA", "NS", "MX", "TXT", "DS", "SOA", "SRV", "CAA", "PTR")
    history = history_of({row(name): 10 for name in types})
    text = [line.plain.split() for line in frame(View("eth0", history, alone=1), 38, 10)]
    assert ["6", "more", "120", "60.0%"] in [line[:4] for line in text]
    assert sum(line[:1] == [name] for line in text for name in types) == 4
    whole = [line.plain for line in frame(View("eth0", history, alone=1), 38, 20)]
    assert not any("more" in line for line in whole)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("qtype=AAAAbogus", "there is no qtype AAAABOGUS"),
        ("qtype=AAA", "there is no qtype AAA: did you mean AAAA?"),
        ("rcode=NXDOMAINE", "there is no rcode NXDOMAINE: did you mean NXDOMAIN?"),
    ],
)
def test_a_filter_for_what_does_not_exist(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        parse(text, ("qtype", "rcode"))
    parse("qtype=TYPE65280,~other rcode=NODATA,badcookie", ("qtype", "rcode"))


def test_a_histogram_shows_where_most_is() -> None:
    history = History()
    times = Histogram((1000, 2000, 4000, 8000), (1, 7, 9, 2, 0), 0)
    made = replace(snapshot({}), timing=Timing(1, 19, 0, 0, 0, 0, 0, {("ipv4", "udp"): times}))
    history.add(Reading(0, (1,), {"responses": made}))
    text = [line.plain for line in listing(View("eth0", history, totals=True), 80, 2)]
    at = next(number for number, line in enumerate(text) if "answer times" in line)
    assert [line.split()[:4] for line in text[at + 1 : at + 4]] == [
        *(["<", "2", "us", "7"], ["<", "4", "us", "9"], ["(2", "more)"])
    ]


def test_json() -> None:
    history = history_of({row("A"): 30, row("NS", "de"): 10})
    made = json.loads(json.dumps(report.to_json(history, {"interface": "eth0"}), allow_nan=False))
    assert made["interface"] == "eth0"
    assert made["sides"]["queries"] == {"total": 120, "rate": 80, "average": 60, "in_no_row": 0}
    [types] = [one for one in made["tables"] if one["name"] == "qtype"]
    assert types["rows"][0] == {
        "value": "A",
        "total": 90,
        "total_share": 0.75,
        "count": 60,
        "rate": 60,
        "share": 0.75,
        "change_previous": 1.0,
        "change_average": 1.0,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "-"), (0, "0"), (0.04, "0.0"), (0.4, "0.4"), (9.96, "10"), (3.0, "3")),
        *((999_999, "999,999"), (1_234_567, "1.23M"), (2.5e9, "2.50G")),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_sparkline() -> None:
    assert sparkline([0, 0.001, 4, 8], 8, False) == " ▁▄█"
    assert sparkline([0, 0.001, 4, 8], 8, True) == " .=@"
    assert sparkline([0, 0], 0, False) == "  "


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("q", ["q"]),
        ("\t\x1b[Z", ["tab", "shift-tab"]),
        ("a\x7f\r", ["a", "backspace", "enter"]),
        ("\x1b", ["escape"]),
        ("\x1b[A\x1b[1;5C\x1bOP\x1b[15~?", ["?"]),  # unknown sequences are no characters
        ("\x1b[C\x1bOD", ["right", "left"]),
        ("\x00\x01é", ["é"]),
        ("\x1b[", []),
    ],
)
def test_keys(typed: str, found: list[str]) -> None:
    assert keys(typed) == found


def test_controls() -> None:
    applied = []

    def apply(text: str) -> str:
        applied.append(text)
        return "no" if "bad" in text else ""

    controls = Controls(3, apply)
    for typed, attribute, value in [
        ("\t", "shown", 1),
        ("\x1b[Z\x1b[Z", "shown", 2),
        ("\t", "shown", 0),
        ("t", "totals", True),
        ("s", "sort", "name"),
        ("ss", "sort", "rate"),
        ("c", "base", "previous"),
        ("3", "alone", 3),
        ("3", "alone", 0),
        ("\x1b[C", "alone", 1),
        ("\x1b", "alone", 0),
        (" ", "frozen", True),
        (" ", "frozen", False),
        ("?", "help", True),
        ("t", "help", False),  # any key ends the help, and does nothing else
        ("t", "totals", False),
        ("/qtype=A", "prompt", "qtype=A"),
        ("\x7fNS\r", "filter", "qtype=NS"),
        ("", "prompt", None),
        ("/", "selected", True),
        ("\x1b", "filter", "qtype=NS"),
        ("/do=1", "prompt", "do=1"),  # in place of what was selected
        ("\x1b", "prompt", None),
        ("/\x7fS bad\r", "notice", "no"),
        ("", "prompt", "qtype=NS bad"),
        ("\x1b", "prompt", None),
        ("", "filter", "qtype=NS"),
        ("/\x15\r", "filter", ""),
        ("/q\x1b", "done", False),
        ("q", "done", True),
    ]:
        for key in keys(typed):
            controls.press(key)
        assert getattr(controls, attribute) == value, typed
    assert applied == ["qtype=NS", "qtype=NS bad", ""]
