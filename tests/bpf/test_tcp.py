"""DNS over TCP: segments of one flow after another, and what the program makes of each."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.truth.loading import EXACT, settings
from tests.truth.reuse import reused
from xdpdns.kernel import TCX_NEXT, XDP_PASS, TestRun
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import Snapshot

FIN, SYN, RST, ACK = 1, 2, 4, 16
START = 0xFFFFFF00  # so that the sequence numbers come round in every test


class Flow:
    """One connection's client side through a program that has counted nothing yet."""

    def __init__(self, chosen: ProgramSettings) -> None:
        require_root()
        self.program = reused(chosen)
        self.program.clear()
        self._passed = (XDP_PASS if chosen.hook == "xdp" else TCX_NEXT) & 0xFFFFFFFF
        self._run = TestRun(self.program.fd).run
        self.seq = START
        self.port = 40000
        self._responses = chosen.side == "responses"

    def segment(
        self, data: bytes = b"", flags: int = ACK, seq: int | None = None, v6: bool = False
    ) -> None:
        """Send data at `seq`, by default where the last segment ended."""
        if seq is None:
            seq, self.seq = self.seq, (self.seq + len(data) + (flags & SYN > 0)) & 0xFFFFFFFF
        ports = (53, self.port) if self._responses else (self.port, 53)
        tcp = struct.pack("!HHIIBBHHH", *ports, seq, 0, 5 << 4, flags, 65535, 0, 0) + data
        if v6:
            frame = p.ethernet(p.ipv6(tcp, proto=p.TCP, back=self._responses), ethertype=p.IPV6)
        else:
            frame = p.ethernet(p.ipv4(tcp, proto=p.TCP, back=self._responses))
        assert self._run(frame.ljust(60, b"\0")) == self._passed

    def counted(self) -> tuple[dict[str, int], dict[str, int], int]:
        """Segments by kind, messages by outcome, `split` or `unread`, and rows' sum; no zeros."""
        found = self.snapshot()
        assert found.tcp is not None
        messages = {
            **found.tcp.messages,
            "split": found.tcp.split,
            "unread": found.tcp.unread,
        }
        assert sum(found.tcp.segments.values()) == found.outcomes["tcp"]
        rows = sum(found.queries.values())
        assert rows == found.tcp.messages["response" if self._responses else "query"]
        return (
            {name: n for name, n in found.tcp.segments.items() if n},
            {name: n for name, n in messages.items() if n},
            rows,
        )

    def snapshot(self) -> Snapshot:
        return self.program.snapshot()


XDP = replace(settings(EXACT), tcp=True)


@pytest.fixture(params=["xdp", "tc"])
def flow(request: pytest.FixtureRequest) -> Flow:
    return Flow(replace(XDP, hook=request.param))


def message(owner: str = "www.example.nl") -> bytes:
    """A query with its length before it."""
    wire = p.message(p.question(owner, p.AAAA))
    return struct.pack("!H", len(wire)) + wire


@pytest.mark.parametrize("v6", [False, True])
def test_a_query_in_a_segment(flow: Flow, v6: bool) -> None:
    flow.segment(flags=SYN, v6=v6)
    flow.segment(v6=v6)
    flow.segment(message(), v6=v6)
    flow.segment(flags=FIN | ACK, v6=v6)
    assert flow.counted() == ({"syn": 1, "empty": 2, "messages": 1}, {"query": 1}, 1)
    [row] = flow.snapshot().queries
    words = dict(zip(flow.snapshot().dimensions, row, strict=True))
    assert words["proto"] == "tcp"
    assert words["af"] == ("ipv6" if v6 else "ipv4")
    assert (words["qtype"], words["tld"]) == ("AAAA", "nl")


def test_marginals_have_it_too(flow: Flow) -> None:
    flow.segment(flags=SYN)
    flow.segment(message())
    found = flow.snapshot().marginals
    assert found.opcodes["QUERY"] == found.classes["IN"] == found.size.count == 1
    assert found.size.sum == len(message()) - 2


