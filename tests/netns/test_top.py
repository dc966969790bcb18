"""`xdpdns top` in a real terminal and in a pipe: what it shows is what was sent.

`XDPDNS_GOLDEN=write` writes the screens of golden/ anew; look at their difference then.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.netns.actors import XDPDNS, Agent, dnsperf, start_nsd
from tests.netns.foreign import by_bpftool
from tests.netns.lab import Lab, wait_until
from tests.netns.mix import Query, known_mix, labelled
from tests.netns.terminal import Terminal
from tests.schemas import valid
from xdpdns.hooks import Hooks

GOLDEN = Path(__file__).with_name("golden")
COUNT = 2000
TOP = [XDPDNS, "top", "eth0"]
# The order of the tables, and what makes a row of each.
DIMENSIONS = {"types": "qtype", "TLDs": "tld", "EDNS sizes": "edns", "family": "af"}


@pytest.fixture
def counted(lab: Lab) -> Iterator[tuple[Agent, Sequence[Query]]]:
    """An agent that has counted the known mix, all of it."""
    start_nsd(lab)
    agent = Agent(lab)
    mix = known_mix(COUNT)
    dnsperf(lab, [query.wire for query in mix])
    yield agent, mix
    agent.stop()


def by(mix: Sequence[Query], dimension: str) -> list[tuple[str, int]]:
    """Values with their counts in the order of the screen: by count, then by name."""
    counts = Counter(query.label(dimension) for query in mix)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def tables(lines: Sequence[str], width: int) -> dict[str, list[list[str]]]:
    """What stands on a screen of totals: by title, the words of each row."""
    columns = (width + 2) // 40
    wide = (width - 2 * (columns - 1)) // columns
    found: dict[str, list[list[str]]] = {}
    for column in range(columns):
        rows: list[list[str]] = []
        for line in lines[3:-1]:
            cell = line[column * (wide + 2) :][:wide]
            if title := re.match(r"(?:\d| ) (\S.*?) +total +share +rate$", cell):
                rows = found[title[1]] = []
            elif cell.strip():
                rows.append(cell.split())
    return found


def shows(rows: Sequence[Sequence[str]], expected: Sequence[tuple[str, int]]) -> bool:
    """Whether rows begin with the first of these values and counts; long names may be cut.

    A last row that says how many more there are has their sum.
    """
    *most, last = [*rows] or [[]]
    if last[1:2] == ["more"]:
        rest = expected[len(most) :]
        if last[:3] != [str(len(rest)), "more", f"{sum(count for _, count in rest):,}"]:
            return False
        rows = most
    return bool(rows) and all(
        row[1] == f"{count:,}"
        and (row[0] == value or (row[0].endswith("…") and value.startswith(row[0][:-1])))
        for row, (value, count) in zip(rows, expected[: len(rows)], strict=True)
    )


def masked(lines: Sequence[str]) -> list[str]:
    """A screen without what is another at each run: ids, times, averages, the curve."""
    head = [
        re.sub(r"program [\d+]+  up [\d:]+ +[\d:]+$", "program ID  up AGE  CLOCK", lines[0]),
        re.sub(r"average [\d.]+/s of .*?  resp", "average N/s of TIME  resp", lines[1]),
    ]
    return [*head, "(the last minutes)", *lines[3:]]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60)])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "no-colour"])
def test_golden(
    lab: Lab, counted: tuple[Agent, Sequence[Query]], width: int, height: int, colour: bool
) -> None:
    _, mix = counted
    env = {} if colour else {"NO_COLOR": "1"}
    with Terminal(lab.server, [*TOP, "--totals"], width, height, env) as terminal:
        terminal.wait_for(f"queries 0/s  average 0/s of 1 s  responses 0/s  total {COUNT:,}")
        terminal.wait_for("q quit")  # the last line: the screen is whole
        lines, raw = terminal.lines, terminal.raw
        terminal.type("q")
        wait_until("the end", lambda: terminal.exit_code == 0)
    assert len(lines) <= height

    shown = tables(lines, width)
    for title, dimension in DIMENSIONS.items():
        expected = by(mix, dimension)
        rows = shown[title]
        assert height < 60 or len(rows) == len(expected)
        assert shows(rows, expected)
        for (_, count), row in zip(expected, rows, strict=False):
            if row[1] == "more":
                assert height < 60
                break
            assert row[2:] == [f"{count / COUNT:.1%}", "0"]
    for name in ("do", "ad"):
        count = sum(query.label(name) == "1" for query in mix)
        [row] = [row for row in shown["flags"] if row[0] == name.upper()]
        assert row[1] == f"{count:,}"
    assert shown["outcomes"] == [["query", f"{COUNT:,}", "100.0%", "0"]]

    # NSD's zone has A for every name but the root's, and NS and SOA there
    answered = sum(
        query.label("qtype") in (("NS", "SOA") if query.label("tld") == "." else ("A",))
        for query in mix
    )
    codes = {row[0]: row[1] for row in shown["rcodes"]}
    assert codes == {"NODATA": f"{COUNT - answered:,}", "NOERROR": f"{answered:,}"}

    sgr = [code for one in re.findall(r"\x1b\[([\d;]*)m", raw) for code in one.split(";")]
    colours = {code for code in sgr if re.fullmatch(r"[349]\d|10\d", code) and code not in "3949"}
    assert bool(colours) == colour

    golden = GOLDEN / f"top-{width}x{height}.txt"
    text = "\n".join(masked(lines)) + "\n"
    if os.environ.get("XDPDNS_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


def test_keys(lab: Lab, counted: tuple[Agent, Sequence[Query]]) -> None:
    """Filter, one table alone, freeze and the end of it, on a live screen."""
    _, mix = counted
    with Terminal(lab.server, [*TOP, "--interval", "0.3"]) as terminal:
        terminal.wait_for(f"total {COUNT:,}")
        terminal.type("t", "/", "type=aaaa", "Space", "tld!=com", "Enter")
        fitting = [q for q in mix if q.label("qtype") == "AAAA" and q.label("tld") != "com"]
        lines = terminal.wait_for(f"total {len(fitting)}")
        assert any("type=aaaa tld!=com" in line for line in lines)
        shown = tables(lines, 80)
        assert [row[:2] for row in shown["types"]] == [["AAAA", str(len(fitting))]]
        assert shows(shown["TLDs"], by(fitting, "tld"))
        assert "outcomes" not in shown

        terminal.type("/", "Space", "colour=red", "Enter")
        terminal.wait_for("no label 'colour' is counted here")
        terminal.type("Escape", "/", "C-u", "Enter", "2")
        lines = terminal.wait_for("2 TLDs")
        terminal.wait_for(f"total {COUNT:,}")
        assert shows([line.split() for line in terminal.lines[4:-1] if line], by(mix, "tld"))

        terminal.type("Space")
        terminal.wait_for("HELD")
        dnsperf(lab, [query.wire for query in mix[:500]])
        time.sleep(0.7)
        assert any(f"total {COUNT:,}" in line for line in terminal.lines)
        terminal.type("Space")
        terminal.wait_for(f"total {COUNT + 500:,}")
        terminal.type("?")
        terminal.wait_for("hold the picture still")
        terminal.type("x", "q")
        wait_until("the end", lambda: terminal.exit_code == 0)


@pytest.mark.alone
def test_rates_of_a_steady_load(lab: Lab, counted: tuple[Agent, Sequence[Query]]) -> None:
    """Every interval's counts are what the totals grew by, and rates are those by its seconds."""
    argv = [*TOP, "--output", "json", "--interval", "0.5", "--count", "6"]
    top = lab.start(lab.server, argv, "top")
    dnsperf(lab, [query.wire for query in known_mix(COUNT, seed=7)], rate=900)
    wait_until("the last interval", lambda: top.exited is not None, timeout=30)
    assert top.exited == 0
    reports = [valid("top", line) for line in top.log.splitlines()]
    assert len(reports) == 6
    before: dict[tuple[str, str], int] = {}
    seen, start = 0, reports[0]["sides"]["queries"]
    already = start["total"] - round(start["rate"] * reports[0]["seconds"])
    assert already >= COUNT == len(counted[1])
    for one in reports:
        found = {(t["name"], row["value"]): row for t in one["tables"] for row in t["rows"]}
        types = {key: row for key, row in found.items() if key[0] == "qtype"}
        for key, row in types.items():
            if one is not reports[0]:
                assert row["total"] == before.get(key, 0) + row["count"]
            assert row["rate"] == pytest.approx(row["count"] / one["seconds"], abs=1e-3)
            before[key] = row["total"]
        in_interval = sum(row["count"] for row in types.values())
        seen += in_interval
        side = one["sides"]["queries"]
        assert side["rate"] == pytest.approx(in_interval / one["seconds"], abs=1e-3)
        assert side["total"] == already + seen
        assert side["average"] == pytest.approx(seen / one["window_seconds"], abs=1e-3)
    assert seen > 1000
    # paced, the middle intervals have the rate that was asked for
    assert 300 < max(one["sides"]["queries"]["rate"] for one in reports) < 2000


