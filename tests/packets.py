"""Packets, byte by byte: what the tests of every tier send, built with struct and nothing else.

Each builder takes the payload that it wraps and fields that default to the ordinary; a field that
is given is written as it is, right or wrong, so that hostile packets read like the others::

    ethernet(ipv4(udp(dns_query("example.com", A, additional=[opt(1232, do=True)]))))
    ethernet(vlan(ipv4(udp(dns_query("example.com", A))), inner=IPV4), ethertype=DOT1Q)

All integers are written in network byte order. Addresses are of the documentation ranges
(RFC 5737, RFC 3849). UDP checksums are 0 (none), which the kernel's XDP hook never looks at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

# EtherTypes (IEEE 802).
IPV4, ARP, DOT1Q, IPV6, DOT1AD, LLDP = 0x0800, 0x0806, 0x8100, 0x86DD, 0x88A8, 0x88CC

# IP protocol numbers (IANA).
HOPOPTS, ICMP, TCP, UDP, ROUTING, FRAGMENT, ESP, AH, NO_NEXT, DSTOPTS = (
    *(0, 1, 6, 17, 43, 44),
    *(50, 51, 59, 60),
)

# Resource record types and classes (IANA) that the tests speak of.
A, NS, SOA, PTR, TXT, AAAA, OPT, HTTPS, TSIG, IXFR, ANY, CAA = (
    *(1, 2, 6, 12, 16, 28),
    *(41, 65, 250, 251, 255, 257),
)
IN, CH = 1, 3

# Opcodes (IANA).
QUERY, IQUERY, STATUS, NOTIFY, UPDATE = 0, 1, 2, 4, 5

CLIENT4, SERVER4 = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.53")
CLIENT6, SERVER6 = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::53")


def ethernet(
    payload: bytes,
    *,
    ethertype: int = IPV4,
    dst: bytes = b"\x02\x00\x00\x00\x00\x35",
    src: bytes = b"\x02\x00\x00\x00\x00\x01",
) -> bytes:
    """An Ethernet II frame without its checksum."""
    return dst + src + struct.pack("!H", ethertype) + payload


def vlan(payload: bytes, *, inner: int = IPV4, vid: int = 100) -> bytes:
    """What follows a tag's EtherType (IEEE 802.1Q): the tag's value, the next EtherType, the rest.

    The tag's own EtherType (`DOT1Q` or `DOT1AD`) is written by whoever wraps this.
    """
    return struct.pack("!HH", vid, inner) + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of `data`."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    payload: bytes,
    *,
    proto: int = UDP,
    options: bytes = b"",
    version: int = 4,
    ihl: int | None = None,
    total_length: int | None = None,
    offset: int = 0,
    more: bool = False,
    ident: int = 1,
    back: bool = False,
) -> bytes:
    """An IPv4 packet (RFC 791). `offset` is the fragment's, in units of 8 bytes.

    `back` is from the server to the client.
    """
    if ihl is None:
        ihl = 5 + len(options) // 4
    if total_length is None:
        total_length = 20 + len(options) + len(payload)
    fragment = (more << 13) | offset
    first = (version << 4) | ihl
    start = struct.pack("!BBHHHBB", first, 0, total_length, ident, fragment, 64, proto)
    ends = CLIENT4.packed, SERVER4.packed
    addresses = b"".join(reversed(ends) if back else ends)
    total = checksum(start + b"\0\0" + addresses + options)
    return start + struct.pack("!H", total) + addresses + options + payload


Extension = tuple[int, bytes]
"""An extension header: its number, and its bytes with a first byte that `ipv6` fills in."""


def options_header(number: int = HOPOPTS, *, length: int = 8) -> Extension:
    """Hop-by-hop or destination options of `length` bytes (a multiple of 8), all Pad1."""
    return number, bytes([0, length // 8 - 1]) + bytes(length - 2)


def routing_header(*, segments: int = 1) -> Extension:
    """A routing header of type 4 (RFC 8754) with `segments` addresses, none left."""
    return ROUTING, bytes([0, 2 * segments, 4, 0]) + bytes(4 + 16 * segments)


def fragment_header(*, offset: int = 0, more: bool = False, ident: int = 1) -> Extension:
    """A fragment header (RFC 8200, section 4.5). `offset` is in units of 8 bytes."""
    return FRAGMENT, struct.pack("!BBHI", 0, 0, (offset << 3) | more, ident)


def auth_header(*, icv: int = 12) -> Extension:
    """An authentication header (RFC 4302) with `icv` bytes of integrity check value."""
    return AH, bytes([0, (12 + icv) // 4 - 2]) + bytes(10 + icv)


def ipv6(
    payload: bytes,
    *,
    proto: int = UDP,
    extensions: Sequence[Extension] = (),
    version: int = 6,
    payload_length: int | None = None,
    back: bool = False,
) -> bytes:
    """An IPv6 packet (RFC 8200); each header's Next Header names the one that follows.

    `back` is from the server to the client.
    """
    numbers = [number for number, _ in extensions] + [proto]
    chain = b"".join(
        bytes([following]) + body[1:]
        for (_, body), following in zip(extensions, numbers[1:], strict=True)
    )
    if payload_length is None:
        payload_length = len(chain) + len(payload)
    start = struct.pack("!IHBB", version << 28, payload_length, numbers[0], 64)
    ends = CLIENT6.packed, SERVER6.packed
    return start + b"".join(reversed(ends) if back else ends) + chain + payload


def udp(payload: bytes, *, dport: int = 53, sport: int = 40000, length: int | None = None) -> bytes:
    """A UDP datagram (RFC 768) without a checksum."""
    if length is None:
        length = 8 + len(payload)
    return struct.pack("!HHHH", sport, dport, length, 0) + payload


def tcp(payload: bytes, *, dport: int = 53, sport: int = 40000) -> bytes:
    """A TCP segment (RFC 9293) without options or checksum."""
    return struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 5 << 4, 0x18, 65535, 0, 0) + payload


def labels(*parts: bytes) -> bytes:
    """A name in wire form (RFC 1035, section 3.1) of the given labels, with the final zero."""
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def name(text: str) -> bytes:
    """A plain dotted name in wire form; `.` is the root. No escapes: use `labels` for odd bytes."""
    return labels(*(part.encode("ascii") for part in text.split(".") if part))


def question(owner: bytes | str, qtype: int = A, qclass: int = IN) -> bytes:
    """An entry of the question section (RFC 1035, section 4.1.2)."""
    wire = name(owner) if isinstance(owner, str) else owner
    return wire + struct.pack("!HH", qtype, qclass)


def record(
    owner: bytes | str,
    rtype: int,
    rdata: bytes = b"",
    *,
    rclass: int = IN,
    ttl: int = 0,
    rdlength: int | None = None,
) -> bytes:
    """A resource record (RFC 1035, section 4.1.3)."""
    wire = name(owner) if isinstance(owner, str) else owner
    size = len(rdata) if rdlength is None else rdlength
    return wire + struct.pack("!HHIH", rtype, rclass, ttl, size) + rdata


def opt(
    size: int = 1232,
    *,
    do: bool = False,
    version: int = 0,
    rcode: int = 0,
    options: bytes = b"",
    owner: bytes = b"\0",
) -> bytes:
    """An OPT record (RFC 6891, section 6.1): `size` is its class field, DO bit 15 of its flags."""
    flags = (rcode << 24) | (version << 16) | (do << 15)
    return record(owner, OPT, options, rclass=size, ttl=flags)


def tsig(owner: str = "key.example") -> bytes:
    """A TSIG record (RFC 8945) with 16 bytes of MAC."""
    rdata = name("hmac-sha256") + bytes(6) + struct.pack("!HH", 300, 16) + bytes(16 + 6)
    return record(owner, TSIG, rdata, rclass=ANY)


def soa(owner: bytes | str = b"\xc0\x0c", serial: int = 1) -> bytes:
    """An SOA record; its owner is a pointer to the question's name by default (RFC 1995)."""
    rdata = name("ns.example") + name("root.example")
    return record(owner, SOA, rdata + struct.pack("!IIIII", serial, 3600, 600, 86400, 60))


