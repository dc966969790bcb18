"""Queries and their responses through the two programs that share the table of waiting queries."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count

import dns.message
import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.truth.reuse import Reused, reused_pair
from xdpdns import timing
from xdpdns.kernel import TestRun
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import Timing


@dataclass
class Exchange:
    """Both programs; `query` and `response` each run one frame."""

    queries: Reused
    responses: Reused

    def __post_init__(self) -> None:
        self._in = TestRun(self.queries.fd)
        self._out = TestRun(self.responses.fd)

    def query(self, frame: bytes) -> None:
        self._in.run(frame)

    def response(self, frame: bytes) -> None:
        self._out.run(frame)

    def timing(self) -> Timing:
        found = self.responses.snapshot().timing
        assert found is not None
        assert found.tracked == found.matched + found.expired + found.displaced + found.waiting
        return found


def exchange(sample: int = 1) -> Exchange:
    """Two programs with empty maps, the pending table and the counters shared."""
    require_root()
    asked = ProgramSettings(timing=sample)
    answered = ProgramSettings(timing=sample, side="responses", hook="tc", labels=("af", "rcode"))
    both = reused_pair(asked, answered)
    for one in both:
        one.clear()
    return Exchange(*both)


@pytest.fixture
def pair() -> Exchange:
    return exchange()


def frames(
    qname: str = "www.example.nl",
    *,
    ident: int = 7,
    port: int = 40000,
    v6: bool = False,
    answer: bytes | None = None,
) -> tuple[bytes, bytes]:
    """A query's frame and that of its response."""
    query = dns.message.make_query(qname, "AAAA", use_edns=True)
    query.id = ident
    wire = dns.message.make_response(query).to_wire() if answer is None else answer
    asked, answered = p.udp(query.to_wire(), sport=port), p.udp(wire, sport=53, dport=port)
    if v6:
        return (
            p.ethernet(p.ipv6(asked), ethertype=p.IPV6),
            p.ethernet(p.ipv6(answered, back=True), ethertype=p.IPV6),
        )
    return (
        p.ethernet(p.ipv4(asked)),
        p.ethernet(p.ipv4(answered, back=True)),
    )


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize(
    "qname", [".", "nl", "example.nl", "a.b.c.d.e.f.example.nl", "x" * 63 + ".y." + "z" * 60]
)
def test_pair(pair: Exchange, qname: str, v6: bool) -> None:
    query, response = frames(qname, v6=v6)
    pair.query(query)
    assert pair.timing().waiting == 1
    time.sleep(0.005)
    pair.response(response)
    found = pair.timing()
    assert (found.tracked, found.matched, found.orphan, found.waiting) == (1, 1, 0, 0)
    histogram = found.durations["ipv6" if v6 else "ipv4", "udp"]
    assert histogram.count == 1
    assert 4_900_000 < histogram.sum < 1_000_000_000
    at = histogram.counts.index(1)
    assert (histogram.bounds[at - 1]) <= histogram.sum < histogram.bounds[at]


def test_upper_case_is_the_same_question(pair: Exchange) -> None:
    pair.query(frames("wWw.eXample.NL")[0])
    pair.response(frames("www.example.nl")[1])
    assert pair.timing().matched == 1


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 16, 17, 31, 32, 63])
def test_every_byte_of_the_name_counts(pair: Exchange, size: int) -> None:
    """Of one client, port and ID: an answer to another name, whichever byte differs, is none."""
    asked = "a" * size
    others = [asked[:at] + "b" + asked[at + 1 :] for at in range(size)]
    others = list(dict.fromkeys([*others, f"{asked}.a", f"a.{asked}"]))
    for other in others:
        pair.query(frames(f"{other}.{asked}")[0])
        pair.response(frames(f"{asked}.{asked}")[1])
        found = pair.timing()
        assert (found.matched, found.duplicate) == (0, 0)
    assert found.tracked == found.orphan == len(others)


