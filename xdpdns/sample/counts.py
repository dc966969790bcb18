"""What a sample holds: plain data, made from the maps of bpf/sample.bpf.c."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Way:
    """What went one way through the interface.

    Attributes:
        packets: all of them, DNS or not.
        queries: DNS queries over UDP: to a watched port, QR clear, opcode QUERY, one whole
            question.
        answers: the like from a watched port with QR set, with a whole question or none.
        other_dns: any other UDP to or from a watched port.
        tcp_segments: TCP to or from a watched port, whose messages are not looked at.
        any_queries: of the queries those for the type ANY.
        truncated_answers: of the answers those with TC set.
    """

    packets: int = 0
    queries: int = 0
    answers: int = 0
    other_dns: int = 0
    tcp_segments: int = 0
    any_queries: int = 0
    truncated_answers: int = 0

    @property
    def other_packets(self) -> int:
        """What is no DNS."""
        return self.packets - self.queries - self.answers - self.other_dns - self.tcp_segments


@dataclass(frozen=True, slots=True)
class Exchange:
    """Queries, and answers to them."""

    queries: int = 0
    answers: int = 0

    @property
    def per_answer(self) -> float | None:
        """Queries for each answer; None without answers."""
        return self.queries / self.answers if self.answers else None

    @property
    def answered(self) -> float | None:
        """Answers for each query; None without queries. Over 1 if more came than was asked for."""
        return self.answers / self.queries if self.queries else None


@dataclass(frozen=True, slots=True)
class Side:
    """This machine as a server, or as a client.

    Attributes:
        total: of all peers.
        peers: those that the table had room for, the one with the most queries first.
        unlisted: of all other peers together; with those that are listed it comes to `total`.
    """

    total: Exchange
    peers: tuple[tuple[Address, Exchange], ...] = ()
    unlisted: Exchange = Exchange()

    def others(self, top: int) -> Exchange:
        """The peers behind the first `top` together."""
        rest = [one for _, one in self.peers[top:]]
        return Exchange(sum(one.queries for one in rest), sum(one.answers for one in rest))


@dataclass(frozen=True, slots=True)
class Counts:
    """Both ways, and both sides that a machine can be on.

    As a server it gets queries and gives answers; as a client it is the other way round.
    """

    incoming: Way
    outgoing: Way
    server: Side
    client: Side

    @property
    def packets(self) -> int:
        """Of both ways."""
        return self.incoming.packets + self.outgoing.packets


def address(packed: bytes) -> Address:
    """An address of 16 bytes; one of IPv4 lies in ::ffff:0:0/96 (RFC 4291 2.5.5.2)."""
    found = IPv6Address(packed)
    return found.ipv4_mapped or found


def ranked(
    peers: Iterable[tuple[Address, Exchange]],
) -> tuple[tuple[Address, Exchange], ...]:
    """The one with the most queries first, then with the most answers; IPv4 before IPv6."""

    def order(peer: tuple[Address, Exchange]) -> tuple[int, int, int, bytes]:
        where, found = peer
        return -found.queries, -found.answers, where.version, where.packed

    return tuple(sorted(peers, key=order))
