"""Snapshots to metric families, as plain values.

The names are :mod:`xdpdns.catalogue`'s; nothing here knows a text format, for
:mod:`xdpdns.exposition` writes what :func:`families` returns.
"""

from __future__ import annotations

import platform
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from xdpdns import __version__, catalogue, vocab
from xdpdns.catalogue import CATALOGUE, Metric
from xdpdns.snapshot import EdnsSizes, Histogram, Snapshot, Tcp

Number = int | float
Counts = Histogram | Number | Mapping[str, int] | Mapping[tuple[str, ...], Number]
OnError = Callable[[str, Exception], None]
"""Takes the name of the collector that failed, and why."""


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """One interface at one moment, with what one of its programs counted.

    An interface with several programs, one for what arrives and one for what leaves, has as many
    states.

    Attributes:
        interface: its name, as the `interface` label shows it.
        up: whether its packets are being counted now.
        reason: why not, as one word from a small fixed set (`absent`, `replaced`, ...); a label.
        detail: the same as a sentence for people; never a label.
        direction: that of the packets that the program counts: `ingress` or `egress`.
        side: what it counts of them: `queries` or `responses`.
        mode: the hook: `native`, `generic`, `tcx` ...; empty while nothing is attached.
        program_id: the kernel's id of the attached program; 0 while nothing is attached.
        snapshot: its counters; None if they can't be read, or were not asked for.
        runs: how often the kernel ran the program; None unless kernel.bpf_stats_enabled is 1.
        run_seconds: the time that the kernel spent in it; None likewise.
        error: why reading it failed; counted as `interface/NAME` in collector errors.

    """

    interface: str
    up: bool
    reason: str = ""
    detail: str = ""
    mode: str = ""
    program_id: int = 0
    snapshot: Snapshot | None = None
    runs: int | None = None
    run_seconds: float | None = None
    error: Exception | None = None
    direction: str = "ingress"
    side: str = "queries"


