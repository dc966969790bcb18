"""Two traces with the counts that RIPE-352 published, as pcap, made of a few packets repeated.

What the paper counted is given by `Published`; the rest (which opcodes, what is too short for DNS,
what goes elsewhere) is made up here, so that a row can't be right by counting too much.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests import packets as p

SIZES = (512, 1024, 1280, 1500, 2048, 4000, 4096, 16384)
CHUNK = 4096
START = 1_108_000_000
"""Seconds since 1970 of the first packet; each kind of packet has a second of its own."""


@dataclass(frozen=True)
class Published:
    """Tables 1 and 2 of one server: D's and E's counts are at SIZES."""

    udp: int
    query: int
    tc: int
    qr: int
    remaining: int
    e: int
    e_sizes: tuple[int, ...]
    d: int
    d_sizes: tuple[int, ...]

    @property
    def tc_and_qr(self) -> int:
        """Queries with both bits: as many as make remaining what was published."""
        return self.tc + self.qr - (self.query - self.remaining)


K_ROOT = Published(
    udp=2241766,
    query=2239638,
    tc=6,
    qr=37,
    remaining=2239598,
    e=742275,
    e_sizes=(215, 2, 109000, 0, 330591, 372, 302088, 7),
    d=227283,
    d_sizes=(141, 0, 0, 0, 89114, 372, 137655, 0),
)
NS_PRI = Published(
    udp=1711346,
    query=1705551,
    tc=0,
    qr=0,
    remaining=1705551,
    e=1202885,
    e_sizes=(1259, 4, 8353, 9, 745270, 0, 447990, 0),
    d=476504,
    d_sizes=(538, 0, 0, 9, 234074, 0, 242062, 0),
)

SHORT = 100
"""UDP packets to port 53 that are no DNS messages."""
ELSEWHERE = 1000
"""Packets of each kind that don't go to UDP port 53."""


def query(
    size: int | None = None, do: bool = False, *, qr: int = 0, tc: int = 0, opcode: int = p.QUERY
) -> bytes:
    """A query as a message, with an OPT record if it offers a size."""
    additional = () if size is None else (p.opt(size, do=do),)
    return p.dns_query("www.example.net", additional=additional, qr=qr, tc=tc, opcode=opcode)


def frame6(dns: bytes) -> bytes:
    """An IPv6 frame to port 53."""
    return p.ethernet(p.ipv6(p.udp(dns)), ethertype=p.IPV6)


def repeated(published: Published) -> Iterator[tuple[bytes, int]]:
    """The packets, and how often each comes."""
    both = published.tc_and_qr
    yield p.frame4(query(4096, True), dport=5353), ELSEWHERE
    yield p.frame4(query(4096, True, tc=1, qr=1)), both
    yield p.frame4(query(4096, True, tc=1)), published.tc - both
    yield p.frame4(query(4096, True, qr=1)), published.qr - both
    for size, e, d in zip(SIZES, published.e_sizes, published.d_sizes, strict=True):
        yield frame6(query(size, True)), d
        yield p.frame4(query(size)), e - d
    yield p.frame4(query()), published.remaining - sum(published.e_sizes)
    yield p.frame4(bytes(11)), SHORT
    yield p.frame4(query(4096, True, opcode=p.UPDATE)), published.udp - published.query - SHORT
    yield p.ethernet(p.ipv4(p.tcp(query(4096, True)), proto=p.TCP)), ELSEWHERE
    yield p.ethernet(bytes(28), ethertype=p.ARP), ELSEWHERE


def trace(published: Published) -> Iterator[bytes]:
    """The pcap file in pieces of at most CHUNK packets."""
    yield struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    for second, (frame, count) in enumerate(repeated(published)):
        record = struct.pack("<IIII", START + second, 0, len(frame), len(frame)) + frame
        full, rest = divmod(count, CHUNK)
        chunk = record * CHUNK if full else b""
        for _ in range(full):
            yield chunk
        yield record * rest
