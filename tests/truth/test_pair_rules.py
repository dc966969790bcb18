"""Each rule of pairs explains the exchange that it is for, by its own name, and no plain one."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import dpkt
import pytest

from tests import packets as p
from tests.truth import captures, pair_rules, rules, tshark
from tests.truth.loading import EXACT
from tests.truth.pairing import LONGEST_NS, UNIT_NS, Pairs, pair
from tests.truth.reference import Verdict
from tests.truth.test_capture_responses import judge_pairs
from tests.truth.test_rules import SEEN
from tests.truth.wire import Message


class Packet(NamedTuple):
    """A message, `at` seconds after the exchange began."""

    at: float
    wire: bytes


def query(at: float, owner: str = "www.example.nl", **header: Any) -> Packet:
    return Packet(at, p.dns_query(owner, **header))


def response(at: float, owner: str = "www.example.nl", qclass: int = p.IN, **header: Any) -> Packet:
    return Packet(at, p.dns_query(owner, qclass=qclass, qr=1, **header))


def cut(at: float) -> Packet:
    """A response whose only record ends before its data does."""
    answer = p.record("www.example.nl", p.A, bytes(2), rdlength=4)
    return Packet(at, p.dns_query("www.example.nl", answers=[answer], qr=1))


EXCHANGES = {
    "plain": ([query(0), response(0.25)], "(pairs equal)"),
    "the response has the name in capitals": (
        [query(0), response(0.25, "WWW.example.NL")],
        "(pairs equal)",
    ),
    "another opcode": (
        [query(0, opcode=p.STATUS), response(0.25, opcode=p.STATUS)],
        "not_counted",
    ),
    "after nine seconds": ([query(0), response(9)], "too_late"),
    "nine seconds after the first query, three after the last": (
        [query(0), query(6), response(9)],
        "too_late",
    ),
    "seven seconds after the first query, one after the last": (
        [query(0), query(6), response(7)],
        "asked_again",
    ),
    "another name": ([query(0), response(0.25, "www.example.de")], "other_question"),
    "another class": ([query(0), response(0.25, qclass=p.CH)], "other_question"),
    "cut short": ([query(0), cut(0.25)], "malformed"),
    "the clock went back": ([query(0), response(-1)], "clock_back"),
}
"""What is sent, and how its last packet is judged."""


def write(path: Path, packets: list[Packet]) -> None:
    """A capture: what has QR comes from the server."""
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for packet in packets:
            back = packet.wire[2] >> 7 == 1
            ends = {"sport": 53, "dport": 40000} if back else {"sport": 40000, "dport": 53}
            datagram = p.ipv4(p.udp(packet.wire, **ends), back=back)
            writer.writepkt(p.ethernet(datagram), ts=Decimal(1_700_000_000) + Decimal(packet.at))


def judged(path: Path) -> tuple[Counter[str], list[str]]:
    packets = captures.read_timed(path)
    pairs = pair([(time * 1000, frame) for time, frame in packets], EXACT)
    return judge_pairs(packets, tshark.dissect(path), pairs)


@pytest.mark.parametrize("what", EXCHANGES)
def test_the_rule_explains_it(what: str, tmp_path: Path) -> None:
    if tshark.MISSING:
        pytest.skip("tshark is missing")
    packets, rule = EXCHANGES[what]
    write(tmp_path / "exchange.pcap", packets)
    explained, wrong = judged(tmp_path / "exchange.pcap")
    assert wrong == []
    assert rule in explained


def test_every_rule_is_tested() -> None:
    found = {rule for _, rule in EXCHANGES.values()} - {"(pairs equal)"}
    assert found == {rule.__name__ for rule in pair_rules.RULES}


def case(what: str, tmp_path: Path) -> pair_rules.Case:
    """The last packet of an exchange, as if tshark had found no query for it."""
    packets, _ = EXCHANGES[what]
    write(tmp_path / "exchange.pcap", packets)
    timed = captures.read_timed(tmp_path / "exchange.pcap")
    times, frames = [time for time, _ in timed], [frame for _, frame in timed]
    pairs = pair([(time * 1000, frame) for time, frame in timed], EXACT)
    seen = tshark.dissect(tmp_path / "exchange.pcap")
    return pair_rules.Case(times, frames, seen, pairs, len(frames) - 1, 0, None)


def test_no_rule_explains_a_plain_pair_that_is_missed(tmp_path: Path) -> None:
    if tshark.MISSING:
        pytest.skip("tshark is missing")
    plain = case("plain", tmp_path)
    assert pair_rules.explain(plain) is None
    assert pair_rules.explain(plain._replace(ours=None, theirs=0)) is None


def test_rules_of_rows() -> None:
    """What tshark shows of an UPDATE, and of a BSD null header of no known family."""
    ours = Verdict("response", None, Message(5, 0xA800))
    assert pair_rules.explain_row(rules.Case(b"", ours, None, SEEN)) == "update_sections"
    plain = ours._replace(message=Message(0, 0x8000))
    assert pair_rules.explain_row(rules.Case(b"", plain, None, SEEN)) is None
    null = SEEN._replace(protocols=["null:ip:udp:dns"])
    other = Verdict("not_ip")
    assert pair_rules.explain_row(rules.Case(b"", other, None, null)) == "null_family"
    assert pair_rules.explain_row(rules.Case(b"", other, None, SEEN)) is None
    assert pair_rules.explain_row(rules.Case(b"", Verdict("other_port"), None, null)) is None


def test_slots_taken() -> None:
    """Only where as many queries were tracked, and more of them displaced."""
    ours = {"tracked": 9, "displaced": 1}
    assert pair_rules.slot_taken(ours, {"tracked": 9, "displaced": 2})
    assert not pair_rules.slot_taken(ours, {"tracked": 9, "displaced": 1})
    assert not pair_rules.slot_taken(ours, {"tracked": 8, "displaced": 2})


ROUND = 1024 << 32


@pytest.mark.parametrize(
    ("times", "results", "units"),
    [
        ([0, 5 * UNIT_NS], {"tracked": 1, "matched": 1}, [5]),
        ([0, LONGEST_NS - UNIT_NS], {"tracked": 1, "matched": 1}, [(1 << 23) - 1]),
        ([0, LONGEST_NS], {"tracked": 1, "expired": 1, "orphan": 1}, []),
        ([0, ROUND + UNIT_NS], {"tracked": 1, "matched": 1}, [1]),
        ([LONGEST_NS, UNIT_NS], {"tracked": 1, "matched": 1}, [0]),
    ],
)
def test_reference_of_times(times: list[int], results: dict[str, int], units: list[int]) -> None:
    """Of a query and its response, in nanoseconds after some moment."""
    frames = [
        p.ethernet(p.ipv4(p.udp(query(0).wire, sport=40000))),
        p.ethernet(p.ipv4(p.udp(response(0).wire, sport=53, dport=40000), back=True)),
    ]
    start = 1 << 50
    found: Pairs = pair(zip((start + time for time in times), frames, strict=True), EXACT)
    assert found.results == results
    assert list(found.units.values()) == units