def test_pipe(lab: Lab, counted: tuple[Agent, Sequence[Query]]) -> None:
    _, mix = counted
    options = ["--interval", "0.2", "--totals", "--rows", "5"]
    out = lab.server.run([*TOP, "--once", *options]).stdout
    assert out.count("xdpdns top") == 1
    assert "\x1b" not in out
    for title, dimension in DIMENSIONS.items():
        [block] = re.findall(rf"^\d {title} .*\n((?:\S.*\n)+)", out, re.MULTILINE)
        found = [line.split()[:2] for line in block.splitlines()[:5]]
        assert found == [[value, f"{count:,}"] for value, count in by(mix, dimension)[:5]]
    assert lab.server.run([*TOP, "--count", "3", *options]).stdout.count("xdpdns top") == 3

    argv = lab.server.command([*TOP, "--interval", "0.1", "--rows", "1"])
    whole = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{' '.join(argv)} | head -n 1; echo ${{PIPESTATUS[0]}}"],
        text=True,
        capture_output=True,
        timeout=20,
    )
    assert whole.stdout.splitlines()[-1] == "1"
    assert "Traceback" not in whole.stderr


def on_hooks(lab: Lab) -> list[int]:
    """The ids of all programs on the server's eth0; Debian 12's bpftool doesn't know TCX."""

    def look() -> list[int]:
        with Hooks() as hooks:
            return [one.program_id for one in hooks.found(hooks.link("eth0"))]

    return lab.server.inside(look)


