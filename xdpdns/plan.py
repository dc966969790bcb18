"""What a configuration can cost at most: series, kernel memory, bytes of a scrape. `xdpdns plan`.

Pure arithmetic: nothing is compiled, and no root is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dns.opcode

from xdpdns import catalogue, kernel, vocab
from xdpdns.counters import EDNS_VERSIONS, OVERFLOWS, QCLASSES
from xdpdns.exposition import render
from xdpdns.families import Family, InterfaceState, families
from xdpdns.map_sizes import map_bytes, maps
from xdpdns.roles import Programs, Way
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import EdnsSizes, Histogram, Marginals, Snapshot, Tcp, Timing
from xdpdns.timing import BOUNDS, GROUPS, TIMED

ELSEWHERE = (8, 64, 128)
"""Numbers of CPUs that the memory is shown for, besides this machine's."""

_FLAGS = ("qr", "aa", "tc", "rd", "z", "ad", "cd")

_DIGITS = 7
"""Digits that a count is taken to have in the estimate of a scrape."""
_UNBOUNDED_TLD = 10.0
"""Bytes that a TLD is taken to have where no list bounds it."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """A label of a row.

    `values` is how many it can have, `product` that of all dimensions so far; None: more than any
    map can hold. `mean_bytes` is the mean length of a value's text.
    """

    label: str
    values: int | None
    product: int | None
    examples: tuple[str, ...]
    mean_bytes: float


@dataclass(frozen=True, slots=True)
class Rows:
    """Upper bounds of one side: of xdpdns_queries_total or xdpdns_responses_total.

    Attributes:
        dimensions: in the order of the labels; the last one's product is the total.
        reachable: the total without the pairs that can't be: DO is 0 where there is no OPT record.
        rows: the lesser of that and the limit, for each direction in which the side is counted.
    """

    dimensions: tuple[Dimension, ...]
    reachable: int | None
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Upper bounds for one interface.

    Attributes:
        sides: the rows by side, of those that are counted.
        max_series: the limit that was chosen; each map has room for no more rows.
        other_series: about the series of all other metrics, which hardly depend on the traffic.
        scrape_bytes: an estimate of a scrape with all rows, not compressed.
        maps: the programs' maps as the kernel is asked for them.
        memory: bytes of kernel memory by the number of possible CPUs.
        cpus: this machine's number of them.
    """

    sides: dict[str, Rows]
    max_series: int
    other_series: int
    scrape_bytes: int
    maps: tuple[kernel.MapSpec, ...]
    memory: dict[int, int]
    cpus: int

    @property
    def rows(self) -> int:
        """The most rows of both sides."""
        return sum(side.rows for side in self.sides.values())


def plan(
    programs: Programs | ProgramSettings, cpus: int, elsewhere: Sequence[int] = ELSEWHERE
) -> Plan:
    """Bound what the programs of an interface (roles.py), or one alone, can need on a machine."""
    if isinstance(programs, ProgramSettings):
        programs = {Way("ingress", programs.side): programs}
    sides = {
        side: _rows([settings for way, settings in programs.items() if way.side == side])
        for side in sorted({way.side for way in programs})
    }
    other = render(_without_rows(programs), False, _fail)
    rows = sum(one.rows * _row_bytes(side, one.dimensions) for side, one in sides.items())
    return Plan(
        sides=sides,
        max_series=max(settings.max_series for settings in programs.values()),
        other_series=sum(not line.startswith(b"#") for line in other.splitlines()),
        scrape_bytes=len(other) + round(rows),
        maps=_maps(programs, cpus),
        memory={
            number: sum(map_bytes(spec, number) for spec in _maps(programs, number))
            for number in sorted({cpus, *elsewhere})
        },
        cpus=cpus,
    )


def _maps(programs: Programs, cpus: int) -> tuple[kernel.MapSpec, ...]:
    """The maps of all programs; those that the two of an exchange share are there once."""
    specs: list[kernel.MapSpec] = []
    seen: set[Way] = set()
    for way, settings in programs.items():
        shared = TIMED if way.partner in seen else ()
        specs += [spec for spec in maps(settings, cpus) if spec.name not in shared]
        seen.add(way)
    return tuple(specs)


def to_json(made: Plan) -> dict[str, Any]:
    """The plan's fields, with each map's bytes on this machine; null where there is no bound.

    `queries` or `responses` is null if they are not counted.
    """
    return {
        **{side: _side(made.sides.get(side)) for side in vocab.SIDES},
        "max_series": made.max_series,
        "rows": made.rows,
        "other_series": made.other_series,
        "scrape_bytes": made.scrape_bytes,
        "cpus": made.cpus,
        "maps": [
            {
                "map": spec.name,
                "entries": spec.max_entries,
                "key_bytes": spec.key_size,
                "value_bytes": spec.value_size,
                "bytes": map_bytes(spec, made.cpus),
            }
            for spec in made.maps
        ],
        "memory": [{"cpus": cpus, "bytes": size} for cpus, size in made.memory.items()],
    }


def _side(rows: Rows | None) -> dict[str, Any] | None:
    if rows is None:
        return None
    return {
        "dimensions": [asdict(dimension) for dimension in rows.dimensions],
        "total": rows.dimensions[-1].product,
        "reachable": rows.reachable,
        "rows": rows.rows,
    }


