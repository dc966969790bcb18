"""What the counters of one interface say at one moment: plain values, no kernel, no text format.

Everything downstream (Prometheus, JSON, tables, reports) is made from a :class:`Snapshot`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


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


@dataclass(frozen=True, slots=True)
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
    header2: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EdnsSizes:
    """Queries with QR and TC clear, in a row or in the overflow, by their exact EDNS size.

    `sizes` maps (bytes, whether DO is set) to a count above 0. `no_edns` queries have no OPT
    record; of `unseen` ones it is not known (see bpf/parse_edns.h).
    """

    sizes: dict[tuple[int, bool], int]
    no_edns: int
    unseen: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of one program.

    `dimensions` names the labels of a row in order; `queries` maps a row's label values (unescaped
    text, in the order of `dimensions`) to its count. `packets == sum(outcomes.values())`, and
    `outcomes["query"] == sum(queries.values()) + sum(overflow.values())`.
    `folded` counts queries whose TLD became `~other` since the map was full (they are in a row).
    `edns_sizes` is None unless the program was compiled to count them (ProgramSettings.exact_edns).
    """

    dimensions: tuple[str, ...]
    queries: dict[tuple[str, ...], int]
    outcomes: dict[str, int]
    marginals: Marginals
    overflow: dict[str, int] = field(default_factory=dict)
    folded: int = 0
    map_entries: dict[str, int] = field(default_factory=dict)
    map_max_entries: dict[str, int] = field(default_factory=dict)
    edns_sizes: EdnsSizes | None = None

    @property
    def packets(self) -> int:
        """Every packet that the program saw."""
        return sum(self.outcomes.values())
