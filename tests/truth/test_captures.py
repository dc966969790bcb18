"""Every shared capture through four decoders that know nothing of each other.

Packet by packet: the reference, tshark, and dpkt with dnspython. As a whole: the BPF program by way
of replay. What differs must have a named reason; one line a capture, and a total, are printed under
the results.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.truth import captures, library, rules, tshark
from tests.truth.compare import differences
from tests.truth.conftest import Report, capture_files, dissection
from tests.truth.loading import EXACT, settings
from tests.truth.reference import Verdict, classify
from tests.truth.reuse import Reused, reused
from tests.truth.table import tabulate
from xdpdns.errors import CaptureError
from xdpdns.replay import replay

# The link types that carry no IP; xdpdns must name them too.
UNREADABLE = {
    "PcapPlusPlus__Tests_Packet++Test_PacketExamples_nflogPacket.pcap": "link type 239",
    "packetnet__Test_CaptureFiles_80211_ppi_multiplefields.pcap": "link type 192",
    "tcpdump__arcnet-rfc1051-arp-icmp-http.pcap": "link type 129",
    "tcpreplay__test_test.rewrite_dlthdlc.pcap": "link type 104",
    "tcpreplay__test_test2.rewrite_dlthdlc.pcap": "link type 104",
    "zeek__wlanmon.pcap": "link type 105",
}

# A file whose last packet is cut: dpkt gives what there is of it, tshark and xdpdns do not.
CUT_FILES = {
    "PcapPlusPlus__Tests_Fuzzers_RegressionTests_regression_samples_clusterfuzz-testcase-"
    "FuzzTarget-5188876846235648.pcap"
}

VISIBLE = 3520
"""What a program sees of a longer frame: a page less headroom and skb_shared_info (x86-64)."""


@pytest.fixture
def program() -> Reused:
    """A program with a row for every TLD and type, and empty maps."""
    if os.geteuid():
        pytest.skip("loading BPF programs needs root")
    program = reused(replace(settings(EXACT), max_series=10_000))
    program.clear()
    return program


@pytest.mark.parametrize("path", capture_files(), ids=lambda path: path.name)
def test_all_decoders_agree(
    path: Path,
    program: Reused,
    report: Report,
) -> None:
    if path.name in UNREADABLE:
        with pytest.raises(ValueError, match=UNREADABLE[path.name]):
            captures.read(path)
        with pytest.raises(CaptureError, match=UNREADABLE[path.name]):
            replay([path], program)
        report.lines.append(f"{path.name}: not read, {UNREADABLE[path.name]}")
        return
    frames = captures.read(path)
    if path.name in CUT_FILES:
        frames.pop()
    verdicts = [classify(frame, EXACT) for frame in frames]
    seen = dissection(path)
    explained, wrong = judge(frames, verdicts, seen)
    result = replay([path], program)
    table = tabulate((frame[:VISIBLE] for frame in frames), EXACT)
    wrong += map(str, differences(table, result.snapshot))
    report.capture(
        path.name,
        explained,
        packets=result.packets,
        queries=result.snapshot.outcomes["query"],
        rows=len(result.snapshot.queries),
        differences=len(wrong),
    )
    assert wrong == []
    assert result.packets == len(frames)


def judge(
    frames: list[bytes], verdicts: list[Verdict], seen: list[tshark.Dissection]
) -> tuple[Counter[str], list[str]]:
    """The rules that explain what the others see differently, and what none explains."""
    explained: Counter[str] = Counter()
    wrong = []
    for number, packet in enumerate(zip(frames, verdicts, seen, strict=True), 1):
        frame, ours, dissected = packet
        theirs = tshark.row(dissected, EXACT)
        if theirs != ours.row:
            rule = rules.explain(rules.Case(frame, ours, theirs, dissected))
            if rule:
                explained[rule] += 1
            else:
                wrong.append(f"packet {number}: {ours}, tshark {theirs}")
        try:
            third = library.row(frame, EXACT)
        except library.NoOpinionError:
            continue
        if third != ours.row:
            wrong.append(f"packet {number}: {ours}, dnspython {third}")
    return explained, wrong