def state(lab: Lab, agent: Agent) -> dict[str, Any]:
    """What a reader must not change: the agent's counters, program, maps, fds, processes."""
    pid = agent.process.pid
    program = lab.server.xdp_program()
    argv = ["bpftool", "-j", "prog", "show", "id", str(program)]
    shown = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    samples = agent.scrape().samples
    return {
        "program": {key: shown[key] for key in ("id", "tag", "loaded_at", "map_ids")},
        "fds": sorted(str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()),
        "children": Path(f"/proc/{pid}/task/{pid}/children").read_text(),
        "counters": {
            (one.name, *sorted(one.labels.items())): one.value
            for one in samples
            if one.name.startswith("xdpdns_") and not one.name.startswith("xdpdns_scrape_")
        },
    }


def test_the_agent_is_left_as_it_was(lab: Lab, counted: tuple[Agent, Sequence[Query]]) -> None:
    agent, _ = counted
    before = state(lab, agent)
    with Terminal(lab.server, [*TOP, "--interval", "0.2"]) as terminal:
        terminal.wait_for(f"total {COUNT:,}")
        time.sleep(1)
        during = state(lab, agent)
        terminal.type("q")
        wait_until("the end", lambda: terminal.exit_code == 0)
    assert during == before
    with Terminal(lab.server, TOP) as terminal:
        terminal.wait_for(f"total {COUNT:,}")
        os.kill(terminal.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert state(lab, agent) == before


def test_cost(lab: Lab, counted: tuple[Agent, Sequence[Query]]) -> None:
    """Printed; the bound only catches a mistake, such as a loop that doesn't wait."""

    def ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    with Terminal(lab.server, TOP, 200, 60) as terminal:
        terminal.wait_for(f"total {COUNT:,}")
        started, before = time.monotonic(), ticks(terminal.pid)
        time.sleep(5)
        used = (ticks(terminal.pid) - before) / os.sysconf("SC_CLK_TCK")
        share = used / (time.monotonic() - started)
    print(f"top at 200x60, once a second: {share:.2%} of a CPU")
    assert share < 0.1


def test_without_an_agent_it_counts_by_itself(lab: Lab) -> None:
    start_nsd(lab)
    mix = known_mix(500)
    with Terminal(lab.server, [*TOP, "--interval", "0.3", "--totals"]) as terminal:
        terminal.wait_for("queries 0/s")
        first = lab.server.xdp_program()
        assert first
        dnsperf(lab, [query.wire for query in mix])
        lines = terminal.wait_for("total 500")
        assert shows(tables(lines, 80)["types"], by(mix, "qtype"))
        assert "responses " in lines[1]
        refused = lab.server.run([XDPDNS, "attach", "eth0"], check=False)
        assert refused.returncode == 1
        assert "xdpdns" in refused.stderr
        terminal.type("q")
        wait_until("the end", lambda: terminal.exit_code == 0)
        assert on_hooks(lab) == []
    with Terminal(lab.server, TOP) as terminal:
        terminal.wait_for("queries 0/s")
        assert lab.server.xdp_program() not in (None, first)
        assert len(on_hooks(lab)) == 2  # what arrives, what leaves
        os.kill(terminal.pid, signal.SIGKILL)
        wait_until("the programs' end", lambda: on_hooks(lab) == [])


def test_own_response_times(lab: Lab) -> None:
    """Every answered query is in exactly one bucket, and in a code."""
    start_nsd(lab)
    argv = [*TOP, "--output", "json", "--interval", "0.5"]
    top = lab.start(lab.server, argv, "top")
    wait_until("the programs", lambda: len(on_hooks(lab)) == 2)
    # one at a time: none is displaced by another
    dnsperf(lab, [query.wire for query in known_mix(300)], outstanding=1)
    time.sleep(1.2)
    assert top.stop(signal.SIGINT) == 0
    made = {one["name"]: one["rows"] for one in valid("top", top.log.splitlines()[-1])["tables"]}
    for name in ("rcode", "duration"):
        assert sum(row["total"] for row in made[name]) == 300
    assert {row["value"]: row["total"] for row in made["timed"]} == {"answered": 300}


def test_behind_somebody_elses_program(lab: Lab) -> None:
    """The XDP hook is taken: it counts at TCX, and the other program stays."""
    start_nsd(lab)
    by_bpftool(lab, "native")
    theirs = lab.server.xdp_program()
    with Terminal(lab.server, [*TOP, "--interval", "0.3"]) as terminal:
        terminal.wait_for("eth0 (tcx)")
        assert len(on_hooks(lab)) == 3
        terminal.wait_for("queries 0/s")
        dnsperf(lab, [query.wire for query in known_mix(300)])
        terminal.wait_for("total 300")
        terminal.type("q")
        wait_until("the end", lambda: terminal.exit_code == 0)
    assert on_hooks(lab) == [theirs]


def test_agents_that_come_and_go(lab: Lab) -> None:
    agent = Agent(lab, interfaces=("eth0", "lo"))
    with Terminal(lab.server, [XDPDNS, "top", "--interval", "0.3"]) as terminal:
        for key, name in (
            ("0", "lo (generic)"),
            ("Tab", "eth0 (native)"),
            ("BTab", "lo (generic)"),
        ):
            terminal.type(key)
            terminal.wait_for(f"xdpdns top  {name}")
        terminal.type("Tab")
        terminal.wait_for("xdpdns top  eth0 (native)")
        agent.stop()
        terminal.wait_for("no xdpdns counts on eth0")
        Agent(lab)
        terminal.wait_for("queries 0/s  average 0/s of 1 s")
        program = lab.server.xdp_program()
        assert f"program {program}+" in terminal.lines[0]
        assert not any("no xdpdns" in line for line in terminal.lines)


def test_hostile_names(lab: Lab) -> None:
    """A sender's bytes never reach the terminal as they are, on the screen or in a pipe."""
    start_nsd(lab)
    Agent(lab, "--tlds", "all")
    labels = [
        *(b"\x1b[2J\x1b[H", b"\x1b]0;pwned\x07", b"\x9b31m", b"a\r\nb", b"\x00\x7f\xff"),
        *(b"[bold]x[/]", "\u202e\u4e2d".encode(), b"~other", b'"\\.', b"x" * 63),
    ]
    wires = [labelled(b"www", label) for label in labels]
    path = lab.tmp / "screen.raw"
    with Terminal(lab.server, [*TOP, "--interval", "0.3", "--totals"]) as terminal:
        terminal.wait_for("queries 0/s")
        terminal.record(str(path))
        terminal.type("2")
        dnsperf(lab, wires * 3)
        lines = terminal.wait_for(f"total {3 * len(labels)}")
        assert any(line.startswith(r"\027[2j\027[h ") for line in lines)
        assert any(line.startswith("[bold]x[/] ") for line in lines)
        assert lines[0].startswith("xdpdns top  eth0")
        terminal.type("q")
        wait_until("the end", lambda: terminal.exit_code == 0)
    raw = path.read_bytes()
    assert rb"\027]0;pwned\007" in raw
    # all that is sent to the terminal: text, attributes, cursor home and visibility, the screens
    rest = re.sub(rb"\x1b\[[\d;]*m|\x1b\[H|\x1b\[\?(?:25|1049)[hl]|[\r\n]", b"", raw)
    assert rest.decode().isprintable()
    assert not re.search(rb"\x1b\](?!\\)", raw)
    out = lab.server.run([*TOP, "--once", "--interval", "0.2", "--rows", "50"]).stdout
    assert out.replace("\n", "").isprintable()


def test_sizes(lab: Lab) -> None:
    """Any size, also while it runs."""
    Agent(lab)
    with Terminal(lab.server, [*TOP, "--interval", "0.2"]) as terminal:
        terminal.wait_for("queries 0/s")
        for width, height in ((200, 60), (20, 5), (1, 1), (3, 40), (300, 2), (80, 24)):
            terminal.resize(width, height)
            time.sleep(0.5)
            assert terminal.exit_code is None
        lines = terminal.wait_for("queries 0/s")
        assert lines[0].startswith("xdpdns top  eth0")
        assert "quit" in lines[23]


@pytest.mark.parametrize("how", ["q", "C-c", "SIGTERM", "SIGHUP"])
def test_the_terminal_is_as_it_was(lab: Lab, how: str) -> None:
    Agent(lab)
    script = f"stty -g; {' '.join(TOP)}; echo code $?; stty -g; read -r rest"
    with Terminal(lab.server, ["bash", "-c", script], 120) as terminal:
        terminal.wait_for("queries 0/s")
        if how.startswith("SIG"):
            [pid] = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children").read_text().split()
            os.kill(int(pid), getattr(signal, how))
        else:
            terminal.type(how)
        lines = terminal.wait_for("code 0")
        wait_until("stty", lambda: len([line for line in terminal.lines if line]) == 3)
        first, code, second = [line for line in terminal.lines if line]
        assert (first, code) == (second, "code 0"), lines


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["eth7"], 1, "there is no interface eth7"),
        (["eth0", "--filter", "colour=red"], 2, "no label 'colour'"),
        (["eth0", "--filter", "nl"], 2, "no condition"),
        (["eth0", "--interval", "0"], 2, "--interval"),
        (["eth0", "--output", "screen"], 2, "needs a terminal"),
        (["eth0", "--once", "--count", "2"], 2, "--once is --count 1"),
    ],
)
def test_bad_input(lab: Lab, arguments: list[str], code: int, says: str) -> None:
    done = lab.server.run([XDPDNS, "top", *arguments], check=False)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert lab.server.xdp_program() is None


def test_without_root(lab: Lab) -> None:
    Agent(lab)
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    done = lab.server.run([*argv, sys.executable, "-m", "xdpdns", "top", "eth0"], check=False)
    assert done.returncode == 1
    assert "run as root" in done.stderr