@pytest.mark.parametrize(("one", "other"), [("A", "SRV"), ("AAAA", "CDNSKEY")])
def test_types_that_are_one_bit_apart(pair: Exchange, one: str, other: str) -> None:
    """They differ as upper and lower case do."""
    asked, answered = dns.message.make_query("a.nl", one), dns.message.make_query("a.nl", other)
    asked.id = answered.id = 7
    wire = dns.message.make_response(answered).to_wire()
    pair.query(p.ethernet(p.ipv4(p.udp(asked.to_wire(), sport=40000))))
    pair.response(p.ethernet(p.ipv4(p.udp(wire, sport=53, dport=40000), back=True)))
    assert pair.timing().matched == 0


def test_answer_without_a_question(pair: Exchange) -> None:
    header = (7).to_bytes(2, "big") + b"\x80\x01" + bytes(8)
    query, response = frames(answer=header)
    pair.query(query)
    pair.response(response)
    assert pair.timing().matched == 1


@pytest.mark.parametrize(
    "other",
    [{"ident": 8}, {"port": 40001}, {"qname": "www.example.de"}, {"v6": True}],
    ids=str,
)
def test_stranger(pair: Exchange, other: dict[str, object]) -> None:
    """An answer to nobody frees nobody's slot."""
    pair.query(frames()[0])
    pair.response(frames(**other)[1])  # type: ignore[arg-type]
    found = pair.timing()
    assert (found.matched, found.orphan, found.waiting) == (0, 1, 1)
    pair.response(frames()[1])
    assert pair.timing().matched == 1


def test_answered_once(pair: Exchange) -> None:
    query, response = frames()
    pair.query(query)
    pair.response(response)
    pair.response(response)
    found = pair.timing()
    assert (found.matched, found.orphan) == (1, 1)


def test_sent_again(pair: Exchange) -> None:
    """The time is counted from the first one."""
    query, response = frames()
    pair.query(query)
    time.sleep(0.02)
    pair.query(query)
    pair.response(response)
    found = pair.timing()
    assert (found.tracked, found.duplicate, found.matched) == (1, 1, 1)
    assert found.durations["ipv4", "udp"].sum > 19_000_000


def test_what_is_no_query_does_not_wait(pair: Exchange) -> None:
    wire = dns.message.make_response(dns.message.make_query("example.nl", "A")).to_wire()
    pair.query(p.ethernet(p.ipv4(p.udp(wire))))
    assert pair.timing().tracked == 0


def test_flood(pair: Exchange) -> None:
    """More queries than slots, never answered: all accounted for, and the next pair still meets."""
    many = 2 * timing.SLOTS
    idents = count()
    for _ in range(many):
        number = next(idents)
        pair.query(frame_of(number))
    found = pair.timing()
    assert found.tracked + found.duplicate == many
    assert found.duplicate == 0  # 31 bits tell who is in a slot, though all ask the same
    assert found.matched == found.expired == found.orphan == 0
    assert found.waiting <= timing.SLOTS
    assert found.displaced == many - found.waiting
    query, response = frames("new.example.nl", port=50000)
    pair.query(query)
    pair.response(response)
    assert pair.timing().matched == 1


TEMPLATE = frames(port=40000, ident=0)[0]


def frame_of(number: int) -> bytes:
    """A query that differs from the others in port and ID (its checksum is nobody's business)."""
    port, ident = number >> 16, number & 0xFFFF
    return (
        TEMPLATE[:34]
        + (1024 + port).to_bytes(2, "big")
        + TEMPLATE[36:42]
        + (ident.to_bytes(2, "big") + TEMPLATE[44:])
    )


def test_sample_is_consistent() -> None:
    """One in 16, and the same ones on both sides: what is sampled is matched."""
    pair = exchange(16)
    for ident in range(4096):
        query, response = frames(ident=ident)
        pair.query(query)
        pair.response(response)
    found = pair.timing()
    assert found.sample == 16
    assert found.orphan == found.waiting == 0
    assert found.matched == found.tracked
    assert abs(found.matched - 256) < 80  # five standard deviations


def test_expiry(monkeypatch: pytest.MonkeyPatch, pair: Exchange) -> None:
    """What has waited for longer than the histogram reaches is expired, and stays so."""
    pair.query(frames()[0])
    later = time.monotonic_ns() + 2 * timing.BOUNDS[-1]
    monkeypatch.setattr(time, "monotonic_ns", lambda: later)
    assert pair.timing().expired == 1
    monkeypatch.undo()
    found = pair.responses.snapshot().timing
    assert found is not None
    assert found.expired == 1
