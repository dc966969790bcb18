"""Every shared capture, packet by packet, through four decoders that know nothing of each other.

The reference, tshark, dpkt with dnspython, and the BPF program by way of `xdpdns replay`. What
differs must have a named reason; one line a capture, and a total, are printed under the results.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.truth import captures, library, rules, tshark
from tests.truth.conftest import capture_files
from tests.truth.reference import Config, classify, tabulate

EXACT = Config(tlds=None, registered_only=False)

# What dpkt does not read; xdpdns names the link type or the damage, which tests/unit checks.
UNREADABLE = {
    "PcapPlusPlus__Tests_Packet++Test_PacketExamples_nflogPacket.pcap": "link type 239",
    "packetnet__Test_CaptureFiles_80211_ppi_multiplefields.pcap": "link type 192",
    "tcpdump__arcnet-rfc1051-arp-icmp-http.pcap": "link type 129",
    "tcpreplay__test_test.rewrite_dlthdlc.pcap": "link type 104",
    "tcpreplay__test_test2.rewrite_dlthdlc.pcap": "link type 104",
    "zeek__wlanmon.pcap": "link type 105",
}

# Files whose last packet is cut; dpkt gives it, tshark and xdpdns do not.
CUT_FILES = {
    "PcapPlusPlus__Tests_Fuzzers_RegressionTests_regression_samples_clusterfuzz-testcase-"
    "FuzzTarget-5188876846235648.pcap"
}


@pytest.mark.parametrize("path", capture_files(), ids=lambda path: path.name)
def test_all_decoders_agree(
    path: Path, dissections: dict[str, Future[list[tshark.Dissection]]], report: list[str]
) -> None:
    if path.name in UNREADABLE:
        with pytest.raises(ValueError, match=UNREADABLE[path.name]):
            captures.read(path)
        report.append(f"{path.name}: not read, {UNREADABLE[path.name]}")
        return
    frames = captures.read(path)
    if path.name in CUT_FILES:
        frames.pop()
    explained: Counter[str] = Counter()
    wrong = []
    seen = dissections[path.name].result(timeout=100)
    for number, (frame, dissection) in enumerate(zip(frames, seen, strict=True), 1):
        ours = classify(frame, EXACT)
        theirs = tshark.row(dissection, EXACT)
        if theirs != ours.row:
            rule = rules.explain(rules.Case(frame, ours, theirs, dissection))
            explained[rule or "?"] += 1
            if rule is None:
                wrong.append(f"packet {number}: {ours}, tshark {theirs}")
        try:
            third = library.row(frame, EXACT)
        except library.NoOpinionError:
            continue
        if third != ours.row:
            bounded = rules.beyond_reach(ours.row, third)
            explained["record_bound" if bounded else "?"] += 1
            if not bounded:
                wrong.append(f"packet {number}: {ours}, dnspython {third}")
    table = tabulate(frames, EXACT)
    because = ", ".join(f"{rule} {n}" for rule, n in sorted(explained.items())) or "0 differences"
    report.append(f"{path.name}: {len(frames)} packets, {len(table.rows)} rows, {because}")
    assert not wrong
