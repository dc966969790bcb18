"""Frames to disagree about: valid, almost valid and hostile, the same for the same seed.

A frame is made from the inside out (name, question, records, header, UDP, IP, tags); at each layer
a small chance turns something wrong, so that most frames still reach the deepest layer and each
fault is met alone as well as with others. Some frames are mutants of a corpus: the vectors, and
whatever real captures the caller gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from struct import pack

from tests import packets as p
from tests.truth.framing import Side
from tests.truth.wire import MAX_STEPS

MIN_FRAME, MAX_FRAME = 14, 3500  # What BPF_PROG_TEST_RUN takes in one piece.

TLDS = [b"com", b"net", b"org", b"arpa", b"de", b"uk", b"jp", b"accountants", b"technology"]
TLDS += [b"xn--vermgensberatung-pwb", b"local", b"COM", b"Net", b"internal", b"home", b"i2p", b"x"]
WORDS = [b"www", b"example", b"a", b"b", b"1", b"ns1", b"mail", b"_dmarc", b"xn--bcher-kva", b"WWW"]
QTYPES = [1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 41, 43, 48, 64, 65, 250, 251, 252, 255, 256, 257]
SIZES = [0, 512, 1231, 1232, 1233, 1399, 1400, 1401, 1499, 1500, 1501, 4096, 65535]
LENGTH_BYTES = [0, 1, 2, 4, 0x3E, 0x3F, 0x40, 0x41, 0x7F, 0x80, 0xBF, 0xC0, 0xFF]


def frames(
    seed: int, count: int, corpus: Sequence[bytes] = (), side: Side = "queries"
) -> Iterator[bytes]:
    """`count` frames of 14 to 3500 bytes; a fifth are mutants of `corpus` if it is not empty."""
    rng = Random(seed)
    for _ in range(count):
        if corpus and rng.random() < 0.2:
            frame = mutate(rng, rng.choice(corpus))
        else:
            frame = make(rng, side)
            if rng.random() < 0.1:
                frame = mutate(rng, frame)
        yield frame[:MAX_FRAME].ljust(MIN_FRAME, b"\0")


def mutate(rng: Random, frame: bytes) -> bytes:
    """The frame with one to three bytes, runs or ends changed."""
    data = bytearray(frame)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        # Everything that decides lies in the upper part of a frame, mostly.
        at = rng.randrange(min(len(data), 120) if rng.random() < 0.7 else len(data))
        kind = rng.random()
        if kind < 0.3:
            data[at] = rng.choice(LENGTH_BYTES)
        elif kind < 0.5:
            data[at] ^= 1 << rng.randrange(8)
        elif kind < 0.6:
            data[at] = rng.randrange(256)
        elif kind < 0.75:
            del data[at:]
        elif kind < 0.85:
            del data[at : at + rng.randrange(1, 9)]
        elif kind < 0.95:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            data += rng.choice((p.opt(do=True), rng.randbytes(20), bytes(40)))
    return bytes(data)


def make(rng: Random, side: Side = "queries") -> bytes:
    """One frame from the inside out."""
    payload = dns(rng) if side == "queries" else response(rng)
    return link(rng, *network(rng, *transport(rng, payload, side)))


def label(rng: Random) -> bytes:
    """One label: a word, one byte, random letters, or any bytes at all."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(WORDS)
    if kind < 0.75:
        return bytes([rng.choice(b"abcxyz0189ABZ-_")])
    if kind < 0.92:
        return bytes(
            rng.choices(b"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-", k=rng.randrange(1, 64))
        )
    return rng.randbytes(rng.choice((1, 2, 3, 7, 8, 9, 15, 16, 23, 24, 25, 62, 63)))


def owner(rng: Random) -> bytes:
    """A name in wire form, in one of 25 malformed."""
    kind = rng.random()
    if kind < 0.05:
        return b"\0"
    if kind < 0.1:
        nibbles = bytes(rng.choices(b"0123456789abcdef", k=rng.choice((32, 32, 16, 31))))
        return p.labels(*(nibbles[i : i + 1] for i in range(len(nibbles))), b"ip6", b"arpa")
    if kind < 0.14:
        ones = (bytes([rng.randrange(256)]) for _ in range(rng.choice((29, 30, 31, 126, 127, 128))))
        return p.labels(*ones)
    if kind < 0.17:
        parts = [rng.randbytes(63) for _ in range(3)]
        return p.labels(*parts, rng.randbytes(rng.randrange(57, 64)))
    parts = [label(rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 4, 5, 9)))]
    parts.append(rng.choice(TLDS) if rng.random() < 0.8 else label(rng))
    wire = p.labels(*parts)
    if kind > 0.999:
        return p.labels(*[b"a"] * _close(rng))
    if kind > 0.96:
        at = rng.randrange(len(wire))
        return wire[:at] + bytes([rng.choice(LENGTH_BYTES)]) + wire[at + rng.randrange(2) :]
    return wire


