"""What a packet counts as, decided a second time: in Python, from the written definitions.

The definitions are the design's ("what counts as what") and the RFCs that it rests on; nothing here
was taken from the BPF program, so that where the two agree, the definition was met twice. One
function a layer, in the order of the packet; each either hands on what the next layer needs or ends
with an outcome, by raising :class:`Ended`. Where the definition is silent the choice is marked
``Silent:`` with its reason.

Hostile headers are read by hand: dpkt and dnspython refuse or repair what must be counted here.
They decode the well-formed packets in `tests.truth.library`, a third opinion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from struct import Struct
from typing import NamedTuple

import dns.rdatatype

ETHERNET_HEADER, TAG, IPV4_HEADER, IPV6_HEADER, UDP_HEADER, DNS_HEADER = 14, 4, 20, 40, 8, 12
TAG_TYPES = frozenset({0x8100, 0x88A8})  # 802.1Q and 802.1ad; the pre-standard 0x9100 is none.
MAX_TAGS = 2
IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP = 6, 17
HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, DESTINATION = 0, 43, 44, 51, 60
EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, DESTINATION})
TYPE_OPT = 41
MAX_NAME = 255
MAX_STEPS = 256

_u16 = Struct("!H").unpack_from
_ports = Struct("!HH").unpack_from
_counts = Struct("!HHHH").unpack_from
_record = Struct("!HHIH").unpack_from


@dataclass(frozen=True)
class Config:
    """What the program is compiled with.

    `edges` are the EDNS sizes with a bucket of their own, ascending. `tlds` is the allow-list
    (lower-case text, `.` for the root) or None for all; `registered_only` folds types without a
    mnemonic; `max_extensions` bounds the IPv6 extension headers.
    """

    ports: frozenset[int] = frozenset({53})
    edges: tuple[int, ...] = (1232, 1400, 1500)
    tlds: frozenset[str] | None = None
    registered_only: bool = True
    max_extensions: int = 8


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


class Message(NamedTuple):
    """What counts of every message with a whole header: the opcode, and the 16 bits of flags."""

    opcode: int
    flags: int


class Query(NamedTuple):
    """What counts of a query beside its row: numbers as they are in the message.

    `edns_version` is the OPT's version in decimal, or like the bucket `no_edns` or `unseen`.
    `size` is the message's, up to its end, in bytes; `name_length` is in wire bytes with the final
    zero (1 for the root), `name_labels` without the root's (0 for the root).
    """

    qclass: int
    edns_version: str
    size: int
    name_length: int
    name_labels: int


class Verdict(NamedTuple):
    """What a packet counts as: one outcome; a row and numbers if it is a query."""

    outcome: str
    row: Row | None = None
    message: Message | None = None
    query: Query | None = None


class Ended(Exception):  # noqa: N818 (it is no error: every packet ends)
    """The packet ends with this outcome; `message` if a DNS header was whole before."""

    def __init__(self, outcome: str, message: Message | None = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.message = message


DEFAULT = Config()


def classify(frame: bytes, config: Config = DEFAULT) -> Verdict:
    """What one Ethernet frame (without its checksum) counts as."""
    try:
        ethertype, start = _ethernet(frame)
        if ethertype == IPV4:
            af, (proto, start, end) = "ipv4", _ipv4(frame, start)
        elif ethertype == IPV6:
            af, (proto, start, end) = "ipv6", _ipv6(frame, start, config.max_extensions)
        else:
            raise Ended("not_ip")
        start, end = _udp(frame, proto, start, end, config.ports)
        return _dns(frame[start:end], af, config)
    except Ended as ended:
        return Verdict(ended.outcome, message=ended.message)


def _ethernet(frame: bytes) -> tuple[int, int]:
    """The EtherType after at most two tags, and where its payload starts (IEEE 802.3, 802.1Q)."""
    if len(frame) < ETHERNET_HEADER:
        raise Ended("eth_truncated")
    (ethertype,) = _u16(frame, 12)
    start = ETHERNET_HEADER
    tags = 0
    while ethertype in TAG_TYPES:
        # Silent: a third tag is too deep even where the frame ends before its value.
        if tags == MAX_TAGS:
            raise Ended("vlan_too_deep")
        if start + TAG > len(frame):
            raise Ended("eth_truncated")
        (ethertype,) = _u16(frame, start + 2)
        start += TAG
        tags += 1
    return ethertype, start


def _ipv4(frame: bytes, start: int) -> tuple[int, int, int]:
    """Protocol, payload start and end of an IPv4 packet (RFC 791, section 3.1)."""
    if start + IPV4_HEADER > len(frame) or frame[start] >> 4 != 4:
        raise Ended("ip_malformed")
    header = (frame[start] & 15) * 4
    (total_length,) = _u16(frame, start + 2)
    # A total length below the header's is malformed, also the 0 of a segment that the sender's
    # card had still to cut: no such packet comes in from a wire.
    if header < IPV4_HEADER or start + header > len(frame) or total_length < header:
        raise Ended("ip_malformed")
    (fragment,) = _u16(frame, start + 6)
    if fragment & 0x1FFF:
        raise Ended("fragment")
    return frame[start + 9], start + header, min(len(frame), start + total_length)


def _ipv6(frame: bytes, start: int, max_extensions: int) -> tuple[int, int, int]:
    """Upper protocol, its start and the end of an IPv6 packet (RFC 8200, sections 3 and 4).

    Silent: a payload length of 0 is taken as it is (a jumbogram, RFC 2675, is longer than any
    frame that a name server receives); an order of extension headers that RFC 8200 advises
    against is read all the same, as section 4.1 asks; a ninth header is too many even where the
    frame, but not the packet, ends inside the eighth.
    """
    if start + IPV6_HEADER > len(frame) or frame[start] >> 4 != 6:
        raise Ended("ip_malformed")
    (payload_length,) = _u16(frame, start + 4)
    total = start + IPV6_HEADER + payload_length
    end = min(len(frame), total)
    number = frame[start + 6]
    start += IPV6_HEADER
    seen = 0
    while number in EXTENSIONS:
        if seen == max_extensions:
            raise Ended("ip_ext_too_long")
        # Every extension header has at least 8 bytes (an AH of fewer than 12 is malformed too,
        # but the walk does not need its other fields).
        if start + 8 > end:
            raise Ended("ip_malformed")
        if number == FRAGMENT:
            if _u16(frame, start + 2)[0] >> 3:
                raise Ended("fragment")
            length = 8
        elif number == AUTH:
            length = (frame[start + 1] + 2) * 4  # RFC 4302: 32-bit words minus 2.
        else:
            length = (frame[start + 1] + 1) * 8
        number = frame[start]
        start += length
        if start > total:
            raise Ended("ip_malformed")
        seen += 1
    if start > end:
        raise Ended("ip_malformed")
    return number, start, end


def _udp(frame: bytes, proto: int, start: int, end: int, ports: frozenset[int]) -> tuple[int, int]:
    """Where the payload of a UDP datagram to a watched port starts and ends (RFC 768).

    Silent: TCP needs its first 4 bytes, the ports, to be told apart; TCP to another port is
    `not_udp`, like every other protocol.
    """
    if proto == TCP and start + 4 <= end and _ports(frame, start)[1] in ports:
        raise Ended("tcp")
    if proto != UDP:
        raise Ended("not_udp")
    # Silent: without a whole header it is malformed, whatever the port; a length below the
    # header's is malformed only on a watched port, since others are not looked into.
    if start + UDP_HEADER > end:
        raise Ended("udp_malformed")
    if _ports(frame, start)[1] not in ports:
        raise Ended("other_port")
    (length,) = _u16(frame, start + 4)
    if length < UDP_HEADER:
        raise Ended("udp_malformed")
    return start + UDP_HEADER, min(end, start + length)


def _dns(wire: bytes, af: str, config: Config) -> Verdict:
    """The verdict on a DNS message (RFC 1035, section 4.1), all of whose bytes are `wire`."""
    if len(wire) < DNS_HEADER:
        raise Ended("dns_truncated")
    (flags,) = _u16(wire, 2)
    qdcount, ancount, nscount, arcount = _counts(wire, 4)
    message = Message((flags >> 11) & 15, flags)
    if message.opcode:
        raise Ended("opcode", message)
    if qdcount != 1:
        raise Ended("qdcount", message)
    after, count, tld = _name(wire, message)
    if after + 4 > len(wire):
        raise Ended("question_truncated", message)
    qtype, qclass = _ports(wire, after)
    opt = _find_opt(wire, after + 4, ancount + nscount + arcount)
    if isinstance(opt, Opt):
        edns, do = edns_bucket(opt.size, config.edges), opt.flags >> 15 & 1
        version = str(opt.version)
    else:
        edns = version = "unseen" if opt is UNFINISHED and arcount else "no_edns"
        do = 0
    row = Row(
        af=af,
        proto="udp",
        qr=str(flags >> 15),
        do=str(do),
        ad=str(flags >> 5 & 1),
        edns=edns,
        qtype=qtype_text(qtype, config.registered_only),
        tld=tld if config.tlds is None or tld in config.tlds else "~other",
    )
    query = Query(qclass, version, len(wire), after - DNS_HEADER, count)
    return Verdict("query", row, message, query)


def _name(wire: bytes, message: Message) -> tuple[int, int, str]:
    """The end of the question's name, its number of labels, and its TLD as text.

    The bytes are judged in their order. Silent: a label's length byte is judged before its bytes,
    and a name is too long when there is a 256th byte, whatever it says (there can't be a 128th
    label before it); a message that ends within the first 255 is truncated.
    """
    at, labels, last = DNS_HEADER, 0, 0
    while True:
        if at >= len(wire):
            raise Ended("name_truncated", message)
        if at >= DNS_HEADER + MAX_NAME:
            raise Ended("name_too_long", message)
        length = wire[at]
        if length >= 0xC0:
            raise Ended("name_compressed", message)
        if length > 63:
            raise Ended("name_reserved", message)
        if length == 0:
            return at + 1, labels, (tld_text(wire[last:at]) if labels else ".")
        at += 1
        last = at
        at += length
        labels += 1


class Opt(NamedTuple):
    """The fixed part of an OPT record (RFC 6891, section 6.1.3)."""

    size: int
    version: int
    flags: int


FINISHED, UNFINISHED = "finished", "unfinished"


def _find_opt(wire: bytes, at: int, records: int) -> Opt | str:
    """The first OPT among `records` records from `at` on; else whether all of them were seen.

    The walk takes at most 256 steps, one for each label of an owner name and one for each record.
    A pointer ends an owner name (RFC 1035, section 4.1.4) and is not followed. A record is seen
    once its type is, with the fixed part whole: if the data of the last runs past the end, there
    still is no record left that could be an OPT.

    Silent: neither where a pointer points to nor the length of an owner name is judged.
    """
    for _ in range(MAX_STEPS):
        if not records:
            return FINISHED
        if at >= len(wire):
            return UNFINISHED
        length = wire[at]
        if 0 < length <= 63:
            at += 1 + length
            continue
        if 63 < length < 0xC0:
            return UNFINISHED
        at += 2 if length else 1
        if at + 10 > len(wire):
            return UNFINISHED
        rtype, rclass, ttl, rdlength = _record(wire, at)
        if rtype == TYPE_OPT:
            return Opt(rclass, ttl >> 16 & 0xFF, ttl & 0xFFFF)
        at += 10 + rdlength
        records -= 1
    return UNFINISHED if records else FINISHED


@cache
def edns_bucket(size: int, edges: tuple[int, ...]) -> str:
    """The EDNS bucket of an advertised size: `leq` below each edge, then the edge, then `gt`."""
    for edge in edges:
        if size < edge:
            return f"leq{edge - 1}"
        if size == edge:
            return str(edge)
    return f"gt{edges[-1]}"


@cache
def qtype_text(qtype: int, registered_only: bool) -> str:
    """The type's mnemonic; `~other`, or its TYPE form (RFC 3597), if it has none.

    dnspython names type 0 `TYPE0`, which is no mnemonic.
    """
    text = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(qtype))
    return "~other" if registered_only and text.startswith("TYPE") else text


def tld_text(label: bytes) -> str:
    r"""The label as text: ASCII lower case, bytes out of the ordinary as \DDD (RFC 1035, 5.1).

    Silent: the space is written \032 too (it is no graphic character, and dnspython does so); the
    label `~other` is written \126other, so that it can't be mistaken for what is folded.
    """
    text = "".join(
        chr(byte) if 0x20 < byte < 0x7F and byte not in b'"\\.' else f"\\{byte:03d}"
        for byte in label.lower()
    )
    return text if text != "~other" else r"\126other"


@dataclass
class Table:
    """What many packets count as; each counter is keyed by the plain value."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rows: Counter[Row] = field(default_factory=Counter)
    opcodes: Counter[int] = field(default_factory=Counter)
    flags: Counter[int] = field(default_factory=Counter)
    classes: Counter[int] = field(default_factory=Counter)
    edns_versions: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    name_lengths: Counter[int] = field(default_factory=Counter)
    name_labels: Counter[int] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one packet."""
        self.outcomes[verdict.outcome] += 1
        if verdict.message is not None:
            self.opcodes[verdict.message.opcode] += 1
            self.flags[verdict.message.flags] += 1
        if verdict.row is not None and verdict.query is not None:
            self.rows[verdict.row] += 1
            query = verdict.query
            self.classes[query.qclass] += 1
            self.edns_versions[query.edns_version] += 1
            self.sizes[query.size] += 1
            self.name_lengths[query.name_length] += 1
            self.name_labels[query.name_labels] += 1

    @property
    def packets(self) -> int:
        """How many packets were counted."""
        return self.outcomes.total()


def tabulate(frames: Iterable[bytes], config: Config = DEFAULT) -> Table:
    """The table of many frames."""
    table = Table()
    for frame in frames:
        table.add(classify(frame, config))
    return table
