from __future__ import annotations

import gzip
import re
import subprocess
from dataclasses import replace
from shutil import which

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.metrics_fixture import ROW, SNAPSHOT, STATE, parsed, series, state
from xdpdns.exposition import OPENMETRICS_EOF, Renderer, compress, escape, render, wants_gzip
from xdpdns.exposition import wants_openmetrics as wants
from xdpdns.families import AgentState, InterfaceState, agent_families, families
from xdpdns.vocab import DIMENSIONS

Rows = dict[tuple[str, ...], int]

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


INGRESS = {"interface": "eth0", "direction": "ingress"}


def fail(collector: str, error: Exception) -> None:
    raise AssertionError(collector) from error


ONCE = (False, fail)


def scrape(states: list[InterfaceState], openmetrics: bool) -> bytes:
    made = families(states, fail) + agent_families(AgentState(0.5, {"gc": 1}))
    return render(made, openmetrics, fail) + (OPENMETRICS_EOF if openmetrics else b"")


def test_text_is_exactly_this() -> None:
    made = [f for f in families([STATE], fail) if f.metric.name == "xdpdns_queries_total"]
    assert render(made, False, fail).decode() == (
        "# HELP xdpdns_queries_total DNS messages with opcode QUERY and one whole question,"
        " by their features.\n"
        "# TYPE xdpdns_queries_total counter\n"
        'xdpdns_queries_total{interface="eth0",direction="ingress",af="ipv4",proto="udp",qr="0",do="1",ad="0",'
        'edns="1232",qtype="AAAA",tld="com"} 4\n'
    )


def test_openmetrics_names_the_family_without_its_suffix() -> None:
    text = scrape([STATE], True).decode()
    assert "# TYPE xdpdns_queries counter\n" in text
    assert "# TYPE xdpdns_build info\nxdpdns_build_info{" in text
    assert "_created" not in text
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_reference_parsers_read_what_was_written(openmetrics: bool) -> None:
    states = [STATE, InterfaceState("eth1", False, "absent")]
    samples = parsed(scrape(states, openmetrics), openmetrics)
    row = dict(zip(DIMENSIONS, ROW, strict=True))
    assert samples[series("xdpdns_queries_total", **INGRESS, **row)] == 4
    assert samples[series("xdpdns_up", interface="eth1")] == 0
    assert samples[series("xdpdns_program_run_seconds_total", **INGRESS)] == 0.25
    assert samples[series("xdpdns_query_size_bytes_sum", **INGRESS)] == 12345
    size = SNAPSHOT.marginals.size.count
    bucket = series("xdpdns_query_size_bytes_bucket", **INGRESS, le="+Inf")
    assert samples[bucket] == size
    assert samples[series("xdpdns_scrape_duration_seconds")] == 0.5


@pytest.mark.skipif(which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_say() -> None:
    hostile = replace(STATE, interface='a"b\\c\nd\udcff\x00é')
    rows: Rows = {
        (*ROW[:-1], tld): 1 for tld in ('\\"', "\n", "\x00", "\udcff", "é", "}", "{", " ", "#")
    }
    text = scrape([hostile, state(rows, DIMENSIONS)], False)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


HOSTILE = st.text(
    st.characters(exclude_categories=()) | st.sampled_from('\\"\n\r\t{}=, #\x00\ud800\udfff\x85'),
    max_size=8,
)


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), text)


@given(HOSTILE)
def test_escape_loses_nothing_and_is_always_utf8(value: str) -> None:
    written = escape(value)
    assert "\n" not in written
    assert '"' not in written.replace("\\\\", "").replace('\\"', "")
    utf8 = value.encode("utf-8", "backslashreplace").decode()
    assert unescape(written.encode("utf-8").decode("utf-8")) == utf8


@given(st.sets(st.tuples(HOSTILE, HOSTILE), max_size=5))
def test_hostile_rows_are_one_line_each(rows: set[tuple[str, str]]) -> None:
    queries: Rows = {row: i for i, row in enumerate(rows)}
    made = [
        f
        for f in families([state(queries, ("edns", "tld"))], fail)
        if f.metric.name == "xdpdns_queries_total"
    ]
    for openmetrics in (False, True):
        lines = render(made, openmetrics, fail).decode("utf-8").split("\n")[2:-1]
        assert lines == [
            f'xdpdns_queries_total{{interface="eth0",direction="ingress",'
            f'edns="{escape(a)}",tld="{escape(b)}"}} {i}'
            for (a, b), i in queries.items()
        ]


