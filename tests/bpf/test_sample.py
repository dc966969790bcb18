"""bpf/sample.bpf.c by BPF_PROG_TEST_RUN: packets in, exact counts out, and every packet goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import product
from operator import sub
from pathlib import Path
from threading import Thread

import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.bpf.vectors import VECTORS, Vector
from tests.bpf.vectors_framing import FRAMING
from tests.truth.captures import read
from tests.truth.framing import Ports, message
from tests.truth.loading import EXACT, EXACT_RESPONSES
from tests.truth.reference import ResponseRow, Row, classify
from xdpdns.hooks import Direction
from xdpdns.kernel import TCX_NEXT, TestRun
from xdpdns.sample.counts import Counts, Exchange, Side, Way
from xdpdns.sample.program import Compiled, SampleCompilation, SampleProgram

NOBODY = Side(Exchange())
QUERY = p.dns_query("www.example.nl", p.AAAA, additional=[p.opt(1232)])
ANSWER = p.dns_query("www.example.nl", p.AAAA, qr=1)
CLIENTS, SERVERS = (p.CLIENT4, p.CLIENT6), (p.SERVER4, p.SERVER6)


@cache
def compiled(ports: tuple[int, ...] = (53,)) -> Compiled:
    return SampleCompilation(ports).result()


def counted(
    frames: dict[Direction, Sequence[bytes]],
    *,
    packets: int | None = None,
    room: int = 100,
    ports: tuple[int, ...] = (53,),
) -> Counts:
    """What is counted of these frames, each of which must go on."""
    require_root()
    with SampleProgram(compiled(ports), room) as program:
        program.open(packets)
        for direction, some in frames.items():
            run = TestRun(program.fds[direction])
            assert {run.run(frame) for frame in some} <= {TCX_NEXT & 0xFFFFFFFF}
        program.shut()
        return program.read()


def to_server(dns: bytes, af: int = 4, **ports: int) -> bytes:
    datagram = p.udp(dns, **ports)
    if af == 4:
        return p.ethernet(p.ipv4(datagram))
    return p.ethernet(p.ipv6(datagram), ethertype=p.IPV6)


def to_client(dns: bytes, af: int = 4, sport: int = 53, dport: int = 40000) -> bytes:
    datagram = p.udp(dns, sport=sport, dport=dport)
    if af == 4:
        return p.ethernet(p.ipv4(datagram, back=True))
    return p.ethernet(p.ipv6(datagram, back=True), ethertype=p.IPV6)


@pytest.mark.parametrize("af", [4, 6])
def test_a_server(af: int) -> None:
    """Queries come in, answers go out: of the client at the other end."""
    found = counted({"ingress": [to_server(QUERY, af)] * 17, "egress": [to_client(ANSWER, af)]})
    assert found.incoming == Way(packets=17, queries=17)
    assert found.outgoing == Way(packets=1, answers=1)
    exchange = Exchange(17, 1)
    assert found.server == Side(exchange, ((CLIENTS[af == 6], exchange),))
    assert found.client == NOBODY


@pytest.mark.parametrize("af", [4, 6])
def test_a_client(af: int) -> None:
    """The same packets seen from the other end."""
    found = counted({"egress": [to_server(QUERY, af)] * 17, "ingress": [to_client(ANSWER, af)]})
    assert found.outgoing == Way(packets=17, queries=17)
    assert found.incoming == Way(packets=1, answers=1)
    exchange = Exchange(17, 1)
    assert found.client == Side(exchange, ((SERVERS[af == 6], exchange),))
    assert found.server == NOBODY


def vlan(frame: bytes) -> bytes:
    ethertype = int.from_bytes(frame[12:14], "big")
    return p.ethernet(p.vlan(frame[14:], inner=ethertype), ethertype=p.DOT1Q)


TRUNCATED = p.dns_query("www.example.nl", qr=1, tc=1)
NO_QUESTION = p.message(qr=1, counts=(0, 0, 0, 0), rcode=1)
ANY = p.dns_query("nl", p.ANY)
EXTENDED = p.ethernet(
    p.ipv6(p.udp(QUERY), extensions=[p.options_header(), p.routing_header()]), ethertype=p.IPV6
)


@dataclass(frozen=True)
class Case:
    """A frame that comes in, and what it is besides a packet."""

    name: str
    frame: bytes
    way: Way = field(default_factory=Way)


CASES = [
    Case("query", to_server(QUERY), Way(queries=1)),
    Case("query in a VLAN", vlan(to_server(QUERY)), Way(queries=1)),
    Case("query in two VLANs", vlan(vlan(to_server(QUERY, 6))), Way(queries=1)),
    Case("query behind IPv6 extensions", EXTENDED, Way(queries=1)),
    Case("query for ANY", to_server(ANY), Way(queries=1, any_queries=1)),
    Case("query for the root", to_server(p.dns_query(".", p.NS)), Way(queries=1)),
    Case("query from port 53", to_server(QUERY, sport=53), Way(queries=1)),
    Case("answer", to_client(ANSWER), Way(answers=1)),
    Case("answer to port 53", to_client(ANSWER, dport=53), Way(answers=1)),
    Case("answer with TC", to_client(TRUNCATED), Way(answers=1, truncated_answers=1)),
    Case("answer without a question", to_client(NO_QUESTION), Way(answers=1)),
    Case("answer to ANY", to_client(p.dns_query("nl", p.ANY, qr=1)), Way(answers=1)),
    Case("QR set, to a server", to_server(ANSWER), Way(other_dns=1)),
    Case("QR clear, from a server", to_client(QUERY), Way(other_dns=1)),
    Case("query without a question", to_server(p.message(counts=(0, 0, 0, 0))), Way(other_dns=1)),
    Case("NOTIFY", to_server(p.dns_query("nl", p.SOA, opcode=p.NOTIFY)), Way(other_dns=1)),
    Case("answer to it", to_client(p.dns_query("nl", qr=1, opcode=p.NOTIFY)), Way(other_dns=1)),
    Case("two questions", to_server(p.dns_query(counts=(2, 0, 0, 0))), Way(other_dns=1)),
    Case("a cut header", to_server(QUERY[:11]), Way(other_dns=1)),
    Case("a cut question", to_server(QUERY[:20]), Way(other_dns=1)),
    Case("UDP length under 8", p.ethernet(p.ipv4(p.udp(QUERY, length=7))), Way(other_dns=1)),
    Case("a pointer for a name", to_server(p.message(b"\xc0\x0c" + bytes(4))), Way(other_dns=1)),
    Case("TCP to 53", p.ethernet(p.ipv4(p.tcp(b""), proto=p.TCP)), Way(tcp_segments=1)),
    Case(
        "TCP from 53",
        p.ethernet(p.ipv4(p.tcp(b"", sport=53, dport=4000), proto=p.TCP)),
        Way(tcp_segments=1),
    ),
    Case("TCP of others", p.ethernet(p.ipv4(p.tcp(b"", dport=443), proto=p.TCP))),
    Case("UDP of others", to_server(QUERY, dport=5353)),
    Case("ARP", p.ethernet(bytes(46), ethertype=p.ARP)),
    Case("ICMP", p.ethernet(p.ipv4(bytes(40), proto=p.ICMP))),
    Case("a later fragment", p.ethernet(p.ipv4(QUERY, offset=10))),
    Case("an IP header that lies", p.ethernet(p.ipv4(p.udp(QUERY), ihl=15, total_length=40))),
    Case("three VLANs", vlan(vlan(vlan(to_server(QUERY))))),
]


@pytest.fixture(scope="module")
def opened() -> Iterator[SampleProgram]:
    """A program for many tests, each of which looks at what is added."""
    require_root()
    with SampleProgram(compiled(), 1000) as program:
        program.open(None)
        yield program


def added(program: SampleProgram, direction: Direction, frame: bytes) -> tuple[Way, Way, int]:
    """What a frame adds to the same way and to the other one, and to the counts of addresses."""

    def read() -> tuple[Way, Way, int]:
        found = program.read()
        ways = found.incoming, found.outgoing
        peers = [one for side in (found.server, found.client) for _, one in side.peers]
        mine, other = ways if direction == "ingress" else ways[::-1]
        return mine, other, sum(one.queries + one.answers for one in peers)

    before = read()
    assert TestRun(program.fds[direction]).run(frame) == TCX_NEXT & 0xFFFFFFFF
    after = read()

    def minus(new: Way, old: Way) -> Way:
        return Way(*map(sub, astuple(new), astuple(old)))

    return minus(after[0], before[0]), minus(after[1], before[1]), after[2] - before[2]


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(opened: SampleProgram, case: Case, direction: Direction) -> None:
    """Each way a packet is what it is, and DNS has somebody at the other end."""
    way = replace(case.way, packets=1)
    assert added(opened, direction, case.frame) == (way, Way(), way.queries + way.answers)


@pytest.mark.parametrize("vector", VECTORS + FRAMING, ids=lambda vector: vector.description)
def test_a_query_is_what_the_agent_counts(opened: SampleProgram, vector: Vector) -> None:
    """Of the vectors of the program that counts for good, its queries with QR clear are queries."""
    if len(vector.frame) == 14:
        return  # the kernel gives no packet without a network header to a program at TC
    found, _, _ = added(opened, "ingress", vector.frame)
    assert found.packets == 1
    assert found.queries == (isinstance(vector.row, Row) and vector.row.qr == "0")
    assert found.tcp_segments >= (vector.outcome == "tcp")


def is_answer(frame: bytes) -> bool:
    """By the reference: of the responses those to the opcode QUERY, which its rows don't tell."""
    if not isinstance(classify(frame, EXACT_RESPONSES).row, ResponseRow):
        return False
    ports = Ports(EXACT_RESPONSES.ports, EXACT_RESPONSES.encrypted)
    wire = message(frame, ports, "responses", EXACT_RESPONSES.max_extensions).payload
    return not wire[2] & 0x78


