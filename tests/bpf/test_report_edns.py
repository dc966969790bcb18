"""`xdpdns report edns` as a command: the published counts, every kind of packet, bad input.

The published tables do not add up everywhere. What can't be met at once:

- k.root: the sizes of D sum to 227282, one less than the number that is given for D. Every size of
  E is given and they sum to E, so the missing one offers no other size. The trace has the sizes.
- ns-pri: the sizes of D sum to 476683, 179 more than the number that is given for D. The trace has
  the sizes.
- k.root's remaining is 3 more than opcode QUERY less TC less QR. That can be met: 3 have both.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dpkt
import pytest

from tests import packets as p
from tests.bpf import ripe352
from tests.bpf.ripe352 import K_ROOT, NS_PRI, SIZES, Published, frame6, query
from tests.truth.captures import read
from tests.unit.test_capture import pcap

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

S = 1_000_000_000
COMMAND = (sys.executable, "-m", "xdpdns", "report", "edns")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)


def report(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    done = run("--output", "json", *arguments)
    assert done.returncode == code, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def piped(chunks: Iterable[bytes], *arguments: str) -> str:
    """The output for a capture that is never in a file."""
    command = [*COMMAND, *arguments, "/dev/stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for chunk in chunks:
            process.stdin.write(chunk)
        process.stdin.close()
        output = process.stdout.read().decode()
    assert process.returncode == 0
    return output


def capture(folder: Path, frames: Sequence[bytes], name: str = "a.pcap") -> Path:
    path = folder / name
    path.write_bytes(pcap([((i + 1) * S, frame) for i, frame in enumerate(frames)]))
    return path


# --- the published counts -----------------------------------------------------------------------


@pytest.mark.parametrize("published", [K_ROOT, NS_PRI], ids=["k.root", "ns-pri"])
def test_the_published_counts_are_printed(published: Published) -> None:
    printed = piped(ripe352.trace(published)).partition("Figure 2")[0]
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    do = sum(published.d_sizes)
    assert do - published.d == {K_ROOT: -1, NS_PRI: 179}[published]
    for expected in (
        "first packet 2005-02-10 01:46:40.000000000 UTC",
        "last packet 2005-02-10 01:47:04.000000000 UTC",
        f"packets {published.udp + 3 * ripe352.ELSEWHERE:,}",
        f"UDP packets to port 53 {published.udp:,}",
        f"DNS messages (12 bytes or more) {published.udp - ripe352.SHORT:,}",
        f"opcode QUERY {published.query:,}",
        f"with TC set {published.tc:,}",
        f"with QR set {published.qr:,}",
        f"remaining: QUERY, TC clear, QR clear {published.remaining:,}",
        f"number {published.e:,} {do:,}",
        f"fraction of the remaining queries {published.e / published.remaining:.2%} "
        f"{do / published.remaining:.2%}",
        f"fraction of E {do / published.e:.2%}",
        *(
            f"EDNS size {size} {e:,} {d:,}"
            for size, e, d in zip(SIZES, published.e_sizes, published.d_sizes, strict=True)
        ),
    ):
        assert lines.count(expected) == 1, expected
    assert sum(line.startswith("EDNS size") for line in lines) == len(SIZES)


# --- every kind of packet -----------------------------------------------------------------------

OPT = p.opt(1232, do=True)


def test_each_kind_of_packet_is_where_it_belongs(tmp_path: Path) -> None:
    elsewhere = [
        p.frame4(query(512), dport=54),
        p.ethernet(p.ipv4(p.tcp(query(512)), proto=p.TCP)),
        p.ethernet(p.ipv4(p.udp(query(512)), offset=1)),  # a later fragment
        p.ethernet(p.ipv4(p.udp(query(512), length=7))),
        bytes(13),
    ]
    no_dns = [p.frame4(b""), p.frame4(bytes(11))]
    no_query = [p.frame4(query(512, opcode=opcode)) for opcode in (p.NOTIFY, p.UPDATE, 15)]
    responses = [p.frame4(query(512, True, qr=1))] * 2
    truncated = [p.frame4(query(512, True, tc=1))] * 3
    both = [p.frame4(query(512, True, tc=1, qr=1))]
    not_parsed = [
        p.frame4(p.message(OPT, counts=(0, 0, 0, 1))),
        p.frame4(p.message(p.question("a.") * 2 + OPT, counts=(2, 0, 0, 1))),
        p.frame4(p.message(b"\xc0\x0c" + bytes(4) + OPT, counts=(1, 0, 0, 1))),
        p.frame4(p.message(b"\x03com")),
    ]
    unseen = [p.frame4(p.dns_query(counts=(1, 0, 0, 1)))]
    no_edns = [p.frame4(query()), frame6(query())]
    edns = [p.frame4(query(size)) for size in (0, 1, 1232, 1232, 65535)]
    do = [frame6(query(size, True)) for size in (0, 1232, 4096, 65535, 65535)]
    remaining = [*not_parsed, *unseen, *no_edns, *edns, *do]
    queries = [*responses, *truncated, *both, *remaining]
    path = capture(tmp_path, [*elsewhere, *no_dns, *no_query, *queries])

    made = report(path)
    assert made["files"] == [str(path)]
    assert made["table1"] == {
        "first": "1.000000000",
        "last": f"{5 + 2 + 3 + len(queries)}.000000000",
        "packets": 5 + 2 + 3 + len(queries),
        "ports": [53],
        "udp_to_port": 2 + 3 + len(queries),
        "dns": 3 + len(queries),
        "opcode_query": len(queries),
        "opcode_query_tc": 4,
        "opcode_query_qr": 3,
        "opcode_query_tc_and_qr": 1,
        "remaining": len(remaining),
    }
    expected_e = {"0": 2, "1": 1, "1232": 3, "4096": 1, "65535": 3}
    expected_d = {"0": 1, "1232": 1, "4096": 1, "65535": 2}
    table2 = made["table2"]
    assert table2["question_not_parsed"] == 4
    assert table2["opt_not_reached"] == 1
    assert table2["no_edns"] == {"count": 2, "fraction_of_remaining": 2 / 17}
    assert table2["E"]["count"] == 10
    assert {size: n for size, n in table2["E"]["sizes"].items() if n} == expected_e
    assert table2["D"]["count"] == 5
    assert {size: n for size, n in table2["D"]["sizes"].items() if n} == expected_d


def test_several_files_are_one_report(tmp_path: Path) -> None:
    first = capture(tmp_path, [p.frame4(query(512))] * 3)
    second = tmp_path / "b.pcap.gz"
    second.write_bytes(gzip.compress(pcap([(9 * S, p.frame4(query(512, True)))] * 2)))
    made = report(first, second)
    assert made["files"] == [str(first), str(second)]
    assert (made["table1"]["first"], made["table1"]["last"]) == ("1.000000000", "9.000000000")
    assert (made["table2"]["E"]["count"], made["table2"]["D"]["count"]) == (5, 2)


def test_other_ports_are_watched_if_asked(tmp_path: Path) -> None:
    path = capture(tmp_path, [p.frame4(query(512), dport=port) for port in (53, 5353, 5354)])
    made = report("--port", "5353,5354", path)
    assert made["table1"]["ports"] == [5353, 5354]
    assert made["table1"]["udp_to_port"] == made["table2"]["E"]["count"] == 2
    assert "UDP packets to port 5353 or 5354" in run("--port", "5353,5354", path).stdout


@pytest.mark.parametrize(
    "name",
    [
        "compactor__test-scripts_nsd-live.raw.pcap",
        "mercury__unit_tests_pcaps_capture2.pcap",
        "PacketQ__dns6.pcap",
    ],
)
def test_dnspython_reads_the_same_in_real_traffic(captures: Path, name: str) -> None:
    made = report(captures / name)
    counts: Counter[str] = Counter()
    sizes: Counter[tuple[int, bool]] = Counter()
    for frame in read(captures / name):
        packet = dpkt.ethernet.Ethernet(frame).data
        datagram = getattr(packet, "data", None)
        if not isinstance(datagram, dpkt.udp.UDP) or datagram.dport != 53:
            continue
        counts["udp_to_port"] += 1
        wire = datagram.data
        counts["dns"] += len(wire) >= 12
        if len(wire) < 12 or wire[2] & 0x78:
            continue
        counts["opcode_query"] += 1
        if wire[2] & 0x82:
            continue
        counts["remaining"] += 1
        try:
            question = dns.message.from_wire(wire, question_only=True).question
        except dns.exception.DNSException:
            question = []
        if len(question) != 1:
            counts["question_not_parsed"] += 1
            continue
        message = dns.message.from_wire(wire, ignore_trailing=True, raise_on_truncation=False)
        if message.edns < 0:
            counts["no_edns"] += 1
        else:
            sizes[message.payload, bool(message.ednsflags & dns.flags.DO)] += 1
    assert counts["remaining"] > 0
    for row in ("udp_to_port", "dns", "opcode_query", "remaining"):
        assert made["table1"][row] == counts[row], row
    assert made["table2"]["question_not_parsed"] == counts["question_not_parsed"]
    assert made["table2"]["no_edns"]["count"] == counts["no_edns"]
    for row, expected in (
        ("D", {size: n for (size, do), n in sizes.items() if do}),
        ("E", Counter([size for size, _ in sizes.elements()])),
    ):
        found = {int(size): n for size, n in made["table2"][row]["sizes"].items() if n}
        assert found == expected, row


# --- pictures -----------------------------------------------------------------------------------


def test_plots(tmp_path: Path) -> None:
    path = capture(tmp_path, [p.frame4(query(1232))] * 3 + [p.frame4(query(4096, True))])
    svg, again, png = tmp_path / "a.svg", tmp_path / "b.SVG", tmp_path / "c.png"
    for plot in (svg, again, png):
        done = run("--plot", plot, path)
        assert (done.returncode, done.stderr) == (0, "")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert svg.read_bytes() == again.read_bytes()
    text = svg.read_text()
    for expected in ("% of E (4)", ">1232<", "3 (75.00 %)", "% of D (1)", "no EDNS"):
        assert expected in text, expected


# --- bad input ----------------------------------------------------------------------------------


def test_an_empty_capture_is_a_report_of_zeros(tmp_path: Path) -> None:
    path, plot = capture(tmp_path, []), tmp_path / "a.svg"
    made = report(path, "--plot", plot)
    assert (made["table1"].pop("first"), made["table1"].pop("last")) == (None, None)
    assert made["table1"].pop("ports") == [53]
    assert set(made["table1"].values()) == {0}
    assert made["table2"]["E"]["count"] == 0
    assert made["table2"]["D"]["fraction_of_E"] is None
    assert made["projection"]["changed_fraction_of_known"] is None
    assert plot.stat().st_size
    done = run(path)
    assert done.returncode == 0
    assert "number 0 0" in " ".join(done.stdout.split())


@pytest.mark.parametrize("output", ["json", "text"])
def test_a_truncated_file_gives_what_was_readable_and_exit_code_1(
    tmp_path: Path, output: str
) -> None:
    frame = p.frame4(query(512))
    path = capture(tmp_path, [frame] * 3)
    path.write_bytes(path.read_bytes()[:-1])
    done = run("--output", output, path)
    assert done.returncode == 1
    assert f"byte {24 + 2 * (16 + len(frame))}" in done.stderr
    assert str(path) in done.stderr
    if output == "json":
        made = json.loads(done.stdout)
        assert made["table2"]["E"]["count"] == 2
        assert len(made["warnings"]) == 1
    else:
        assert "EDNS size 512 2 0" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "can't be read"),
        (b"text", "no capture"),
        (pcap([(S, b"")], 105), "105 (IEEE 802.11)"),
    ],
)
def test_what_is_no_capture_is_one_sentence(tmp_path: Path, data: bytes | None, text: str) -> None:
    path = tmp_path / "a.pcap"
    if data is not None:
        path.write_bytes(data)
    done = run(path)
    assert (done.returncode, done.stdout) == (1, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("plot", "text"),
    [("a.pdf", "has to end in .svg or .png"), ("nowhere/a.svg", "there is no folder")],
)
def test_a_plot_that_can_not_be_is_wrong_usage(tmp_path: Path, plot: str, text: str) -> None:
    done = run("--plot", tmp_path / plot, tmp_path / "never-opened.pcap")
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr


def test_a_plot_that_can_not_be_written_does_not_cost_the_report(tmp_path: Path) -> None:
    path = capture(tmp_path, [p.frame4(query(512))])
    (tmp_path / "a.svg").symlink_to("/proc/a.svg")
    done = run("--plot", tmp_path / "a.svg", path)
    assert done.returncode == 1
    assert "can't be written" in done.stderr
    assert "EDNS size 512 1 0" in " ".join(done.stdout.split())