def record(rng: Random) -> bytes:
    """A record after the question, most often an OPT."""
    kind = rng.random()
    if kind < 0.6:
        made = p.opt(
            rng.choice(SIZES) if rng.random() < 0.8 else rng.randrange(65536),
            do=rng.random() < 0.5,
            version=rng.choice((0, 0, 0, 0, 1, 255)),
            rcode=rng.choice((0, 0, 0, 0x80, 255)),
            options=rng.choice((b"", b"", b"\0\x0a\0\x08" + bytes(8), b"\0\x0c\0\x20" + bytes(32))),
            owner=b"\0" if rng.random() < 0.9 else owner(rng),
        )
    elif kind < 0.7:
        made = p.tsig()
    elif kind < 0.8:
        made = p.soa()
    else:
        pointer = bytes([0xC0 | rng.randrange(64), rng.randrange(256)])
        made = p.record(
            pointer if rng.random() < 0.5 else owner(rng),
            rng.choice((1, 2, 6, 16, 28, 46, 0x2900, rng.randrange(65536))),
            rng.randbytes(rng.choice((0, 1, 4, 16, 40))),
            rdlength=rng.randrange(64) if rng.random() < 0.05 else None,
        )
    if rng.random() < 0.03:
        return made[: rng.randrange(len(made))]
    return made


def dns(rng: Random) -> bytes:
    """A DNS message."""
    kind = rng.random()
    if kind < 0.02:
        return rng.randbytes(rng.choice((0, 1, 11, 12, 13, 16, 17, 40)))
    counts = [1, 0, 0, 0]
    many = rng.choice((0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 3, 7, 8, 9, 10))
    for _ in range(many):
        counts[rng.choice((3, 3, 3, 3, 3, 2, 1))] += 1
    if rng.random() < 0.08:
        counts[rng.randrange(4)] = rng.choice((0, 0, 1, 2, 3, 8, 9, 255, 256, 257, 65535))
    header = 0x0100 if rng.random() < 0.5 else rng.randrange(65536) & 0x87FF
    if rng.random() < 0.04:
        header |= rng.randrange(1, 16) << 11
    qtype = rng.choice(QTYPES) if rng.random() < 0.9 else rng.randrange(65536)
    qclass = 1 if rng.random() < 0.9 else rng.choice((0, 3, 4, 254, 255, 0x8001))
    records = [record(rng) for _ in range(many)]
    if rng.random() < 0.003:
        # As many steps as a walk over the records takes, or one less or more.
        tiny = _close(rng)
        records = [p.record(b"\xc0\x0c", p.A)] * tiny + records
        counts[3] = min(65535, counts[3] + tiny)
    body = p.question(owner(rng), qtype, qclass) + b"".join(records)
    wire = pack("!HHHHHH", rng.randrange(65536), header, *counts) + body
    if rng.random() < 0.08:
        wire += rng.choice((bytes(10), p.opt(do=True), rng.randbytes(rng.randrange(1, 60))))
    if rng.random() < 0.08:
        wire = wire[: rng.randrange(len(wire))]
    return wire


def response(rng: Random) -> bytes:
    """A DNS response: every section may have records, whose owners mostly are pointers."""
    if rng.random() < 0.1:
        return dns(rng)
    counts = [rng.choice((1,) * 17 + (0, 0, 0, rng.choice((2, 3, 256, 65535)))), 0, 0, 0]
    body = b""
    if counts[0] or rng.random() < 0.1:
        qtype = rng.choice(QTYPES) if rng.random() < 0.9 else rng.choice((0, rng.randrange(65536)))
        body = p.question(owner(rng), qtype, 1 if rng.random() < 0.9 else rng.randrange(65536))
    for section, most in ((1, 4), (2, 3), (3, 5)):
        if rng.random() < 0.4:
            continue
        for _ in range(rng.randrange(most)):
            body += record(rng) if section == 3 or rng.random() < 0.1 else answer(rng)
            counts[section] += 1
    if rng.random() < 0.005:
        tiny = _close(rng)
        body += p.record(b"\xc0\x0c", p.A) * tiny + p.opt(do=True, rcode=1)
        counts[3] = min(65535, counts[3] + tiny + 1)
    if rng.random() < 0.08:
        counts[rng.randrange(1, 4)] = rng.choice((0, 1, 2, 255, 256, 65535))
    header = 0x8000 | rng.choice((0, 0, 0, 3, 5, 0x400, 0x580, 0x403, rng.randrange(0x800)))
    if rng.random() < 0.05:
        header = rng.randrange(65536)
    wire = pack("!HHHHHH", rng.randrange(65536), header, *counts) + body
    if rng.random() < 0.05:
        wire += rng.choice((bytes(10), p.opt(do=True), rng.randbytes(rng.randrange(1, 60))))
    if rng.random() < 0.1:
        wire = wire[: rng.randrange(len(wire))]
    return wire