def _rows(programs: Sequence[ProgramSettings]) -> Rows:
    """Those of programs that differ at most in the direction."""
    dimensions = tuple(_dimensions(programs[0]))
    reachable = _reachable(dimensions)
    limit = programs[0].max_series
    each = limit if reachable is None else min(reachable, limit)
    return Rows(dimensions, reachable, each * len(programs))


def _dimensions(settings: ProgramSettings) -> Iterable[Dimension]:
    product: int | None = 1
    for label in settings.labels:
        values = _values(label, settings)
        product = None if values is None or product is None else product * len(values)
        texts = values or ()
        yield Dimension(
            label=label,
            values=None if values is None else len(values),
            product=product,
            examples=tuple(texts[:3]),
            mean_bytes=round(math.fsum(map(len, texts)) / len(texts), 2)
            if texts
            else _UNBOUNDED_TLD,
        )


def _values(label: str, settings: ProgramSettings) -> Sequence[str] | None:
    """The texts that a label can have; None: any."""
    absent = [vocab.NONE] if settings.side == "responses" else []
    if label == "af":
        return tuple(vocab.AF_NAMES.values())
    if label == "proto":
        return tuple(vocab.PROTO_NAMES.values())
    if label == "edns":
        return vocab.edns_buckets(settings.edns_edges)
    if label == "qtype":
        if settings.qtypes == "all":
            return [*map(vocab.qtype_text, range(1 << 16)), *absent]
        return [*map(vocab.qtype_text, vocab.registered_qtypes()), vocab.OTHER, *absent]
    if label == "rcode":
        return vocab.rcodes()
    if label == "tld":
        allowed = settings.allowed_tlds
        if allowed is None:
            return None
        return [*map(vocab.tld_text, sorted(allowed)), vocab.OTHER, *absent]
    return ("0", "1")


def _reachable(dimensions: Sequence[Dimension]) -> int | None:
    total = dimensions[-1].product
    edns = next((one.values for one in dimensions if one.label == "edns"), None)
    if total is None or edns is None or all(one.label != "do" for one in dimensions):
        return total
    return total // (2 * edns) * (2 * edns - len((vocab.NO_EDNS, vocab.EDNS_UNSEEN)))


def _row_bytes(side: str, dimensions: Sequence[Dimension]) -> float:
    """The mean length of a row's line; the interface and the direction come first."""
    metric = catalogue.QUERIES if side == "queries" else catalogue.RESPONSES
    fixed = len(metric.name) + len('{interface="eth0",direction="ingress"} \n') + _DIGITS
    return fixed + sum(len(f',{one.label}=""') + one.mean_bytes for one in dimensions)


def _without_rows(programs: Programs) -> Iterable[Family]:
    """The families of an interface to which nothing has come yet."""
    states = [
        InterfaceState(
            "eth0",
            up=True,
            mode="native",
            program_id=1000,
            snapshot=_nothing(program),
            direction=way.direction,
            side=way.side,
        )
        for way, program in programs.items()
    ]
    return families(states, _fail)


def _nothing(settings: ProgramSettings) -> Snapshot:
    def empty(metric: catalogue.Metric) -> Histogram:
        edges = catalogue.EDGES[metric]
        return Histogram(edges, (0,) * (len(edges) + 1), 0)

    side = settings.side
    outcomes = dict.fromkeys(vocab.outcomes_of(side, settings.encrypted), 0)
    unheard = {group: Histogram(BOUNDS, (0,) * (len(BOUNDS) + 1), 0) for group in GROUPS}
    timed = settings.timing and side == "responses"
    opcodes = [dns.opcode.to_text(dns.opcode.Opcode.make(number)) for number in range(16)]
    marginals = Marginals(
        opcodes=dict.fromkeys(opcodes, 0),
        flags=dict.fromkeys(_FLAGS, 0),
        classes=dict.fromkeys(QCLASSES, 0),
        edns_versions=dict.fromkeys(EDNS_VERSIONS, 0),
        size=empty(catalogue.SIZE if side == "queries" else catalogue.RESPONSE_SIZE),
        name_length=empty(catalogue.NAME_LENGTH),
        name_labels=empty(catalogue.NAME_LABELS),
    )
    return Snapshot(
        dimensions=settings.labels,
        queries={},
        outcomes=outcomes,
        marginals=marginals,
        overflow=dict.fromkeys(OVERFLOWS, 0),
        map_entries={side: 0},
        map_max_entries={side: 0},
        edns_sizes=EdnsSizes({}, 0, 0) if settings.exact_edns else None,
        timing=Timing(settings.timing, 0, 0, 0, 0, 0, 0, unheard) if timed else None,
        tcp=_no_tcp(outcomes) if settings.tcp else None,
    )


def _no_tcp(outcomes: dict[str, int]) -> Tcp:
    segments = dict.fromkeys(vocab.tcp_segments(), 0)
    return Tcp(segments, dict(outcomes), 0, 0, Histogram((), (0,), 0))


def _fail(_name: str, error: Exception) -> None:
    raise error