def test_captures(opened: SampleProgram, captures: Path) -> None:
    """Real traffic, and hostile: as many queries and answers as the reference finds."""
    run = TestRun(opened.fds["ingress"]).run
    before, queries, answers, packets = opened.read().incoming, 0, 0, 0
    for line in (captures / "INDEX.tsv").read_text().splitlines()[1:]:
        try:
            frames = read(captures / line.split("\t")[0])
        except ValueError:
            continue  # of no link layer that carries IP, or none of dpkt's formats
        for frame in frames[:500]:
            if not 34 <= len(frame) <= 3000:
                continue  # which the kernel does not give to a program at TC here
            run(frame)
            row = classify(frame, EXACT).row
            queries += isinstance(row, Row) and row.qr == "0"
            answers += is_answer(frame)
            packets += 1
    after = opened.read().incoming
    assert packets > 10_000
    assert after.packets - before.packets == packets
    assert after.queries - before.queries == queries > 1000
    assert after.answers - before.answers == answers > 1000


def test_ports() -> None:
    frames = [to_server(QUERY, dport=port) for port in (53, 5353, 5300, 54)]
    assert counted({"ingress": frames}, ports=(5353, 5300)).incoming == Way(packets=4, queries=2)
    eight = tuple(range(5353, 5361))  # the most
    assert counted({"ingress": frames}, ports=eight).incoming == Way(packets=4, queries=1)


