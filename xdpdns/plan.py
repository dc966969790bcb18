"""What a configuration can cost at most: series, kernel memory, bytes of a scrape. `xdpdns plan`.

Pure arithmetic: nothing is compiled, and no root is needed. Memory is what the kernel itself says
of such maps in /proc/self/fdinfo (`memlock`; kernel/bpf/hashtab.c htab_map_mem_usage() and
kernel/bpf/arraymap.c array_map_mem_usage(), 6.4 and later; earlier kernels use the same memory but
say something rougher). All of it is allocated when the program is loaded, none while packets come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dns.opcode

from xdpdns import catalogue, kernel, vocab
from xdpdns.decode import EDNS_VERSIONS, OVERFLOWS, QCLASSES
from xdpdns.exposition import render
from xdpdns.families import Family, InterfaceState, families
from xdpdns.roles import Programs, Way
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import EdnsSizes, Histogram, Marginals, Snapshot, Tcp, Timing
from xdpdns.timing import BOUNDS, GROUPS, SLOTS, TIMED, TIMING_BYTES

ELSEWHERE = (8, 64, 128)
"""Numbers of CPUs that the memory is shown for, besides this machine's."""

# Sizes of kernel structs on 64-bit machines, 6.18: struct bpf_htab, bucket, htab_elem, bpf_array.
_HTAB, _BUCKET, _ELEMENT, _ARRAY, _POINTER = 896, 16, 48, 312, 8

_COUNTERS_BYTES = 32_768
"""No less than struct counters, for it is the most that an element of a per-CPU map can have."""
_EDNS_SIZES = (257, 4096)
"""Elements of the map of exact EDNS sizes, and bytes of one (bpf/edns_sizes.h)."""
_TCP_WALK, _TCP_FLOWS = 64, (16, 4096)
"""Bytes of struct tcp_walk; bytes of struct tcp_flow, and how many (bpf/tcp.h)."""
_PAGE = 4096
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
class Plan:
    """Upper bounds for one interface.

    Attributes:
        dimensions: in the order of the labels; the last one's product is the total.
        reachable: the total without the pairs that can't be: DO is 0 where there is no OPT record.
        max_series: the limit that was chosen; the map has room for no more rows.
        rows: the lesser of both for each direction in which queries are counted, and so the most
            series of xdpdns_queries_total.
        other_series: about the series of all other metrics, which hardly depend on the traffic.
        scrape_bytes: an estimate of a scrape with so many rows, not compressed.
        maps: the program's maps as the kernel is asked for them.
        memory: bytes of kernel memory by the number of possible CPUs.
        cpus: this machine's number of them.
    """

    dimensions: tuple[Dimension, ...]
    reachable: int | None
    max_series: int
    rows: int
    other_series: int
    scrape_bytes: int
    maps: tuple[kernel.MapSpec, ...]
    memory: dict[int, int]
    cpus: int


def plan(
    settings: ProgramSettings,
    cpus: int,
    elsewhere: Sequence[int] = ELSEWHERE,
    programs: Programs | None = None,
) -> Plan:
    """Bound what the program of these settings can need on an interface of a machine.

    `programs` are all that the interface has, if more: their maps and the series of their other
    metrics are in the figures too, and the rows of all that count queries.
    """
    dimensions = tuple(_dimensions(settings))
    reachable = _reachable(dimensions)
    rows = settings.max_series if reachable is None else min(reachable, settings.max_series)
    programs = programs or {Way("ingress", settings.side): settings}
    rows *= sum(way.side == settings.side for way in programs)
    specs: list[kernel.MapSpec] = []
    seen: set[Way] = set()
    for way, program in programs.items():
        shared = TIMED if way.partner in seen else ()
        specs += [spec for spec in maps(program) if spec.name not in shared]
        seen.add(way)
    other = render(_without_rows(programs), False, _fail)
    return Plan(
        dimensions=dimensions,
        reachable=reachable,
        max_series=settings.max_series,
        rows=rows,
        other_series=sum(not line.startswith(b"#") for line in other.splitlines()),
        scrape_bytes=len(other) + round(rows * _row_bytes(dimensions)),
        maps=tuple(specs),
        memory={
            number: sum(map_bytes(spec, number) for spec in specs)
            for number in sorted({cpus, *elsewhere})
        },
        cpus=cpus,
    )


