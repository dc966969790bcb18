"""What the counters of one interface say at one moment: plain values, no kernel, no text format.

Everything downstream (Prometheus, JSON, tables, reports) is made from a :class:`Snapshot`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, repeat, zip_longest


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of an integer quantity in ascending buckets.

    `bounds` are the inclusive upper edges; `counts` (not cumulative) has one entry more, for what
    lies above the last edge; `sum` is the exact sum of the observed values.
    """

    bounds: tuple[int, ...]
    counts: tuple[int, ...]
    sum: int

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self.counts)


@dataclass(frozen=True)
class Marginals:
    """Features that are counted on their own, not in the cross product of the rows.

    `opcodes` and `flags` count every DNS message with a whole 12-byte header, and so does
    `header2`, by the value of the header's third byte (QR, four bits of opcode, AA, TC, RD), 256
    counts. All others count the queries that are in `Snapshot.queries` (or in its overflow).
    """

    opcodes: dict[str, int]
    flags: dict[str, int]
    classes: dict[str, int]
    edns_versions: dict[str, int]
    size: Histogram
    name_length: Histogram
    name_labels: Histogram
    header2: tuple[int, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class EdnsSizes:
    """Queries with QR and TC clear, in a row or in the overflow, by their exact EDNS size.

    `sizes` maps (bytes, whether DO is set) to a count above 0. `no_edns` queries have no OPT
    record; of `unseen` ones it is not known (see bpf/parse_edns.h).
    """

    sizes: dict[tuple[int, bool], int]
    no_edns: int
    unseen: int


Labels = tuple[str, ...]


class Rows(Mapping[Labels, int]):
    """Label values to counts, in `chunks` as they were read: lists of the same length.

    From one scrape to the next the lists of labels are the same objects while no row is added, so
    that nobody has to look at a row to know it again; those that come are at a list's end. A dict
    is made when the first row is looked up.
    """

    def __init__(self, chunks: Sequence[tuple[Sequence[Labels], Sequence[int]]] = ()) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[Labels]:
        return chain.from_iterable(labels for labels, _ in self.chunks)

    def __len__(self) -> int:
        return sum(len(labels) for labels, _ in self.chunks)

    def __getitem__(self, labels: Labels) -> int:
        return self._by_labels[labels]

    @cached_property
    def _by_labels(self) -> dict[Labels, int]:
        return {k: n for labels, counts in self.chunks for k, n in zip(labels, counts, strict=True)}


def growth(now: Mapping[Labels, int], before: Mapping[Labels, int]) -> dict[Labels, int]:
    """By how much the rows have grown, those that have; `before` was read earlier.

    Of Rows, a chunk in which nothing was counted is known by one look at it.
    """
    grown: dict[Labels, int] = {}
    for (rows, counts), (old_rows, old_counts) in zip_longest(
        _chunks(now), _chunks(before), fillvalue=((), ())
    ):
        if rows[: len(old_rows)] != old_rows:  # in another order
            return {row: n for row, count in now.items() if (n := count - before.get(row, 0))}
        if len(rows) == len(old_rows) and counts == old_counts:
            continue
        earlier = chain(old_counts, repeat(0))
        grown.update(
            (row, count - old)
            for row, count, old in zip(rows, counts, earlier, strict=False)
            if count != old
        )
    return grown


def _chunks(rows: Mapping[Labels, int]) -> Sequence[tuple[Sequence[Labels], Sequence[int]]]:
    return rows.chunks if isinstance(rows, Rows) else [(tuple(rows), tuple(rows.values()))]


@dataclass(frozen=True, slots=True)
class Timing:
    """How soon queries were answered; one in `sample` of them, chosen by address, port and ID.

    `tracked` queries waited; of these are matched (the counts of `durations`), expired (no response
    within the longest time of the histograms), displaced (another query took the place before) and
    still `waiting`: `tracked == matched + expired + displaced + waiting`. `duplicate` queries came
    again while the first waited; `orphan` responses had no query that waited for them.
    `durations` are in nanoseconds by (af, proto), as the labels have them.
    """

    sample: int
    tracked: int
    expired: int
    displaced: int
    waiting: int
    duplicate: int
    orphan: int
    durations: dict[tuple[str, str], Histogram]

    @property
    def matched(self) -> int:
        """Queries whose response was seen."""
        return sum(histogram.count for histogram in self.durations.values())


@dataclass(frozen=True, slots=True)
class Tcp:
    """What came in TCP segments to (of responses: from) a watched port.

    `segments` has every one of them by what it is (bpf/tcp.h); their sum is `outcomes["tcp"]`.
    `messages` are the messages in them by outcome, as `Snapshot.outcomes` has packets; those that
    parsed whole are in the rows, and `sizes` has their bytes, without the two that tell the length
    (None if there are none); `Snapshot.marginals.size` has them and those in UDP. `split` messages
    no segment held whole, `unread` ones came behind the 30 of a segment that are looked at.
    """

    segments: dict[str, int]
    messages: dict[str, int]
    split: int
    unread: int
    sizes: Histogram | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of one program, which counts queries or responses.

    `dimensions` names the labels of a row in order; `queries` maps a row's label values (unescaped
    text, in the order of `dimensions`) to its count. `packets == sum(outcomes.values())`, and
    `outcomes["query"] == sum(queries.values()) + sum(overflow.values())`. Of a program that counts
    responses, `queries` has the rows of these, and `outcomes["response"]` is their sum.
    `tcp` is None unless the messages in TCP segments are counted (ProgramSettings.tcp); then
    `queries` and `overflow` have `tcp.messages["query"]` more.
    `folded` counts queries whose TLD became `~other` since the map was full (they are in a row).
    `edns_sizes` is None unless the program was compiled to count them (ProgramSettings.exact_edns);
    `timing` is None unless it times responses (ProgramSettings.timing) and counts them.
    """

    dimensions: tuple[str, ...]
    queries: Mapping[Labels, int]
    outcomes: dict[str, int]
    marginals: Marginals
    overflow: dict[str, int] = field(default_factory=dict)
    folded: int = 0
    map_entries: dict[str, int] = field(default_factory=dict)
    map_max_entries: dict[str, int] = field(default_factory=dict)
    edns_sizes: EdnsSizes | None = None
    timing: Timing | None = None
    tcp: Tcp | None = None

    @property
    def packets(self) -> int:
        """Every packet that the program saw."""
        return sum(self.outcomes.values())