@pytest.mark.parametrize("count", [2, 3, 30])
def test_pipelined(flow: Flow, count: int) -> None:
    flow.segment(flags=SYN)
    flow.segment(b"".join(message(f"n{i}.nl") for i in range(count)))
    flow.segment(message())
    assert flow.counted() == ({"syn": 1, "messages": 2}, {"query": count + 1}, count + 1)


def test_the_length_comes_first(flow: Flow) -> None:
    flow.segment(flags=SYN)
    for _ in range(2):
        flow.segment(message()[:2])
        flow.segment(message()[2:])
    assert flow.counted() == ({"syn": 1, "length": 2, "messages": 2}, {"query": 2}, 2)


def test_data_with_the_syn(flow: Flow) -> None:
    """TCP Fast Open, RFC 7413: the first message comes with the SYN, and the stream goes on."""
    flow.segment(message() + message()[:20], flags=SYN)
    flow.segment(message()[20:] + message())
    assert flow.counted() == ({"messages": 2}, {"split": 1, "query": 2}, 2)


def test_split_and_found_again(flow: Flow) -> None:
    """A message in two segments can't be read; the next one, behind its end, can."""
    flow.segment(flags=SYN)
    flow.segment(message()[:20])
    flow.segment(message()[20:] + message())
    assert flow.counted() == (
        {"syn": 1, "partial": 1, "messages": 1},
        {"split": 1, "query": 1},
        1,
    )


def test_split_behind_a_whole_one(flow: Flow) -> None:
    flow.segment(flags=SYN)
    flow.segment(message() + message()[:20])
    flow.segment(message()[20:])
    flow.segment(message())
    assert flow.counted() == (
        {"syn": 1, "messages": 2, "continuation": 1},
        {"split": 1, "query": 2},
        2,
    )


def test_sent_again_is_counted_once(flow: Flow) -> None:
    flow.segment(flags=SYN)
    flow.segment(message())
    flow.segment(message(), seq=(START + 1) & 0xFFFFFFFF)
    assert flow.counted() == ({"syn": 1, "messages": 1, "continuation": 1}, {"query": 1}, 1)


def test_a_gap(flow: Flow) -> None:
    """Behind a lost segment, what is just one message is taken for one; other data is not."""
    flow.segment(flags=SYN)
    flow.seq += 30
    flow.segment(message() + message())
    assert flow.counted()[0] == {"syn": 1, "out_of_order": 1}
    flow.segment(message())
    assert flow.counted() == ({"syn": 1, "out_of_order": 1, "messages": 1}, {"query": 1}, 1)


def test_a_connection_from_before(flow: Flow) -> None:
    flow.segment(b"\x7f" * 40)
    assert flow.counted() == ({"unknown": 1}, {}, 0)
    flow.segment(message())
    flow.segment(message() + message())
    assert flow.counted() == ({"unknown": 1, "messages": 2}, {"query": 3}, 3)


def test_a_port_used_again(flow: Flow) -> None:
    flow.segment(flags=SYN)
    flow.segment(message()[:20])
    flow.seq = 77
    flow.segment(flags=SYN)
    flow.segment(message())
    assert flow.counted()[2] == 1


def test_two_flows_at_a_time(flow: Flow) -> None:
    places = dict.fromkeys(range(40000, 40100), START)
    parts = [(SYN, b""), (ACK, message()[:2]), (ACK, message()[2:] + message()), (ACK, message())]
    for flags, data in parts:
        for port in places:
            flow.port, flow.seq = port, places[port]
            flow.segment(data, flags)
            places[port] = flow.seq
    assert flow.counted()[1:] == ({"query": 300}, 300)