def to_json(made: Plan) -> dict[str, Any]:
    """The plan's fields, with each map's bytes on this machine; null where there is no bound."""
    return {
        "dimensions": [asdict(dimension) for dimension in made.dimensions],
        "total": made.dimensions[-1].product,
        "reachable": made.reachable,
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


def maps(settings: ProgramSettings) -> Iterable[kernel.MapSpec]:
    """The maps that the program of these settings has (bpf/xdpdns.bpf.c), none smaller than it is.

    BCC's structs are the truth; a test compares.
    """
    allowed = settings.allowed_tlds
    bounded = settings.tlds != "all"
    width = vocab.TLD_BYTES if bounded else vocab.TLD_BYTES_UNBOUNDED
    key = 8 + (width if "tld" in settings.labels else 0)
    yield kernel.MapSpec(settings.side, kernel.MAP_TYPE_PERCPU_HASH, key, 8, settings.max_series)
    yield kernel.MapSpec("counters", kernel.MAP_TYPE_PERCPU_ARRAY, 4, _COUNTERS_BYTES, 2)
    if allowed is not None:
        yield kernel.MapSpec("tlds", kernel.MAP_TYPE_HASH, width, 8, max(1, len(allowed)))
    if settings.exact_edns:
        elements, size = _EDNS_SIZES
        yield kernel.MapSpec("edns_sizes", kernel.MAP_TYPE_PERCPU_ARRAY, 4, size, elements)
    if settings.timing:
        yield kernel.MapSpec("pending", kernel.MAP_TYPE_ARRAY, 4, 16, SLOTS // 2, mmapable=True)
        yield kernel.MapSpec("timing", kernel.MAP_TYPE_PERCPU_ARRAY, 4, TIMING_BYTES, 1)
    if settings.tcp:
        segments = 8 * (len(vocab.tcp_segments()) + 2)
        yield kernel.MapSpec("tcp", kernel.MAP_TYPE_PERCPU_ARRAY, 4, segments, 1)
        yield kernel.MapSpec("walk", kernel.MAP_TYPE_PERCPU_ARRAY, 4, _TCP_WALK, 1)
        yield kernel.MapSpec("flows", kernel.MAP_TYPE_ARRAY, 4, *_TCP_FLOWS)
    if settings.tcp or settings.hands_over or settings.hook == "tc":
        yield kernel.MapSpec("tails", kernel.MAP_TYPE_PROG_ARRAY, 4, 4, 3)


def map_bytes(spec: kernel.MapSpec, cpus: int) -> int:
    """Kernel memory of a map with all its elements allocated, on `cpus` possible CPUs."""
    value = _round_up(spec.value_size)
    if spec.kind == kernel.MAP_TYPE_PERCPU_ARRAY:
        return _ARRAY + spec.max_entries * (_POINTER + value * cpus)
    if spec.mmapable:
        return _PAGE + _round_up(spec.max_entries * value, _PAGE)
    if spec.kind in (kernel.MAP_TYPE_ARRAY, kernel.MAP_TYPE_PROG_ARRAY):
        return _ARRAY + spec.max_entries * value
    buckets = 1 << (spec.max_entries - 1).bit_length()
    fixed = _HTAB + _BUCKET * buckets
    element = _ELEMENT + _round_up(spec.key_size)
    if spec.per_cpu:
        return fixed + spec.max_entries * (element + _POINTER + value * cpus)
    # a plain hash has a spare element and a pointer to it for each CPU
    return fixed + (spec.max_entries + cpus) * (element + value) + _POINTER * cpus


def _round_up(size: int, unit: int = 8) -> int:
    return (size + unit - 1) // unit * unit


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
    if label == "af":
        return tuple(vocab.AF_NAMES.values())
    if label == "proto":
        return tuple(vocab.PROTO_NAMES.values())
    if label == "edns":
        return vocab.edns_buckets(settings.edns_edges)
    if label == "qtype":
        numbers: Iterable[int] = range(1 << 16)
        if settings.qtypes == "all":
            return [vocab.qtype_text(number) for number in numbers]
        return [*map(vocab.qtype_text, vocab.registered_qtypes()), vocab.OTHER]
    if label == "tld":
        allowed = settings.allowed_tlds
        return None if allowed is None else [*map(vocab.tld_text, sorted(allowed)), vocab.OTHER]
    return ("0", "1")


def _reachable(dimensions: Sequence[Dimension]) -> int | None:
    total = dimensions[-1].product
    edns = next((one.values for one in dimensions if one.label == "edns"), None)
    if total is None or edns is None or all(one.label != "do" for one in dimensions):
        return total
    return total // (2 * edns) * (2 * edns - len((vocab.NO_EDNS, vocab.EDNS_UNSEEN)))


def _row_bytes(dimensions: Sequence[Dimension]) -> float:
    """The mean length of a row's line; the interface and the direction come first."""
    fixed = len(catalogue.QUERIES.name) + len('{interface="eth0",direction="ingress"} \n') + _DIGITS
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
