"""Traffic for the dashboards: each packet with everything that a panel could say of it."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rrset

from tests.netns.lab import CLIENT4, SERVER4, SERVER6, Lab, Namespace
from tests.netns.mix import EDNS, NAMES, QTYPES

FLAGS = {"qr": 0x8000, "aa": 0x0400, "tc": 0x0200, "rd": 0x0100} | {
    "ra": 0x0080,
    "z": 0x0040,
    "ad": 0x0020,
    "cd": 0x0010,
}


SEGMENTS = ("syn", "empty", "messages", "empty")
"""What a query over TCP arrives as: SYN, ACK, the message, RST."""


@dataclass(frozen=True)
class Sent:
    """A packet, or a query over TCP: where it goes, and what it must be counted as.

    `row` has the labels of a query but for those of the transport; empty for what is no query.
    `wire` is empty for a SYN to a port where nobody listens. What has an `rcode` is a response, and
    goes the other way.
    """

    wire: bytes
    outcome: str = "query"
    row: dict[str, str] = field(default_factory=dict)
    name: str = "."
    qclass: str = "IN"
    version: str = "no_edns"
    af: str = "ipv4"
    port: int = 53
    proto: str = "udp"
    rcode: str = ""

    @property
    def is_query(self) -> bool:
        return self.outcome == "query"

    @property
    def has_header(self) -> bool:
        return self.outcome not in {"dns_truncated", "other_port", "tcp", "response"}

    @property
    def segments(self) -> Sequence[str]:
        """The TCP segments that it is, by what they are."""
        return SEGMENTS if self.proto == "tcp" else SEGMENTS[: self.outcome == "tcp"]

    @property
    def packets(self) -> Sequence[str]:
        """The outcomes of the packets that arrive."""
        return ["tcp" for _ in self.segments] or [self.outcome][: not self.rcode]

    @property
    def name_length(self) -> int:
        return len(dns.name.from_text(self.name).to_wire() or b"")

    @property
    def name_labels(self) -> int:
        return len(dns.name.from_text(self.name).labels) - 1

    @property
    def opcode(self) -> str:
        return dns.opcode.to_text(dns.opcode.Opcode(self.wire[2] >> 3 & 15))

    def flag(self, name: str) -> bool:
        """Whether a bit of the header is set."""
        return bool(int.from_bytes(self.wire[2:4], "big") & FLAGS[name])

    def label(self, name: str) -> str:
        """A label of the query's row."""
        return {"af": self.af, "proto": self.proto, **self.row}[name]


def query(name: str, qtype: str, edns: int | None, *bits: str, **fields: str) -> Sent:
    """A query; `bits` are some of do, ad, qr."""
    message = dns.message.make_query(name, qtype, fields.get("qclass", "IN"), use_edns=False, id=0)
    version = fields.get("version", "no_edns" if edns is None else "0")
    if edns is not None:
        message.use_edns(int(version), dns.flags.DO if "do" in bits else 0, edns)
    for bit, flag in (("ad", dns.flags.AD), ("qr", dns.flags.QR)):
        if bit in bits:
            message.flags |= flag
    row = {bit: str(int(bit in bits)) for bit in ("qr", "do", "ad")}
    row |= {"edns": EDNS[edns], "qtype": QTYPES[qtype], "tld": NAMES.get(name, "~other")}
    return Sent(message.to_wire(), "query", row, name, fields.get("qclass", "IN"), version)


def queries(count: int, seed: int) -> list[Sent]:
    """Queries of many kinds over both families, in shares that the seed decides."""
    chance = random.Random(seed)
    kinds = [
        query(name, qtype, edns, *(["do"] if do and edns is not None else []), *ad)
        for name in ("com.", "WwW.ExAmPlE.CoM.", "example.museum.", ".", "host.not-a-tld-at-all.")
        for qtype in ("A", "AAAA", "MX", "HTTPS", "TYPE65281")
        for edns in (None, 512, 1232, 1400, 4096)
        for do in (False, True)
        for ad in ([], ["ad"])
    ]
    weights = [chance.paretovariate(1) for _ in kinds]
    picked = chance.choices(kinds, weights, k=count)
    return [replace(one, af=chance.choice(["ipv4", "ipv4", "ipv6"])) for one in picked]


_HEADER = bytes.fromhex("0000 0100 0001 0000 0000 0000")


