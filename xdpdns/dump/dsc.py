"""DSC's XML, as its collector writes a file for each minute and its presenters read it.

Source: src/xml.c and the indexers of https://github.com/DNS-OARC/dsc (2.15). An array is a table of
two dimensions; a value of other characters than letters, digits and `._-:` is in base64. What DSC
counts "queries-only" has QR clear here too. DSC's files hold the counts of an interval: that since
the previous reading, or since the counting began.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from xml.sax.saxutils import quoteattr

import dns.rcode
import dns.rdatatype

from xdpdns import vocab
from xdpdns.dump.reading import Reading
from xdpdns.families import InterfaceState
from xdpdns.roles import WAYS
from xdpdns.snapshot import Snapshot

Table = Counter[tuple[str, str]]
"""Counts by the values of the first and of the second dimension."""

# What DSC writes for the sum of the values that it leaves out: so for what is in `~other`.
SKIPPED = "-:SKIPPED_SUM:-"
ALL = "ALL"

ARRAYS: tuple[tuple[str, str, str, str, str], ...] = (
    ("qtype", "All", "", "Qtype", "qtype"),
    ("qtype_vs_tld", "Qtype", "qtype", "TLD", "tld"),
    ("transport_vs_qtype", "Transport", "proto", "Qtype", "qtype"),
    ("dns_ip_version_vs_qtype", "IPVersion", "af", "Qtype", "qtype"),
    ("do_bit", "All", "", "D0", "do"),
)
RESPONSE_ARRAYS = (("rcode", "All", "", "Rcode", "rcode"),)
"""Made from rows: an array's name, and for each dimension its type and the label that it is."""

HEADER_ARRAYS = {"opcode": ("All", "Opcode"), "rd_bit": ("All", "RD")}
"""Made from the header's third byte: an array's name, and the types of the dimensions."""

_BITS = {"0": "clr", "1": "set"}
_NOERROR = {"NODATA": "NOERROR", "REFERRAL": "NOERROR"}
"""What is NOERROR on the wire (bpf/parse_rcode.h)."""
_FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}
_PLAIN = re.compile(rb"[A-Za-z0-9._:-]*")


def write(reading: Reading) -> bytes:
    """Write a file: the interfaces together, as a node of DSC has one file for all of its own."""
    start = reading.since if reading.previous is None else reading.previous.time
    before = {} if reading.previous is None else _tables(reading.previous)
    lines = ["<dscdata>"]
    for (name, first, second), table in _tables(reading).items():
        # counters that began again have nothing to be subtracted from them
        earlier = before.get((name, first, second), Counter())
        counts = table - earlier if all(table[key] >= n for key, n in earlier.items()) else table
        lines += [
            f'<array name="{name}" dimensions="2" start_time="{start:.0f}" '
            f'stop_time="{reading.time:.0f}">',
            f'  <dimension number="1" type="{first}"/>',
            f'  <dimension number="2" type="{second}"/>',
            "  <data>",
            *_data(first, second, counts),
            "  </data>",
            "</array>",
        ]
    return "\n".join([*lines, "</dscdata>", ""]).encode()


def _tables(reading: Reading) -> dict[tuple[str, str, str], Table]:
    tables: dict[tuple[str, str, str], Table] = {}
    # of a resolver between clients and upstreams: DSC counts what its clients ask
    serving = {one.interface for one in reading.states if _way(one) == WAYS["server"][0]}
    for state in reading.states:
        asking = state.interface in serving and _way(state) in WAYS["client"]
        if state.snapshot is not None and not asking:
            for key, table in _of(state.snapshot):
                tables[key] = tables.get(key, Counter()) + table
    return tables


def _way(state: InterfaceState) -> tuple[str, str]:
    return state.direction, state.side


def _of(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str, str], Table]]:
    """The arrays of one program; those of a label that it doesn't count are left out."""
    place = {label: at for at, label in enumerate(snapshot.dimensions)}
    responses = "response" in snapshot.outcomes
    for name, first, one, second, two in RESPONSE_ARRAYS if responses else ARRAYS:
        if two not in place or (one and one not in place):
            continue
        table: Table = Counter()
        for row, count in snapshot.queries.items():
            if "qr" not in place or row[place["qr"]] == "0":
                outer = _value(one, row[place[one]]) if one else ALL
                table[outer, _value(two, row[place[two]])] += count
        yield (name, first, second), table
    if snapshot.marginals.header2 and not responses:
        opcodes: Table = Counter()
        recursion: Table = Counter()
        # QR, four bits of opcode, AA, TC, RD (RFC 1035 4.1.1); the first half has QR clear
        for byte, count in enumerate(snapshot.marginals.header2[:128]):
            opcodes[ALL, str(byte >> 3)] += count
            recursion[ALL, _BITS[str(byte & 1)]] += count
        yield ("opcode", *HEADER_ARRAYS["opcode"]), +opcodes
        yield ("rd_bit", *HEADER_ARRAYS["rd_bit"]), +recursion


def _value(label: str, text: str) -> str:
    """A label's value as DSC has it: types and response codes by their numbers."""
    if text == vocab.OTHER:
        return SKIPPED
    if label == "qtype":
        return str(int(dns.rdatatype.from_text(text)))
    if label == "rcode":
        return str(int(dns.rcode.from_text(_NOERROR.get(text, text))))
    return {"af": _FAMILIES, "do": _BITS}.get(label, {}).get(text, text)


def _data(first: str, second: str, table: Table) -> Iterator[str]:
    """The values of the first dimension, in each those of the second, the largest count first."""
    outers: dict[str, Table] = {}
    for (outer, inner), count in table.items():
        outers.setdefault(outer, Counter())[outer, inner] += count
    for outer, counts in sorted(outers.items()):
        yield f"    <{first} {_val(outer)}>"
        for (_, inner), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            yield f'      <{second} {_val(inner)} count="{count}"/>'
        yield f"    </{first}>"


def _val(text: str) -> str:
    r"""The attribute `val`; the bytes that our text has as \DDD are themselves again."""
    raw = re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1])]), text.encode())
    if _PLAIN.fullmatch(raw):
        return f"val={quoteattr(raw.decode())}"
    return f'val="{b64encode(raw).decode()}" base64="1"'
