"""RIPE-352's figures of a traffic: who asks with EDNS, who sets DO, and the sizes they offer.

RIPE-352, "Measuring the resource requirements of DNSSEC" (2005), counts the queries of a capture in
Table 1, those with an OPT record (E) and of these those with DO (D) in Table 2, and draws their
distributions in Figure 2. This module is arithmetic only: counters in, the report out.

What is counted, and what it is a part of:

- UDP packets to a watched port: however short their payload. Not among them are packets that are
  cut inside the UDP header or give a UDP length under 8, and all fragments but a packet's first.
- DNS messages: of those, the ones with a whole header of 12 bytes.
- Opcode QUERY: of the DNS messages; and of these those with TC, with QR, and with both.
- Remaining: opcode QUERY *and* TC clear *and* QR clear, counted as such. E and D are parts of it.
- Question not parsed: remaining, but without one whole question, so that no OPT record was looked
  for. OPT not reached: the search for it met its bound or the message's end. Both are in no other
  number of Table 2, nor in the projection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xdpdns.replay import ReplayResult, seconds

SIZES = (512, 1024, 1280, 1500, 2048, 4000, 4096, 16384)
"""The sizes of the published table, which are shown also where nobody offers them."""

ASSUMED_SIZE = 2048
"""What a query without EDNS is taken to offer if it set DO, as in the paper; bytes."""

BARS = 16
"""Sizes that a distribution shows one by one; a hostile capture can have 65536."""

KINDS = {
    "no_edns": "no EDNS",
    "edns_without_do": "EDNS without DO",
    "do": "DO",
    "opt_not_reached": "OPT not reached",
    "question_not_parsed": "question not parsed",
}
"""What a remaining query can be, and how to call it."""

# The header's third byte (RFC 1035 4.1.1).
_QR, _OPCODE, _TC = 0x80, 0x78, 0x02


@dataclass(frozen=True, slots=True)
class EdnsReport:
    """The counts; see the module for what each is a part of.

    `first_ns` and `last_ns` are nanoseconds since 1970 UTC, None without time stamps. `edns_sizes`
    and `do_sizes` map an EDNS size in bytes to the queries of E and of D that offer it, ascending,
    with SIZES always among them.
    """

    files: tuple[str, ...]
    first_ns: int | None
    last_ns: int | None
    packets: int
    ports: tuple[int, ...]
    udp: int
    dns: int
    opcode_query: int
    tc: int
    qr: int
    tc_and_qr: int
    remaining: int
    not_parsed: int
    unseen: int
    no_edns: int
    edns_sizes: Mapping[int, int]
    do_sizes: Mapping[int, int]
    warnings: tuple[str, ...]

    @property
    def edns(self) -> int:
        """E: remaining queries with an OPT record."""
        return sum(self.edns_sizes.values())

    @property
    def do(self) -> int:
        """D: remaining queries with DO set, a part of E."""
        return sum(self.do_sizes.values())

    @property
    def known(self) -> int:
        """Remaining queries of which it is known whether they have an OPT record."""
        return self.no_edns + self.edns

    def kinds(self) -> dict[str, int]:
        """Every remaining query in one of KINDS."""
        return {
            "no_edns": self.no_edns,
            "edns_without_do": self.edns - self.do,
            "do": self.do,
            "opt_not_reached": self.unseen,
            "question_not_parsed": self.not_parsed,
        }

    def projection(self) -> Projection:
        """What would be, if every query set DO and those without EDNS offered ASSUMED_SIZE."""
        changed = Counter(dict(self.edns_sizes))
        changed.subtract(self.do_sizes)
        changed[ASSUMED_SIZE] += self.no_edns
        everyone = Counter(dict(self.edns_sizes))
        everyone[ASSUMED_SIZE] += self.no_edns
        return Projection(self.known, _ascending(changed), _ascending(everyone))


@dataclass(frozen=True, slots=True)
class Projection:
    """If every query set DO.

    `changed_sizes` are the sizes that the queries would offer which don't set DO today, `sizes`
    those of all `known` queries.
    """

    known: int
    changed_sizes: Mapping[int, int]
    sizes: Mapping[int, int]

    @property
    def changed(self) -> int:
        """Queries that would be other than they are."""
        return sum(self.changed_sizes.values())


@dataclass(frozen=True, slots=True)
class Distribution:
    """One part of Figure 2: counts in order, each a share of `whole`; `of` says of what."""

    title: str
    of: str
    whole: int
    bars: tuple[tuple[str, int], ...]


def figure2(report: EdnsReport) -> tuple[Distribution, Distribution, Distribution]:
    """The distributions: kinds of queries, sizes in E, sizes in D.

    Of more than BARS sizes that occur, the most frequent are shown and the others summed up.
    """
    kinds = tuple((KINDS[name], count) for name, count in report.kinds().items())
    always, seldom = kinds[:3], kinds[3:]
    return (
        Distribution(
            "Queries",
            "the remaining queries",
            report.remaining,
            always + tuple(kind for kind in seldom if kind[1]),
        ),
        Distribution("EDNS sizes in E", "E", report.edns, _bars(report.edns_sizes)),
        Distribution("EDNS sizes in D", "D", report.do, _bars(report.do_sizes)),
    )


def _bars(sizes: Mapping[int, int]) -> tuple[tuple[str, int], ...]:
    occurring = Counter({size: count for size, count in sizes.items() if count})
    top = sorted(occurring.most_common(BARS))
    bars = [(str(size), count) for size, count in top]
    if len(occurring) > BARS:
        rest = occurring.total() - sum(count for _, count in top)
        bars.append((f"({len(occurring) - BARS} more)", rest))
    return tuple(bars)


def fraction(part: int, whole: int) -> float | None:
    """A share from 0 to 1; None of nothing."""
    return part / whole if whole else None


def make_report(result: ReplayResult, ports: tuple[int, ...]) -> EdnsReport:
    """The report of a replay by a program that was compiled with exact EDNS sizes.

    Raises:
        ValueError: it was not.
    """
    snapshot = result.snapshot
    exact = snapshot.edns_sizes
    if exact is None:
        raise ValueError("the program was compiled without exact_edns")
    header2 = snapshot.marginals.header2

    def messages(mask: int, value: int) -> int:
        return sum(count for byte, count in enumerate(header2) if byte & mask == value)

    dns = sum(header2)
    remaining = messages(_OPCODE | _TC | _QR, 0)
    do_sizes = Counter({size: count for (size, do), count in exact.sizes.items() if do})
    edns_sizes = do_sizes + Counter(
        {size: count for (size, do), count in exact.sizes.items() if not do}
    )
    parsed = edns_sizes.total() + exact.no_edns + exact.unseen
    return EdnsReport(
        files=result.files,
        first_ns=result.first_ns,
        last_ns=result.last_ns,
        packets=result.packets,
        ports=ports,
        udp=dns + snapshot.outcomes["dns_truncated"],
        dns=dns,
        opcode_query=messages(_OPCODE, 0),
        tc=messages(_OPCODE | _TC, _TC),
        qr=messages(_OPCODE | _QR, _QR),
        tc_and_qr=messages(_OPCODE | _TC | _QR, _TC | _QR),
        remaining=remaining,
        not_parsed=remaining - parsed,
        unseen=exact.unseen,
        no_edns=exact.no_edns,
        edns_sizes=_ascending(edns_sizes),
        do_sizes=_ascending(do_sizes),
        warnings=tuple(map(str, result.warnings)),
    )


def _ascending(sizes: Counter[int]) -> dict[int, int]:
    """The sizes that occur, and the published ones."""
    occurring = {size for size, count in sizes.items() if count}
    return {size: sizes[size] for size in sorted(occurring.union(SIZES))}


def to_json(report: EdnsReport) -> dict[str, Any]:
    """The report as values that :func:`json.dumps` takes.

    Every fraction is named `fraction_of_` and what it is a fraction of, and is null where that is
    0. `first` and `last` are seconds since 1970 UTC with nine decimals, as strings. The keys of
    `sizes` are EDNS sizes in bytes.
    """
    edns, do, known = report.edns, report.do, report.known
    projection = report.projection()
    return {
        "report": "edns",
        "files": list(report.files),
        "warnings": list(report.warnings),
        "table1": {
            "first": seconds(report.first_ns),
            "last": seconds(report.last_ns),
            "packets": report.packets,
            "ports": list(report.ports),
            "udp_to_port": report.udp,
            "dns": report.dns,
            "opcode_query": report.opcode_query,
            "opcode_query_tc": report.tc,
            "opcode_query_qr": report.qr,
            "opcode_query_tc_and_qr": report.tc_and_qr,
            "remaining": report.remaining,
        },
        "table2": {
            "remaining": report.remaining,
            "question_not_parsed": report.not_parsed,
            "opt_not_reached": report.unseen,
            "no_edns": {
                "count": report.no_edns,
                "fraction_of_remaining": fraction(report.no_edns, report.remaining),
            },
            "E": {
                "count": edns,
                "fraction_of_remaining": fraction(edns, report.remaining),
                "sizes": _keys(report.edns_sizes),
            },
            "D": {
                "count": do,
                "fraction_of_remaining": fraction(do, report.remaining),
                "fraction_of_E": fraction(do, edns),
                "sizes": _keys(report.do_sizes),
            },
        },
        "figure2": {
            "queries_fraction_of_remaining": {
                name: fraction(count, report.remaining) for name, count in report.kinds().items()
            },
            "sizes_fraction_of_E": _fractions(report.edns_sizes, edns),
            "sizes_fraction_of_D": _fractions(report.do_sizes, do),
        },
        "projection": {
            "assumed_size": ASSUMED_SIZE,
            "known": known,
            "changed": projection.changed,
            "changed_fraction_of_known": fraction(projection.changed, known),
            "changed_sizes": _keys(projection.changed_sizes),
            "sizes": _keys(projection.sizes),
        },
    }


def _keys(sizes: Mapping[int, int]) -> dict[str, int]:
    return {str(size): count for size, count in sizes.items()}


def _fractions(sizes: Mapping[int, int], whole: int) -> dict[str, float | None]:
    return {str(size): fraction(count, whole) for size, count in sizes.items()}