def answer(rng: Random) -> bytes:
    """A record as answers and referrals have it, its owner most often a pointer to anywhere."""
    kind = rng.random()
    pointer = b"\xc0\x0c" if kind < 0.6 else bytes([0xC0 | rng.randrange(64), rng.randrange(256)])
    if kind > 0.9:
        pointer = owner(rng)
    elif kind > 0.85:  # labels, then a pointer
        pointer = p.labels(rng.choice(WORDS))[:-1] + pointer
    return p.record(
        pointer,
        rng.choice((1, 2, 2, 2, 5, 6, 28, 43, 46, 50, 0x0200, rng.randrange(65536))),
        rng.randbytes(rng.choice((4, 16, 2, 0, 20, 64, 200))),
        rdlength=rng.randrange(65536) if rng.random() < 0.03 else None,
    )


def transport(rng: Random, payload: bytes, side: Side = "queries") -> tuple[int, bytes]:
    """The IP protocol number and its datagram or segment."""
    kind = rng.random()
    port = 53 if rng.random() < 0.95 else rng.choice((0, 52, 54, 443, 853, 853, 5353, 0x3500))
    if side == "responses" and kind < 0.97:
        other = rng.choice((53, 40000))
        length = None if rng.random() < 0.93 else _near(rng, 8 + len(payload))
        if kind < 0.94:
            return p.UDP, p.udp(payload, sport=port, dport=other, length=length)
        return p.TCP, p.tcp(payload, sport=port, dport=other)
    if kind < 0.94:
        length = None if rng.random() < 0.93 else _near(rng, 8 + len(payload))
        return p.UDP, p.udp(payload, dport=port, sport=rng.choice((53, 40000)), length=length)
    if kind < 0.97:
        return p.TCP, p.tcp(payload, dport=port)
    return rng.choice((p.ICMP, 58, p.ESP, p.AH, p.NO_NEXT, 132, 136, 255)), payload


def network(rng: Random, proto: int, payload: bytes) -> tuple[int, bytes]:
    """The EtherType and the IP packet."""
    if rng.random() < 0.03:
        payload = payload[: rng.randrange(len(payload) + 1)]
    wrong_size = rng.random() < 0.06
    if rng.random() < 0.5:
        options = b"\1" * rng.choice((0, 0, 0, 0, 0, 0, 4, 8, 20, 40))
        total = _near(rng, 20 + len(options) + len(payload)) if wrong_size else None
        odd = rng.random() < 0.05
        packet = p.ipv4(
            payload,
            proto=proto,
            options=options,
            total_length=total,
            version=rng.choice((4, 4, 4, 5, 6)) if odd else 4,
            ihl=rng.randrange(16) if odd else None,
            offset=rng.choice((1, 185, 0x1FFF)) if rng.random() < 0.02 else 0,
            more=rng.random() < 0.03,
        )
        return p.IPV4, packet
    chain = [extension(rng) for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 2, 3, 7, 8, 9)))]
    size = sum(len(body) for _, body in chain) + len(payload)
    packet = p.ipv6(
        payload,
        proto=proto,
        extensions=chain,
        payload_length=_near(rng, size) if wrong_size else None,
        version=6 if rng.random() < 0.98 else rng.randrange(16),
    )
    return p.IPV6, packet


def extension(rng: Random) -> p.Extension:
    """An IPv6 extension header; a few are later fragments or have a length that is not true."""
    number, body = rng.choice(
        (
            p.options_header(p.HOPOPTS, length=rng.choice((8, 8, 16, 264))),
            p.options_header(p.DSTOPTS, length=rng.choice((8, 8, 24, 48))),
            p.routing_header(segments=rng.randrange(4)),
            p.fragment_header(offset=int(rng.random() < 0.1), more=rng.random() < 0.5),
            p.auth_header(icv=rng.choice((0, 12, 20, 32))),
        )
    )
    if rng.random() < 0.02:
        body = body[:1] + bytes([rng.randrange(256)]) + body[2:]
    return number, body


def link(rng: Random, ethertype: int, payload: bytes) -> bytes:
    """The frame: tags, sometimes another EtherType, sometimes padding."""
    if rng.random() < 0.02:
        ethertype = rng.choice((p.ARP, p.LLDP, 46, 0x9100, p.IPV4, p.IPV6))
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3))):
        payload = p.vlan(payload, inner=ethertype, vid=rng.randrange(65536))
        ethertype = rng.choice((p.DOT1Q, p.DOT1AD))
    frame = p.ethernet(payload, ethertype=ethertype)
    if rng.random() < 0.15:
        frame += rng.choice((bytes(18), p.opt(do=True), rng.randbytes(rng.randrange(1, 30))))
    if rng.random() < 0.03:
        frame = frame[: rng.randrange(len(frame))]
    return frame


def _near(rng: Random, size: int) -> int:
    """A length that is not `size`, or is by chance: off by a little, or by anything."""
    odd = rng.choice((0, 7, 8, 12, 19, 20, 40, 65535, rng.randrange(65536)))
    return max(0, min(65535, rng.choice((size - 1, size + 1, size - rng.randrange(60), odd))))


def _close(rng: Random) -> int:
    """About as many as the walk over the records has steps."""
    return MAX_STEPS + rng.randrange(-12, 4)