def message(
    body: bytes = b"",
    *,
    ident: int = 0x1234,
    qr: int = 0,
    opcode: int = QUERY,
    aa: int = 0,
    tc: int = 0,
    rd: int = 1,
    ra: int = 0,
    z: int = 0,
    ad: int = 0,
    cd: int = 0,
    rcode: int = 0,
    counts: Iterable[int] = (1, 0, 0, 0),
) -> bytes:
    """A DNS message (RFC 1035, section 4.1.1): a header with these fields, and `body` after it.

    `counts` are QDCOUNT, ANCOUNT, NSCOUNT and ARCOUNT, true or not.
    """
    flags = (qr << 15) | (opcode << 11) | (aa << 10) | (tc << 9) | (rd << 8) | (ra << 7)
    flags |= (z << 6) | (ad << 5) | (cd << 4) | rcode
    return struct.pack("!HHHHHH", ident, flags, *counts) + body


def dns_query(
    owner: bytes | str = "example.com",
    qtype: int = A,
    qclass: int = IN,
    *,
    answers: Sequence[bytes] = (),
    authority: Sequence[bytes] = (),
    additional: Sequence[bytes] = (),
    trailing: bytes = b"",
    counts: Iterable[int] | None = None,
    **header: int,
) -> bytes:
    """A query: one question, records after it, true counts unless `counts` is given.

    `header` takes the bits that `message` takes (`qr`, `opcode`, `tc`, `rd`, `z`, `ad`, `cd` ...).
    """
    if counts is None:
        counts = (1, len(answers), len(authority), len(additional))
    records = b"".join((*answers, *authority, *additional))
    body = question(owner, qtype, qclass) + records + trailing
    return message(body, counts=counts, **header)


def frame4(dns: bytes, *, dport: int = 53) -> bytes:
    """A whole frame: Ethernet, IPv4, UDP to `dport`, and this DNS message."""
    return ethernet(ipv4(udp(dns, dport=dport)))


def frame6(dns: bytes, *, dport: int = 53) -> bytes:
    """A whole frame: Ethernet, IPv6, UDP to `dport`, and this DNS message."""
    return ethernet(ipv6(udp(dns, dport=dport)), ethertype=IPV6)
