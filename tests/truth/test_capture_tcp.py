"""Messages over TCP in the shared captures: rows, segment by segment, against tshark's streams."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.truth import captures, tcp_messages, tshark
from tests.truth.conftest import Report, capture_files
from tests.truth.loading import EXACT, EXACT_RESPONSES, settings
from tests.truth.reference import Config, ResponseRow, Row, classify
from tests.truth.reuse import reused
from tests.truth.runner import Runner
from tests.truth.tcp_messages import Case, Rows, Segment, explain
from tests.truth.test_captures import VISIBLE

NAMES = [
    "PcapPlusPlus__Tests_Packet++Test_PacketExamples_dns_over_tcp.pcapng",
    "TracePcap__sample-files_demo_all_rules.pcap",
    "arkime__arkime_synthetic.pcap",
    "bad-packets__various-dns-pcaps_1qtcppadd.pcap",
    "bad-packets__various-dns-pcaps_dnso1tcp-bighole.pcap",
    "bad-packets__various-dns-pcaps_dnso1tcp-midmiss.pcap",
    "bad-packets__various-dns-pcaps_dnsotcp-many1pkt.pcap",
    "bad-packets__various-dns-pcaps_dnsotcp-manyopkts.pcap",
    "compactor__test-scripts_nsd-live.raw.pcap",
    "dns-probe__test_pcaps_tcp_simple.pcap",
    "dnsjit__tcp-response-with-trailing-junk.pcap",
    "drool__1qtcp.pcap",
    "entrada2__sidnlabs-test-tcp-stream-continued.pcap",
    "entrada__sidnlabs-tcp-stream-multiple-dns-message-response-only.pcap",
    "entrada__sidnlabs-tcp.pcap",
    "entrada__sidnlabs-test-multiple-dns-in-single-tcp-stream.pcap",
    "entrada__sidnlabs-test-multiple-dns-msg-over-tcp.pcap",
    "entrada__sidnlabs-test-tcp-handshake.pcap",
    "entrada__sidnlabs-test-tcp-stream-retransmision.pcap",
    "entrada__sidnlabs-test-tcp-syn-retransmission.pcap",
    "entrada__sidnlabs-test-tcp-ts-option.pcap",
    "entrada__sidnlabs-test-udp-edns-size-512-1-request.pcap",
    "nDPI__portable_executable.pcap",
    "ntopng__fuzz_corpus_fuzz_dissect_packet_dns_tcp.pcap",
    "suricata-verify__dns-reversed-tcp-1_dns.pcap",
    "suricata-verify__dns-tcp-ts-gap_original.pcap_.pcap",
    "suricata-verify__dns_dns-query_dns-detect-query-03_input.pcap",
    "suricata-verify__dns_dns-tcp-multirequest-buffer_dns-tcp-multirequest-buffer.pcap",
    "suricata-verify__uricontent_detect-uricontent-02_input.pcap",
    "suricata-verify__uricontent_detect-uricontent-06_input.pcap",
    "suricata-verify__uricontent_detect-uricontent-07_input.pcap",
    "zeek__dns-edns-cookie.pcap",
    "zeek__dns_tkey.pcap",
]
"""Those that hold data to or from TCP port 53."""

FILES = [path for path in capture_files() if path.name in NAMES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_segment_by_segment(path: Path, report: Report) -> None:
    if tshark.MISSING or os.geteuid():
        pytest.skip("needs tshark, and root to load BPF programs")
    frames = captures.read(path)
    seen = tcp_messages.dissect(path)
    explained: Counter[str] = Counter()
    wrong: list[str] = []
    counts = [judge(frames, seen, config, explained, wrong) for config in (EXACT, EXACT_RESPONSES)]
    report.capture(
        path.name,
        explained,
        segments=sum(segments for segments, _ in counts),
        queries_over_tcp=counts[0][1],
        responses_over_tcp=counts[1][1],
        differences=len(wrong),
    )
    assert wrong == []
    assert sum(segments for segments, _ in counts) > 0


def judge(
    frames: list[bytes],
    seen: dict[int, Segment],
    config: Config,
    explained: Counter[str],
    wrong: list[str],
) -> tuple[int, int]:
    """Segments, and messages in rows, of one side; and why tshark has other rows, if it has."""
    segments = messages = 0
    row_type = Row if config.side == "queries" else ResponseRow
    program = reused(replace(settings(config), tcp=True, max_series=10_000))
    program.clear()
    runner = Runner(program, config)
    for index, frame in enumerate(frames):
        if classify(frame, config).outcome != "tcp":
            continue
        before = program.snapshot().tcp
        counted = runner.run([frame[:VISIBLE]]).queries
        ours: Rows = Counter({row_type(*row): n for row, n in counted.items()})
        after = program.snapshot().tcp
        assert before is not None
        assert after is not None
        [kind] = (name for name, n in after.segments.items() if n != before.segments[name])
        segments += 1
        messages += ours.total()
        segment = seen[index]
        steps = max(map(tcp_messages.steps, segment.messages), default=0)
        case = Case(kind, ours, rows(segment, config), segment.marks, steps)
        if case.ours != case.theirs:
            rule = explain(case)
            explained.update([rule] if rule else [])
            if not rule:
                wrong.append(f"packet {index + 1}, {config.side}: {case}")
    return segments, messages


def rows(segment: Segment, config: Config) -> Rows:
    """Those of tshark's messages, as the program's snapshot has them."""
    make = tshark.row if config.side == "queries" else tshark.response_row
    found = (make(message, config) for message in segment.messages)
    return Counter(row._replace(proto="tcp") for row in found if row is not None)


PLAIN = Row("ipv4", "tcp", "0", "0", "0", "no_edns", "A", "nl")
OTHER = PLAIN._replace(tld="de")
CASES = {
    "spans_segments": Case(
        "continuation", Counter(), Counter([PLAIN]), frozenset({"tcp.segments"})
    ),
    "behind_a_gap": Case("messages", Counter([PLAIN]), Counter(), frozenset({"tcp.segment_data"})),
    "beginning_unseen": Case("unknown", Counter(), Counter({PLAIN: 75}), frozenset()),
    "unprintable_name": Case(
        "messages",
        Counter([PLAIN._replace(tld=r"a\255")]),
        Counter([PLAIN._replace(tld=r"a\239\191\189")]),
        frozenset(),
    ),
    "walk_bound": Case(
        "messages",
        Counter([PLAIN._replace(edns="unseen")]),
        Counter([PLAIN._replace(do="1", edns="1232")]),
        frozenset(),
        steps=257,
    ),
}
"""What each rule is for."""


@pytest.mark.parametrize("rule", tcp_messages.RULES, ids=lambda rule: rule.__name__)
def test_rules_explain_their_case_alone(rule: Callable[[Case], bool]) -> None:
    case = CASES[rule.__name__]
    assert rule(case)
    assert [name for name, other in CASES.items() if rule(other)] == [rule.__name__]
    wrong = case._replace(kind="messages", ours=Counter([PLAIN]), theirs=Counter([OTHER]))
    assert not rule(wrong)
    assert not rule(case._replace(kind="messages", ours=case.theirs, theirs=case.ours))
