"""Two tables, entry by entry: what the reference counts and what a program's counters say."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import dns.opcode
import dns.rdataclass

from tests.truth.reference import ResponseRow, Row
from tests.truth.table import Table
from xdpdns.snapshot import Histogram, Snapshot

COUNTED = ("query", "response")
"""The outcomes of messages that are in a row, or in the overflow."""

FLAG_BITS = {"qr": 15, "aa": 10, "tc": 9, "rd": 8, "ra": 7, "z": 6, "ad": 5, "cd": 4}
NAMED_CLASSES = frozenset({"IN", "CH", "HS", "NONE", "ANY"})
NAMED_VERSIONS = frozenset({"no_edns", "unseen", "0", "1"})


class Difference(NamedTuple):
    """One entry that is not the same: its table and key, the reference's number and the other."""

    what: str
    key: object
    expected: int
    found: int


def differences(expected: Table, found: Snapshot) -> list[Difference]:
    """Every entry that differs, and every law of conservation that is broken."""
    return [
        *_entries("outcomes", expected.outcomes, found.outcomes),
        *_entries("queries", project(expected.rows, found.dimensions), found.queries),
        *_marginals(expected, found),
        *_law("queries + overflow", sum(found.outcomes.get(name, 0) for name in COUNTED), found),
    ]


def project(
    rows: Mapping[Row | ResponseRow, int], dimensions: tuple[str, ...]
) -> Counter[tuple[str, ...]]:
    """The rows with these dimensions only, as in `Snapshot.queries`."""
    projected: Counter[tuple[str, ...]] = Counter()
    for row, count in rows.items():
        projected[tuple(getattr(row, dimension) for dimension in dimensions)] += count
    return projected


def _entries(
    what: str, expected: Mapping[Any, int], found: Mapping[Any, int]
) -> Iterator[Difference]:
    for key in expected.keys() | found.keys():
        if expected.get(key, 0) != found.get(key, 0):
            yield Difference(what, key, expected.get(key, 0), found.get(key, 0))


def _law(what: str, queries: int, found: Snapshot) -> Iterator[Difference]:
    counted = sum(found.queries.values()) + sum(found.overflow.values())
    if queries != counted:
        yield Difference(what, "sum", queries, counted)


def _marginals(expected: Table, found: Snapshot) -> Iterator[Difference]:
    marginals = found.marginals
    opcodes: Counter[str] = Counter()
    for opcode, count in expected.opcodes.items():
        opcodes[dns.opcode.to_text(dns.opcode.Opcode(opcode))] += count
    classes: Counter[str] = Counter()
    for qclass, count in expected.classes.items():
        name = dns.rdataclass.to_text(dns.rdataclass.RdataClass.make(qclass))
        classes[name if name in NAMED_CLASSES else "~other"] += count
    versions: Counter[str] = Counter()
    for version, count in expected.edns_versions.items():
        versions[version if version in NAMED_VERSIONS else "~other"] += count
    flags: Counter[str] = Counter()
    for bits, count in expected.flags.items():
        for flag in marginals.flags:
            flags[flag] += count * (bits >> FLAG_BITS[flag] & 1)
    yield from _entries("opcodes", opcodes, marginals.opcodes)
    yield from _entries("classes", classes, marginals.classes)
    yield from _entries("edns_versions", versions, marginals.edns_versions)
    yield from _entries("flags", flags, marginals.flags)
    yield from _histogram("size", expected.sizes, marginals.size)
    yield from _histogram("name_length", expected.name_lengths, marginals.name_length)
    yield from _histogram("name_labels", expected.name_labels, marginals.name_labels)


def _histogram(what: str, values: Counter[int], found: Histogram) -> Iterator[Difference]:
    counts: Counter[object] = Counter()
    for value, count in values.items():
        counts[bisect_left(found.bounds, value)] += count
    yield from _entries(what, counts, dict(enumerate(found.counts)))
    total = sum(value * count for value, count in values.items())
    if total != found.sum:
        yield Difference(f"{what} sum", "sum", total, found.sum)
