"""The demonstration's traffic: a block of packets with known proportions, sent over and over.

Each feature has its exact share of a block; how features meet in a message is drawn once, always
the same. What a packet must be counted as follows from the choices that made it, not from decoding.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import dns.flags
import dns.message

from xdpdns import vocab

T = TypeVar("T")

QUERIES = 200
"""Queries in a block; the weights below add up to it."""

_AF = {"ipv4": 130, "ipv6": 70}
_QR = {"0": 198, "1": 2}
_AD = {"0": 176, "1": 24}

# The OPT record's size (None: no OPT record) and DO bit.
_EDNS: dict[tuple[int | None, str], int] = {
    (None, "0"): 40,
    (512, "0"): 6,
    (1232, "0"): 14,
    (1232, "1"): 90,
    (1400, "1"): 10,
    (1452, "1"): 8,
    (4096, "0"): 4,
    (4096, "1"): 28,
}
_BUCKETS = {
    None: "no_edns",
    512: "leq1231",
    1232: "1232",
    1400: "1400",
    1452: "leq1499",
    4096: "gt1500",
}

# Name, type, and the TLD that is counted.
_QUESTIONS: dict[tuple[str, str, str], int] = {
    ("www.example.com.", "A", "com"): 42,
    ("WwW.eXaMpLe.CoM.", "A", "com"): 10,
    ("www.example.com.", "AAAA", "com"): 26,
    ("example.com.", "HTTPS", "com"): 16,
    ("example.com.", "MX", "com"): 6,
    ("_dmarc.example.com.", "TXT", "com"): 4,
    ("example.com.", "DS", "com"): 4,
    ("www.example.net.", "A", "net"): 18,
    ("www.example.net.", "AAAA", "net"): 10,
    ("example.net.", "SOA", "net"): 2,
    ("www.example.org.", "A", "org"): 10,
    ("www.example.org.", "AAAA", "org"): 6,
    ("example.org.", "CAA", "org"): 2,
    ("xn--caf-dma.example.", "A", "example"): 2,
    (".", "NS", "."): 6,
    (".", "DNSKEY", "."): 2,
    ("1.2.0.192.in-addr.arpa.", "PTR", "arpa"): 4,
    (
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
        "PTR",
        "arpa",
    ): 2,
    ("_ldap._tcp.dc._msdcs.corp.", "SRV", "corp"): 2,
    ("printer.local.", "A", "local"): 4,
    ("wpad.no-such-tld-1.", "A", vocab.OTHER): 8,
    ("qzxkvbnmlpoi.", "A", vocab.OTHER): 10,
    ("nothing.no-such-tld-2.", "AAAA", vocab.OTHER): 2,
    ("example.com.", "TYPE65400", "com"): 2,
}

_HEADER = struct.pack("!6H", 0, 0x0100, 1, 0, 0, 0)
_WHOLE = dns.message.make_query("example.com.", "A", use_edns=False, id=0).to_wire()
_NOTIFY = 4 << 11

# Payload, port and outcome of what is not counted as a query, each once in a block.
_OTHERS: Sequence[tuple[bytes, int, str]] = (
    (_HEADER[:11], 53, "dns_truncated"),
    (b"", 53, "dns_truncated"),
    (struct.pack("!6H", 0, 0x0100, 0, 0, 0, 0), 53, "qdcount"),
    (struct.pack("!6H", 0, _NOTIFY, 1, 0, 0, 0) + _WHOLE[12:], 53, "opcode"),
    (_HEADER + b"\xc0\x0c\x00\x01\x00\x01", 53, "name_compressed"),
    (_HEADER + b"\x07example\xc0\x0c\x00\x01\x00\x01", 53, "name_compressed"),
    (_HEADER + b"\x41\x08\x00\x00\x01\x00\x01", 53, "name_reserved"),
    (_WHOLE[:20], 53, "name_truncated"),
    (_WHOLE[:-2], 53, "question_truncated"),
    (_WHOLE, 5353, "other_port"),
)


@dataclass(frozen=True, slots=True)
class Packet:
    """A UDP payload, where to send it, and what it must be counted as.

    `labels` are in the order of vocab.DIMENSIONS; None for what is no query.
    """

    payload: bytes
    af: str
    port: int
    outcome: str
    labels: tuple[str, ...] | None


def block() -> list[Packet]:
    """The packets of a block in the order in which they are sent; always the same."""
    draw = random.Random(53)  # noqa: S311 - a mix, not a secret
    columns = [_spread(weights, draw) for weights in (_AF, _QR, _AD)]
    queries = zip(*columns, _spread(_EDNS, draw), _spread(_QUESTIONS, draw), strict=True)
    packets = [_query(*features) for features in queries]
    for index, (payload, port, outcome) in enumerate(_OTHERS):
        packets.append(Packet(payload, ("ipv4", "ipv6")[index % 2], port, outcome, None))
    draw.shuffle(packets)
    return packets


def tally(packets: Sequence[Packet], sent: int) -> dict[str, Counter[str]]:
    """What the first `sent` packets of endless blocks must be counted as.

    By the name of the dimension (`outcome` and vocab.DIMENSIONS), counts by value.
    """
    rounds, rest = divmod(sent, len(packets))
    found: dict[str, Counter[str]] = {name: Counter() for name in ("outcome", *vocab.DIMENSIONS)}
    for index, packet in enumerate(packets):
        times = rounds + (index < rest)
        if times:
            found["outcome"][packet.outcome] += times
            if packet.labels:
                for name, value in zip(vocab.DIMENSIONS, packet.labels, strict=True):
                    found[name][value] += times
    return found


def _spread(weights: Mapping[T, int], draw: random.Random) -> list[T]:
    values = [value for value, weight in weights.items() for _ in range(weight)]
    draw.shuffle(values)
    return values


def _query(
    af: str, qr: str, ad: str, edns: tuple[int | None, str], question: tuple[str, str, str]
) -> Packet:
    (size, do), (name, qtype, tld) = edns, question
    message = dns.message.make_query(name, qtype, use_edns=False, id=0)
    if size is not None:
        message.use_edns(0, dns.flags.DO if do == "1" else 0, size)
    if qr == "1":
        message.flags |= dns.flags.QR
    if ad == "1":
        message.flags |= dns.flags.AD
    label = vocab.OTHER if qtype.startswith("TYPE") else qtype
    labels = (af, "udp", qr, do, ad, _BUCKETS[size], label, tld)
    return Packet(message.to_wire(), af, 53, "query", labels)