def odd(times: int = 1) -> list[Sent]:
    """Packets that are no plain query, a different number of each kind."""
    question = b"\x03com\0\0\1\0\1"
    kinds = [
        (5, Sent(b"\0" * 5, "dns_truncated")),
        (4, Sent(_HEADER[:4] + b"\0\0" + _HEADER[6:], "qdcount")),
        (3, Sent(_HEADER + b"\xc0\x0c\0\1\0\1", "name_compressed")),
        (6, Sent(_HEADER + b"\x05ab", "name_truncated")),
        (2, Sent(_HEADER + b"\x03com\0\0\1", "question_truncated")),
        (7, Sent(b"\0\0\x24\0" + _HEADER[4:] + question, "opcode")),
        (8, Sent(_HEADER + question, "other_port", port=5353)),
        (9, Sent(b"", "tcp")),
        (4, query("version.bind.", "TXT", None, qclass="CH")),
        (3, query("com.", "A", 1232, version="1")),
        (2, query("com.", "A", None, "qr")),
    ]
    return [sent for count, sent in kinds for _ in range(count * times)]


def over_tcp(times: int) -> list[Sent]:
    """Queries over TCP, each on a connection of its own."""
    asked = query("www.example.com.", "AAAA", 1232, "do")
    return [replace(asked, proto="tcp", af="ipv6")] * times


def responses(**counts: int) -> list[Sent]:
    """So many responses of each code, NODATA and REFERRAL among them."""
    made = []
    for rcode, count in counts.items():
        response = dns.message.make_response(dns.message.make_query("www.example.com.", "A", id=0))
        if rcode == "REFERRAL":
            response.authority.append(dns.rrset.from_text("com.", 60, "IN", "NS", "ns.com."))
        elif rcode == "NOERROR":
            response.answer.append(
                dns.rrset.from_text("www.example.com.", 60, "IN", "A", "192.0.2.80")
            )
        elif rcode != "NODATA":
            response.set_rcode(dns.rcode.from_text(rcode))
        made += [Sent(response.to_wire(), "response", rcode=rcode)] * count
    return made


def send(namespace: Namespace, packets: Iterable[Sent], quiet: Callable[[], object]) -> None:
    """Send what is no response to the server from a namespace, in small bursts; wait for quiet.

    Nobody reads the answers, and the sockets stay open until then: an answer to a closed port
    would make a packet that the test didn't send.
    """

    def go() -> Sequence[socket.socket]:
        sockets = {
            af: socket.socket(family, socket.SOCK_DGRAM)
            for af, family in (("ipv4", socket.AF_INET), ("ipv6", socket.AF_INET6))
        }
        for number, sent in enumerate(packets):
            address = (SERVER4 if sent.af == "ipv4" else SERVER6, sent.port)
            if sent.rcode:
                continue
            if sent.proto == "tcp":
                _ask_over_tcp(sent.wire, address)
            elif sent.outcome == "tcp":
                with socket.socket() as tcp:
                    # A SYN, and a RST that nobody answers: one segment to the server.
                    assert tcp.connect_ex(address)
            else:
                sockets[sent.af].sendto(sent.wire, address)
            if number % 32 == 31:
                time.sleep(0.002)
        return tuple(sockets.values())

    held = namespace.inside(go)
    quiet()
    for each in held:
        each.close()


def _ask_over_tcp(wire: bytes, address: tuple[str, int]) -> None:
    """One query on a connection that ends at once: exactly the packets of SEGMENTS."""
    with socket.socket(socket.AF_INET6) as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tcp.connect(address)
        tcp.sendall(struct.pack("!H", len(wire)) + wire)


Say = Callable[[Iterable[Sent]], None]
"""Sends what is a response, from port 53 of the server to its client."""


@contextmanager
def sinks(lab: Lab) -> Iterator[Say]:
    """Port 53 of the server, taken by sockets that never read: a query brings nothing back.

    Nor does the client's socket read that takes the responses. Over TCP only IPv6 is listened to.
    """

    def bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        made.bind((address, port))
        return made

    def at_server() -> Sequence[socket.socket]:
        listening = bound(socket.SOCK_STREAM, SERVER6, 53)
        listening.listen(4096)
        four, six = (bound(socket.SOCK_DGRAM, address, 53) for address in (SERVER4, SERVER6))
        return four, six, listening

    held = lab.server.inside(at_server)
    client = lab.client.inside(lambda: bound(socket.SOCK_DGRAM, CLIENT4, 0))

    def say(packets: Iterable[Sent]) -> None:
        for number, sent in enumerate(one for one in packets if one.rcode):
            held[0].sendto(sent.wire, client.getsockname())
            if number % 32 == 31:
                time.sleep(0.002)

    try:
        yield say
    finally:
        for each in (*held, client):
            each.close()