def clients(count: int, af: int) -> Iterator[tuple[IPv4Address | IPv6Address, bytes]]:
    """Addresses, each with a query from it."""
    for number in range(count):
        if af == 4:
            frame = bytearray(to_server(QUERY))
            packed = frame[26:30] = (0xC6120000 + number).to_bytes(4, "big")
        else:
            frame = bytearray(to_server(QUERY, 6))
            packed = frame[22:38] = (0x20010DB8 << 96 | number).to_bytes(16, "big")
        yield ip_address(bytes(packed)), bytes(frame)


def test_addresses() -> None:
    """The most queries first; IPv4 and IPv6 in one table."""
    made = [*clients(5, 4), *clients(5, 6)]
    frames = [frame for number, (_, frame) in enumerate(made, 1) for _ in range(number)]
    side = counted({"ingress": frames}).server
    assert side.total == Exchange(55)
    expected = [(where, Exchange(number)) for number, (where, _) in enumerate(made, 1)]
    assert side.peers == tuple(reversed(expected))


@pytest.mark.parametrize("room", [1, 7, 64])
def test_a_full_table(room: int) -> None:
    """What has no room is counted together: the totals add up, and nobody is pushed out."""
    made = [*clients(100, 4), *clients(100, 6)]
    frames = [frame for _, frame in made]
    answers = [to_client(ANSWER), to_client(ANSWER, 6)] * 3
    found = counted({"ingress": frames * 2, "egress": answers}, room=room)
    side = found.server
    assert side.total == Exchange(400, 6)
    assert len(side.peers) == room
    assert {where for where, _ in side.peers} == {where for where, _ in made[:room]}
    assert all(one == Exchange(2) for _, one in side.peers)
    assert side.unlisted == Exchange(400 - 2 * room, 6)
    assert found.client == NOBODY


def test_shut_and_open() -> None:
    require_root()
    with SampleProgram(compiled(), 10) as program:
        run = TestRun(program.fds["ingress"]).run
        run(to_server(QUERY))
        assert program.read().packets == 0
        program.open(None)
        run(to_server(QUERY))
        program.shut()
        run(to_server(QUERY))
        assert program.read().incoming == Way(packets=1, queries=1)


@pytest.mark.parametrize("packets", [1, 10, 19])
def test_exactly_so_many(packets: int) -> None:
    """Both ways together."""
    frames = [to_server(QUERY)] * 10
    found = counted({"ingress": frames, "egress": frames}, packets=packets)
    assert found.packets == packets
    assert found.incoming.queries == min(packets, 10)


def test_exactly_so_many_of_all_cpus_at_once() -> None:
    require_root()
    limit, each = 150_000, 100_000
    with SampleProgram(compiled(), 10) as program:
        program.open(limit)
        threads = [
            Thread(target=TestRun(program.fds[way], each).run, args=(frame,))
            for way, frame in product(program.fds, (to_server(QUERY), to_server(QUERY, 6)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = program.read()
        assert program.taken == 4 * each
        assert program.ended_ns > 0
    assert found.packets == limit
    sides = found.server, found.client
    assert sum(side.total.queries for side in sides) == limit
    for side in sides:
        assert sum(one.queries for _, one in side.peers) == side.total.queries
