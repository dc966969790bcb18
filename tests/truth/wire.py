"""Names, OPT records and labels of a message, decided a second time: part of the reference."""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import NamedTuple

import dns.rdatatype

DNS_HEADER = 12
TYPE_NS, TYPE_OPT = 2, 41
MAX_NAME = 255
MAX_STEPS = 256

_record = Struct("!HHIH").unpack_from


class Message(NamedTuple):
    """What counts of every message with a whole header: the opcode, and the 16 bits of flags."""

    opcode: int
    flags: int


class Ended(Exception):  # noqa: N818 (it is no error: every packet ends)
    """The packet ends with this outcome; `message` if a DNS header was whole before."""

    def __init__(self, outcome: str, message: Message | None = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.message = message


def name(wire: bytes, message: Message) -> tuple[int, int, str]:
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
    rcode: int
    version: int
    flags: int


class Walk(NamedTuple):
    """What the records after the question hold, as far as the walk came.

    `opt` is the first OPT, `finished` whether there was none and all were seen, and `first` the
    type of the first record, None if that was not seen.
    """

    opt: Opt | None
    finished: bool
    first: int | None


def walk(wire: bytes, at: int, records: int) -> Walk:
    """Walk over `records` records from `at` on, to the first OPT.

    The walk takes at most 256 steps, one for each label of an owner name and one for each record.
    A pointer ends an owner name (RFC 1035, section 4.1.4) and is not followed. A record is seen
    once its type is, with the fixed part whole: if the data of the last runs past the end, there
    still is no record left that could be an OPT.

    Silent: neither where a pointer points to nor the length of an owner name is judged.
    """
    first = None
    for _ in range(MAX_STEPS):
        if not records:
            break
        if at >= len(wire):
            break
        length = wire[at]
        if 0 < length <= 63:
            at += 1 + length
            continue
        if 63 < length < 0xC0:
            break
        at += 2 if length else 1
        if at + 10 > len(wire):
            break
        rtype, rclass, ttl, rdlength = _record(wire, at)
        first = rtype if first is None else first
        if rtype == TYPE_OPT:
            opt = Opt(rclass, ttl >> 24, ttl >> 16 & 0xFF, ttl & 0xFFFF)
            return Walk(opt, finished=False, first=first)
        at += 10 + rdlength
        records -= 1
    return Walk(None, finished=not records, first=first)


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
    return text if text not in ("~other", "~none") else rf"\126{text[1:]}"
