"""The arithmetic of `xdpdns report edns`, its JSON, and how it is shown; no program is run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.metrics_fixture import MARGINALS, SNAPSHOT
from xdpdns import plot_edns, present_edns
from xdpdns.errors import CaptureError, MissingNeedError, SettingsError
from xdpdns.replay import ReplayResult
from xdpdns.report_edns import BARS, SIZES, EdnsReport, figure2, make_report, to_json
from xdpdns.snapshot import EdnsSizes

# The header's third byte.
QR, TC, RD, NOTIFY = 0x80, 0x02, 0x01, 4 << 3


def made(
    header2: Mapping[int, int],
    sizes: Mapping[tuple[int, bool], int] | None = None,
    no_edns: int = 0,
    unseen: int = 0,
    files: tuple[str, ...] = ("a.pcap",),
    first_ns: int | None = 1_000_000_000,
) -> EdnsReport:
    """The report of a traffic with these counters, and 7 messages that are cut short."""
    snapshot = replace(
        SNAPSHOT,
        marginals=replace(MARGINALS, header2=tuple(header2.get(i, 0) for i in range(256))),
        outcomes={"dns_truncated": 7},
        edns_sizes=EdnsSizes(dict(sizes or {}), no_edns, unseen),
    )
    warnings = (CaptureError("a.pcap ends at byte 24.", 24),)
    return make_report(
        ReplayResult(files, 1000, first_ns, first_ns, snapshot, warnings), (53, 5353)
    )


TYPICAL = made(
    {0: 60, RD: 40, RD | TC: 3, QR: 4, QR | TC: 2, NOTIFY: 5, NOTIFY | QR | TC: 6},
    {(512, False): 10, (512, True): 1, (1232, True): 20, (4096, False): 4, (0, True): 5},
    no_edns=50,
    unseen=3,
)


def test_table_1_takes_the_headers_apart() -> None:
    assert TYPICAL.dns == 120
    assert TYPICAL.udp == 127
    assert TYPICAL.opcode_query == 109
    assert (TYPICAL.tc, TYPICAL.qr, TYPICAL.tc_and_qr) == (5, 6, 2)
    assert TYPICAL.remaining == 100


def test_remaining_is_counted_not_subtracted() -> None:
    both = made({QR | TC: 3, 0: 1})
    assert both.opcode_query - both.tc - both.qr == -2
    assert both.remaining == 1


def test_table_2_says_what_is_left_out() -> None:
    assert (TYPICAL.edns, TYPICAL.do) == (40, 26)
    assert TYPICAL.edns_sizes == {
        0: 5,
        512: 11,
        1024: 0,
        1232: 20,
        1280: 0,
        1500: 0,
        2048: 0,
        4000: 0,
        4096: 4,
        16384: 0,
    }
    assert TYPICAL.do_sizes == {**dict.fromkeys(SIZES, 0), 0: 5, 512: 1, 1232: 20}
    assert list(TYPICAL.do_sizes) == sorted(TYPICAL.do_sizes)
    assert TYPICAL.not_parsed == 100 - 40 - 50 - 3
    assert sum(TYPICAL.kinds().values()) == TYPICAL.remaining


def test_the_projection_leaves_out_what_is_not_known() -> None:
    projection = TYPICAL.projection()
    assert projection.known == 90
    assert projection.changed == 10 + 4 + 50
    changed = {512: 10, 2048: 50, 4096: 4}
    assert {size: n for size, n in projection.changed_sizes.items() if n} == changed
    everyone = {0: 5, 512: 11, 1232: 20, 2048: 50, 4096: 4}
    assert {size: n for size, n in projection.sizes.items() if n} == everyone
    assert sum(projection.sizes.values()) == projection.known


def test_a_program_without_exact_sizes_is_a_mistake() -> None:
    snapshot = replace(SNAPSHOT, edns_sizes=None)
    with pytest.raises(ValueError, match="exact_edns"):
        make_report(ReplayResult(("a",), 1, None, None, snapshot, ()), (53,))


def test_json_names_every_denominator() -> None:
    found = to_json(TYPICAL)
    assert json.loads(json.dumps(found)) == found
    assert list(found) == [
        *("report", "files", "warnings", "table1", "table2", "figure2", "projection")
    ]
    assert found["warnings"] == ["a.pcap ends at byte 24."]
    assert found["table1"]["first"] == "1.000000000"
    assert found["table1"]["ports"] == [53, 5353]
    assert found["table2"]["no_edns"] == {"count": 50, "fraction_of_remaining": 0.5}
    assert found["table2"]["E"]["fraction_of_remaining"] == 0.4
    assert found["table2"]["D"]["fraction_of_remaining"] == 0.26
    assert found["table2"]["D"]["fraction_of_E"] == 0.65
    assert found["table2"]["E"]["sizes"]["512"] == 11
    assert found["figure2"]["queries_fraction_of_remaining"] == {
        "no_edns": 0.5,
        "edns_without_do": 0.14,
        "do": 0.26,
        "opt_not_reached": 0.03,
        "question_not_parsed": 0.07,
    }
    assert found["figure2"]["sizes_fraction_of_E"]["1232"] == 0.5
    assert found["projection"]["changed"] == 64
    assert found["projection"]["changed_fraction_of_known"] == 64 / 90


def test_shares_of_nothing_are_null() -> None:
    found = to_json(made({}, first_ns=None))
    assert found["table1"]["first"] is None
    assert found["table2"]["E"]["fraction_of_remaining"] is None
    assert found["table2"]["D"]["fraction_of_E"] is None
    assert set(found["figure2"]["sizes_fraction_of_D"].values()) == {None}
    assert found["projection"]["changed_fraction_of_known"] is None


def test_figure_2_sums_up_all_but_the_most_frequent_sizes() -> None:
    count = BARS + 5
    report = made({0: 1000}, {(size, False): size for size in range(1, count + 1)})
    kinds, e, d = figure2(report)
    assert [name for name, _ in kinds.bars] == [
        *("no EDNS", "EDNS without DO", "DO", "question not parsed")
    ]
    assert e.bars[:-1] == tuple((str(size), size) for size in range(6, count + 1))
    assert e.bars[-1] == ("(5 more)", 1 + 2 + 3 + 4 + 5)
    assert sum(n for _, n in e.bars) == e.whole == report.edns
    assert (d.bars, d.whole) == ((), 0)


def test_the_terminal_shows_paths_and_times_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = f"/{'x' * 150}/[red]:smile:\udcff.pcap"
    present_edns.show(made({0: 1}, no_edns=1, files=("a.pcap", long), first_ns=(1 << 62)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a.pcap"
    assert lines[1] == long.replace("\udcff", "\ufffd")
    assert any(line.endswith(" UTC") for line in lines)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (None, "-"),
        (0, "1970-01-01 00:00:00.000000000 UTC"),
        (1_108_000_000_123_456_789, "2005-02-10 01:46:40.123456789 UTC"),
        (1 << 90, "1237940039285380274.899124224 s after 1970"),
    ],
)
def test_times(nanoseconds: int | None, text: str) -> None:
    assert present_edns.moment(nanoseconds) == text


def test_a_plot_needs_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingNeedError, match=r"pip install 'xdpdns\[plot\]'"):
        plot_edns.check(tmp_path / "a.png")


def test_a_plot_is_svg_or_png(tmp_path: Path) -> None:
    for name in ("a.svg", "A.PNG"):
        plot_edns.check(tmp_path / name)
    for name in ("a", "a.jpeg", "svg"):
        with pytest.raises(SettingsError, match=r"\.svg or \.png"):
            plot_edns.check(tmp_path / name)