@dataclass(frozen=True, slots=True)
class AgentState:
    """What the agent says about itself: the last scrape's duration, failures by collector."""

    scrape_seconds: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Block:
    """Samples of one metric that share their label names and the first label values.

    `rows` maps the values of the remaining labels (unescaped) to the sample's value, so that a
    snapshot's queries pass through as they are, however many. `suffix` is a histogram's
    `_bucket`, `_sum` or `_count`.
    """

    labels: tuple[str, ...]
    fixed: tuple[str, ...]
    rows: Mapping[tuple[str, ...], Number]
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with its samples."""

    metric: Metric
    blocks: list[Block]


def fold(histogram: Histogram, edges: Iterable[int]) -> dict[tuple[str, ...], Number]:
    """Sum up into cumulative buckets at about the given edges: `le` -> count.

    An edge that isn't one of the histogram's own bounds moves down to the next bound, since only
    there the count is exact; two edges that meet become one.
    """
    below = list(accumulate(histogram.counts))
    at = sorted({bisect_right(histogram.bounds, edge) - 1 for edge in edges} - {-1})
    # canonical floats, as OpenMetrics wants them: one series whatever format a scrape negotiates
    rows: dict[tuple[str, ...], Number] = {(f"{histogram.bounds[i]}.0",): below[i] for i in at}
    return rows | {("+Inf",): below[-1]}


def in_seconds(histogram: Histogram) -> dict[tuple[str, ...], Number]:
    """The cumulative buckets of a histogram of nanoseconds: `le` in seconds -> count."""
    below = list(accumulate(histogram.counts))
    edges = [*(repr(bound / 1e9) for bound in histogram.bounds), "+Inf"]
    return {(edge,): count for edge, count in zip(edges, below, strict=True)}


def _histogram(metric: Metric, fixed: tuple[str, ...], histogram: Histogram) -> Iterator[Block]:
    if metric == catalogue.DURATION:
        buckets, total = in_seconds(histogram), histogram.sum / 1e9
    else:
        buckets, total = fold(histogram, catalogue.EDGES[metric]), histogram.sum
    yield Block((*metric.labels, "le"), fixed, buckets, "_bucket")
    yield Block(metric.labels, fixed, {(): total}, "_sum")
    yield Block(metric.labels, fixed, {(): histogram.count}, "_count")


def exact_sizes(counted: EdnsSizes) -> dict[tuple[str, ...], Number]:
    """Exact EDNS sizes as (`size`, `do`) -> count: always the same series, also those at 0."""
    named = [*map(str, vocab.EDNS_SIZES), vocab.OTHER]
    rows: dict[tuple[str, ...], Number] = {(size, do): 0 for size in named for do in "01"}
    for (size, do), count in counted.sizes.items():
        row = (str(size) if size in vocab.EDNS_SIZES else vocab.OTHER, str(int(do)))
        rows[row] += count
    rows[vocab.NO_EDNS, "0"] = counted.no_edns
    rows[vocab.EDNS_UNSEEN, "0"] = counted.unseen
    return rows


def _counters(state: InterfaceState, snapshot: Snapshot) -> Iterator[tuple[Metric, Block]]:
    program = state.interface, state.direction
    sided = *program, state.side
    responses = state.side == "responses"
    rows = catalogue.RESPONSES if responses else catalogue.QUERIES
    labels = (*rows.labels[: len(program)], *snapshot.dimensions)
    yield rows, Block(labels, program, snapshot.queries)
    side = _of_responses(snapshot) if responses else _of_queries(snapshot)
    counted: tuple[tuple[Metric, Counts], ...] = (
        (catalogue.PACKETS, snapshot.outcomes),
        (catalogue.OVERFLOW, snapshot.overflow),
        (catalogue.MAP_ENTRIES, snapshot.map_entries),
        (catalogue.MAP_MAX_ENTRIES, snapshot.map_max_entries),
        (catalogue.FOLDED, snapshot.folded),
        *side,
    )
    for metric, counts in counted:
        if isinstance(counts, Histogram):
            for block in _histogram(metric, program, counts):
                yield metric, block
        else:
            fixed = sided if "side" in metric.labels else program
            yield metric, Block(metric.labels, fixed, _samples(counts))
    if snapshot.tcp is not None:
        segments, messages = _samples(snapshot.tcp.segments), _in_messages(snapshot.tcp)
        yield catalogue.TCP_SEGMENTS, Block(catalogue.TCP_SEGMENTS.labels, sided, segments)
        yield catalogue.TCP_MESSAGES, Block(catalogue.TCP_MESSAGES.labels, sided, messages)
    if snapshot.timing is not None:
        for (af, proto), durations in snapshot.timing.durations.items():
            for block in _histogram(catalogue.DURATION, (*program, af, proto), durations):
                yield catalogue.DURATION, block


def _in_messages(tcp: Tcp) -> dict[tuple[str, ...], Number]:
    """Messages by outcome; what can only be of packets is left out."""
    seen = {name: n for name, n in tcp.messages.items() if name in vocab.message_outcomes()}
    return _samples({**seen, "split": tcp.split, "unread": tcp.unread})


def _samples(
    counts: Number | Mapping[str, int] | Mapping[tuple[str, ...], Number],
) -> dict[tuple[str, ...], Number]:
    """One number, or several by the value of a label or the values of a few."""
    if not isinstance(counts, Mapping):
        return {(): counts}
    return {key if isinstance(key, tuple) else (key,): n for key, n in counts.items()}


def _of_queries(snapshot: Snapshot) -> Iterator[tuple[Metric, Counts]]:
    marginals = snapshot.marginals
    yield catalogue.OPCODES, marginals.opcodes
    yield catalogue.CLASSES, marginals.classes
    yield catalogue.FLAGS, marginals.flags
    yield catalogue.EDNS_VERSIONS, marginals.edns_versions
    yield catalogue.SIZE, marginals.size
    yield catalogue.NAME_LENGTH, marginals.name_length
    yield catalogue.NAME_LABELS, marginals.name_labels
    if snapshot.edns_sizes is not None:
        yield catalogue.EDNS_EXACT, exact_sizes(snapshot.edns_sizes)


def _of_responses(snapshot: Snapshot) -> Iterator[tuple[Metric, Counts]]:
    yield catalogue.RESPONSE_SIZE, snapshot.marginals.size
    timing = snapshot.timing
    if timing is None:
        return
    results = ("matched", "expired", "displaced", "duplicate", "orphan")
    yield catalogue.PAIRING, {result: int(getattr(timing, result)) for result in results}
    yield catalogue.WAITING, timing.waiting
    yield catalogue.SAMPLE, 1 / timing.sample


def _interface(state: InterfaceState) -> Iterator[tuple[Metric, Block]]:
    name = (state.interface,)
    yield catalogue.UP, Block(catalogue.UP.labels, name, {(): int(state.up)})
    if not state.up:
        yield catalogue.DOWN, Block(catalogue.DOWN.labels, name, {(state.reason or "unknown",): 1})


def _program(state: InterfaceState) -> Iterator[tuple[Metric, Block]]:
    program = (state.interface, state.direction)
    if state.program_id:
        attached: Mapping[tuple[str, ...], Number] = {(state.mode, str(state.program_id)): 1}
        yield catalogue.INTERFACE, Block(catalogue.INTERFACE.labels, program, attached)
    if state.runs is not None:
        yield catalogue.RUNS, Block(catalogue.RUNS.labels, program, {(): state.runs})
    if state.run_seconds is not None:
        seconds: Mapping[tuple[str, ...], Number] = {(): state.run_seconds}
        yield catalogue.RUN_SECONDS, Block(catalogue.RUN_SECONDS.labels, program, seconds)


def families(states: Iterable[InterfaceState], on_error: OnError) -> list[Family]:
    """Make the families of the interfaces, in the catalogue's order; only those with samples.

    A snapshot that can't be used goes to `on_error` as `interface/NAME`, and its counters are left
    out; so is a second state of one program, for which Prometheus would refuse the whole scrape: of
    two interfaces that had the name one after the other, the one that is up is kept.
    """
    blocks: dict[str, list[Block]] = {metric.name: [] for metric in CATALOGUE}
    seen: set[tuple[str, ...]] = set()
    for state in _unique(states, on_error):
        collector = f"interface/{state.interface}"
        if state.error is not None:
            on_error(collector, state.error)
        made: list[tuple[Metric, Block]] = []
        if (state.interface,) not in seen:
            made += _interface(state)
        if (state.interface, state.direction) not in seen:
            made += _program(state)  # what hands over to the second runs for both
        seen |= {(state.interface,), (state.interface, state.direction)}
        if state.snapshot is not None:
            try:
                made += list(_counters(state, state.snapshot))
            except Exception as error:  # whatever it is, the others must be served
                on_error(collector, error)
        for metric, block in made:
            blocks[metric.name].append(block)
    return [Family(metric, blocks[metric.name]) for metric in CATALOGUE if blocks[metric.name]]


def _unique(states: Iterable[InterfaceState], on_error: OnError) -> Iterable[InterfaceState]:
    chosen: dict[tuple[str, str, str], InterfaceState] = {}
    for state in states:
        key = state.interface, state.direction, state.side
        if key in chosen:
            error = ValueError(f"two states of the interface {state.interface}")
            on_error(f"interface/{state.interface}", error)
            if chosen[key].up or not state.up:
                continue
        chosen[key] = state
    return chosen.values()


def agent_families(agent: AgentState) -> list[Family]:
    """Make the families about the agent itself."""
    build: Mapping[tuple[str, ...], Number] = {(__version__, platform.python_version()): 1}
    errors: Mapping[tuple[str, ...], Number] = {(name,): n for name, n in agent.errors.items()}
    return [
        Family(catalogue.BUILD, [Block(catalogue.BUILD.labels, (), build)]),
        Family(catalogue.SCRAPE_SECONDS, [Block((), (), {(): agent.scrape_seconds})]),
        Family(catalogue.ERRORS, [Block(catalogue.ERRORS.labels, (), errors)]),
    ]
