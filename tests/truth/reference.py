"""What a packet counts as, decided a second time: in Python, from the written definitions.

The definitions are the design's ("what counts as what") and the RFCs that it rests on; nothing here
was taken from the BPF program, so that where the two agree, the definition was met twice. Each
layer either hands on what the next one needs or ends with an outcome, by raising
:class:`~tests.truth.wire.Ended`: `framing` down to the message, `wire` for what lies in it, and
here what a query and a response are. Where the definition is silent the choice is marked
``Silent:`` with its reason.

Hostile headers are read by hand: dpkt and dnspython refuse or repair what must be counted here.
They decode the well-formed packets in `tests.truth.library`, a third opinion.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from struct import Struct
from typing import NamedTuple

import dns.rcode

from tests.truth import framing
from tests.truth.wire import (
    DNS_HEADER,
    TYPE_NS,
    Ended,
    Message,
    Walk,
    edns_bucket,
    name,
    qtype_text,
    walk,
)

_u16 = Struct("!H").unpack_from
_question = Struct("!HH").unpack_from
_counts = Struct("!HHHH").unpack_from


@dataclass(frozen=True)
class Config:
    """What the program is compiled with.

    `edges` are the EDNS sizes with a bucket of their own, ascending. `tlds` is the allow-list
    (lower-case text, `.` for the root) or None for all; `registered_only` folds types without a
    mnemonic; `max_extensions` bounds the IPv6 extension headers; `side` is what is counted;
    `encrypted` has the transports that are told by their port.
    """

    ports: frozenset[int] = frozenset({53})
    edges: tuple[int, ...] = (1232, 1400, 1500)
    tlds: frozenset[str] | None = None
    registered_only: bool = True
    max_extensions: int = 8
    side: framing.Side = "queries"
    encrypted: frozenset[str] = frozenset({"dot", "doq", "doh3"})

    def __str__(self) -> str:
        """What is not as usual: the name of a test, and so the same in each process."""
        said = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                value = sorted(value) if isinstance(value, frozenset) else value
                said.append(f"{field.name}={value}")
        return " ".join(said)


class Row(NamedTuple):
    """The label values of a query, in the order of `Snapshot.dimensions`."""

    af: str
    proto: str
    qr: str
    do: str
    ad: str
    edns: str
    qtype: str
    tld: str


class ResponseRow(NamedTuple):
    """The same of a response."""

    af: str
    proto: str
    rcode: str
    tc: str
    aa: str
    ad: str
    do: str
    edns: str
    qtype: str
    tld: str


class Query(NamedTuple):
    """What counts of a query or response beside its row: numbers as they are in the message.

    `edns_version` is the OPT's version in decimal, or like the bucket `no_edns` or `unseen`.
    `size` is the message's, up to its end, in bytes; `name_length` is in wire bytes with the final
    zero (1 for the root, 0 without a question), `name_labels` without the root's (0 for the root).
    """

    qclass: int
    edns_version: str
    size: int
    name_length: int
    name_labels: int


class Verdict(NamedTuple):
    """What a packet counts as: one outcome; a row and numbers if it is a query or response."""

    outcome: str
    row: Row | ResponseRow | None = None
    message: Message | None = None
    query: Query | None = None


DEFAULT = Config()


def classify(frame: bytes, config: Config = DEFAULT) -> Verdict:
    """What one Ethernet frame (without its checksum) counts as."""
    judge = _query if config.side == "queries" else _response
    try:
        ports = framing.Ports(config.ports, config.encrypted)
        datagram = framing.message(frame, ports, config.side, config.max_extensions)
        return judge(datagram.af, datagram.payload, config)
    except Ended as ended:
        return Verdict(ended.outcome, message=ended.message)


def _header(wire: bytes) -> Message:
    """The flags of a message (RFC 1035, section 4.1.1)."""
    if len(wire) < DNS_HEADER:
        raise Ended("dns_truncated")
    (flags,) = _u16(wire, 2)
    return Message((flags >> 11) & 15, flags)


def _query(af: str, wire: bytes, config: Config) -> Verdict:
    """The verdict on a message to a watched port, all of whose bytes are `wire`."""
    message = _header(wire)
    qdcount, ancount, nscount, arcount = _counts(wire, 4)
    if message.opcode:
        raise Ended("opcode", message)
    if qdcount != 1:
        raise Ended("qdcount", message)
    asked = _asked(wire, message, config)
    records = walk(wire, asked.end, ancount + nscount + arcount)
    edns = _edns(records, arcount, config)
    row = Row(
        af=af,
        proto="udp",
        qr=str(message.flags >> 15),
        do=edns.do,
        ad=str(message.flags >> 5 & 1),
        edns=edns.bucket,
        qtype=asked.qtype,
        tld=asked.tld,
    )
    query = Query(asked.qclass, edns.version, len(wire), asked.name_length, asked.labels)
    return Verdict("query", row, message, query)


def _response(af: str, wire: bytes, config: Config) -> Verdict:
    """The verdict on a message from a watched port: any opcode, a question or none (RFC 1035, 7.3).

    Silent: where both are wrong, QR is judged before QDCOUNT.
    """
    message = _header(wire)
    flags = message.flags
    qdcount, ancount, nscount, arcount = _counts(wire, 4)
    if not flags >> 15:
        raise Ended("not_response", message)
    if qdcount > 1:
        raise Ended("qdcount", message)
    asked = _asked(wire, message, config) if qdcount else NOT_ASKED
    records = walk(wire, asked.end, ancount + nscount + arcount)
    edns = _edns(records, arcount, config)
    extended = records.opt.rcode if records.opt else 0
    rcode = rcode_text(extended << 4 | flags & 15)
    truncated = flags >> 9 & 1
    if rcode == "NOERROR" and not ancount and not truncated:
        rcode = "REFERRAL" if nscount and records.first == TYPE_NS else "NODATA"
    row = ResponseRow(
        af=af,
        proto="udp",
        rcode=rcode,
        tc=str(truncated),
        aa=str(flags >> 10 & 1),
        ad=str(flags >> 5 & 1),
        do=edns.do,
        edns=edns.bucket,
        qtype=asked.qtype,
        tld=asked.tld,
    )
    query = Query(asked.qclass, edns.version, len(wire), asked.name_length, asked.labels)
    return Verdict("response", row, message, query)


def rcode_text(rcode: int) -> str:
    """The name of a registered response code (IANA: 0 to 11 and 16 to 23), else `~other`."""
    text = dns.rcode.to_text(dns.rcode.Rcode.make(rcode))
    return text if rcode <= 11 or 16 <= rcode <= 23 else "~other"


class Asked(NamedTuple):
    """The question: where it ends, its labels in a row, and numbers as in Query."""

    end: int
    qtype: str
    tld: str
    qclass: int
    name_length: int
    labels: int


NOT_ASKED = Asked(DNS_HEADER, "~none", "~none", 0, 0, 0)
"""No question. Silent: its class is none of the named ones."""


def _asked(wire: bytes, message: Message, config: Config) -> Asked:
    """The one question of a message."""
    after, labels, tld = name(wire, message)
    if after + 4 > len(wire):
        raise Ended("question_truncated", message)
    qtype, qclass = _question(wire, after)
    return Asked(
        end=after + 4,
        qtype=qtype_text(qtype, config.registered_only),
        tld=tld if config.tlds is None or tld in config.tlds else "~other",
        qclass=qclass,
        name_length=after - DNS_HEADER,
        labels=labels,
    )


class Edns(NamedTuple):
    """What a row and a query's numbers tell of the OPT record."""

    bucket: str
    do: str
    version: str


def _edns(records: Walk, arcount: int, config: Config) -> Edns:
    opt = records.opt
    if opt is not None:
        bucket = edns_bucket(opt.size, config.edges)
        return Edns(bucket, str(opt.flags >> 15 & 1), str(opt.version))
    none = "no_edns" if records.finished or not arcount else "unseen"
    return Edns(none, "0", none)