PARSED = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(st.sets(st.tuples(PARSED, PARSED), max_size=5))
def test_hostile_rows_come_back_from_the_reference_parser(rows: set[tuple[str, str]]) -> None:
    queries: Rows = {row: i for i, row in enumerate(rows)}
    samples = parsed(scrape([state(queries, ("edns", "tld"))], True), True)
    for (edns, tld), i in queries.items():
        assert samples[series("xdpdns_queries_total", **INGRESS, edns=edns, tld=tld)] == i


def test_a_percent_sign_is_only_text() -> None:
    text = scrape([state({("100%d%a",): 5, ("%%",): 0}, ("tld",))], False).decode()
    assert 'tld="100%d%a"} 5\n' in text
    assert 'tld="%%"} 0\n' in text


@given(st.lists(st.lists(st.tuples(HOSTILE, HOSTILE), max_size=5, unique=True), max_size=4))
def test_what_is_remembered_changes_nothing(scrapes: list[list[tuple[str, str]]]) -> None:
    renderer = Renderer()
    for at, rows in enumerate(scrapes):
        queries: Rows = {row: at + i for i, row in enumerate(rows)}
        made = families([state(queries, ("edns", "tld"))], fail)
        for openmetrics in (False, True):
            assert renderer.render(made, openmetrics, fail) == render(made, openmetrics, fail)


def test_interfaces_that_have_gone_are_not_remembered() -> None:
    renderer = Renderer()
    renderer.render(families([replace(STATE, interface=f"veth{i}") for i in range(9)], fail), *ONCE)
    renderer.render(families([STATE], fail), *ONCE)
    assert {fixed for _name, _labels, fixed in renderer._known} == {
        ("eth0",),
        ("eth0", "ingress"),
        ("eth0", "ingress", "queries"),
    }


@pytest.mark.parametrize("rows", [1, 4095, 4096, 4097, 10000])
def test_no_row_is_lost_between_chunks(rows: int) -> None:
    queries: Rows = {(f"t{i}" if i % 5000 else 'dirty"',): i for i in range(rows)}
    samples = parsed(scrape([state(queries, ("tld",))], False))
    counted = {k: v for k, v in samples.items() if k[0] == "xdpdns_queries_total"}
    assert len(counted) == len(queries)
    assert sum(counted.values()) == sum(queries.values())


def test_counts_beyond_a_double_are_written_whole() -> None:
    text = scrape([state({("com",): 2**64 - 1}, ("tld",))], False).decode()
    assert 'tld="com"} 18446744073709551615\n' in text


@pytest.mark.parametrize(
    "rows",
    [
        {("a", "b"): 1},  # a row of the wrong length
        {("com",): 1, (7,): 2},  # a value that is no text
    ],
)
def test_a_block_that_cannot_be_written_is_left_out_whole(rows: Rows) -> None:
    errors: list[str] = []
    made = families([state(rows, ("tld",)), replace(STATE, interface="eth1")], fail)
    text = render(made, False, lambda name, error: errors.append(name)).decode()
    assert errors == ["render"]
    assert 'xdpdns_queries_total{interface="eth0"' not in text
    assert 'xdpdns_queries_total{interface="eth1"' in text
    assert 'xdpdns_packets_total{interface="eth0"' in text


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/openmetrics-text; version=0.0.1", True),
        ("application/openmetrics-text; version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0, */*", False),
        ("application/openmetrics-text;q=0.5,text/plain;version=0.0.4;q=0.6", False),
        ("application/openmetrics-text;q=0.6,text/plain;version=0.0.4;q=0.6", True),
        ("application/openmetrics-text;q=0.1,text/plain;version=1.0.0;q=0.9", True),
        ("application/openmetrics-text;q=zero,text/plain", False),
        ("application/openmetrics-text;q=nan,text/plain;q=0.1", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("image/png", False),
        (",;,=;q", False),
    ],
)
def test_negotiation(accept: str, openmetrics: bool) -> None:
    assert wants(accept) is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "asked"),
    [
        ("", False),
        ("gzip", True),
        ("x-gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("identity", False),
        ("*", False),
        ("gzipped", False),
        ("gzip;q=x", False),
    ],
)
def test_gzip_only_when_asked(accept_encoding: str, asked: bool) -> None:
    assert wants_gzip(accept_encoding) is asked


def test_compress_is_gzip_and_repeatable() -> None:
    text = scrape([STATE], False)
    assert gzip.decompress(compress(text)) == text
    assert compress(text) == compress(text)