@pytest.mark.parametrize("length", [0, 1, 11])
def test_a_message_that_is_none(flow: Flow, length: int) -> None:
    flow.segment(flags=SYN)
    flow.segment(struct.pack("!H", length) + bytes(length) + message())
    assert flow.counted() == (
        {"syn": 1, "messages": 1},
        {"dns_truncated": 1, "query": 1},
        1,
    )


def test_bad_questions_have_their_outcomes(flow: Flow) -> None:
    wire = p.message(p.question(b"\x01x\xc0\x0c", p.A))
    flow.segment(flags=SYN)
    flow.segment(struct.pack("!H", len(wire)) + wire)
    assert flow.counted() == ({"syn": 1, "messages": 1}, {"name_compressed": 1}, 0)


@pytest.mark.parametrize("behind", [b"", message()[:1], message()[:2], message()[:20]])
def test_messages_behind_those_that_are_looked_at(flow: Flow, behind: bytes) -> None:
    """Of 60 in a segment 30 are only counted; the stream goes on behind them, wherever cut."""
    rest = message()[len(behind) :]
    flow.segment(flags=SYN)
    flow.segment(b"".join(message("nl") for _ in range(60)) + behind)
    flow.segment(rest + message())
    segments, messages, rows = flow.counted()
    read = 30 + (2 if len(behind) <= 2 else 1)
    assert segments == {"syn": 1, "messages": 2}
    assert messages == {"query": read, "unread": 30} | ({"split": 1} if len(behind) > 2 else {})
    assert rows == read


def test_empty_messages_without_end(flow: Flow) -> None:
    """Lengths of nothing but zero: the walk ends, the flow is lost, and found again later."""
    flow.segment(flags=SYN)
    flow.segment(bytes(2 * 1000))
    flow.segment(message())
    segments, messages, rows = flow.counted()
    assert segments == {"syn": 1, "messages": 2}
    assert (messages["dns_truncated"], messages["unread"], messages["split"]) == (30, 292, 1)
    assert rows == 1


def test_every_cut(flow: Flow) -> None:
    """Two segments, cut anywhere: both are counted, and never more messages than there are."""
    whole = message() + message("example.de")
    for cut in range(1, len(whole)):
        before = flow.counted()[2]
        flow.port += 1
        flow.segment(flags=SYN)
        flow.segment(whole[:cut])
        flow.segment(whole[cut:])
        flow.segment(message())
        rows = flow.counted()[2] - before
        first = len(message())
        lucky = cut in (1, 2, first, first + 1, first + 2)  # no message is cut, only a length
        assert rows == (3 if lucky else 2), cut


def test_responses() -> None:
    flow = Flow(replace(XDP, side="responses", hook="tc", labels=("proto", "rcode", "qtype")))
    wire = bytearray(message())
    wire[4] |= 0x80
    wire[5] |= 3
    flow.segment(flags=SYN | ACK)
    flow.segment(bytes(wire) * 3)
    assert flow.counted() == ({"syn": 1, "messages": 1}, {"response": 3}, 3)
    assert flow.snapshot().queries == {("tcp", "NXDOMAIN", "AAAA"): 3}


@pytest.mark.parametrize("header", [bytes(19), bytes(12) + b"\x40" + bytes(7), b"\0" * 4])
def test_malformed_headers(flow: Flow, header: bytes) -> None:
    tcp = struct.pack("!HH", 40000, 53) + header[4:]
    TestRun(flow.program.fd).run(p.ethernet(p.ipv4(tcp, proto=p.TCP)))
    assert flow.counted() == ({"malformed": 1}, {}, 0)


def test_other_ports_are_not_ours(flow: Flow) -> None:
    frame = p.ethernet(p.ipv4(p.tcp(message(), dport=80), proto=p.TCP))
    TestRun(flow.program.fd).run(frame)
    found = flow.snapshot()
    assert found.outcomes["not_udp"] == 1
    assert found.tcp is not None
    assert not any(found.tcp.segments.values())
