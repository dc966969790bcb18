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

    `opcodes` and `flags` count every DNS message with a whole 12-byte header; all others count
    the queries that are in `Snapshot.queries` (or in its overflow).
    """

    opcodes: dict[str, int]
    flags: dict[str, int]
    classes: dict[str, int]
    edns_versions: dict[str, int]
    size: Histogram
    name_length: Histogram
    name_labels: Histogram


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of one program.

    `dimensions` names the labels of a row in order; `queries` maps a row's label values (unescaped
    text, in the order of `dimensions`) to its count. `packets == sum(outcomes.values())`, and
    `outcomes["query"] == sum(queries.values()) + sum(overflow.values())`.
    `folded` counts queries whose TLD became `~other` since the map was full (they are in a row).
    """

    dimensions: tuple[str, ...]
    queries: dict[tuple[str, ...], int]
    outcomes: dict[str, int]
    marginals: Marginals
    overflow: dict[str, int] = field(default_factory=dict)
    folded: int = 0
    map_entries: dict[str, int] = field(default_factory=dict)
    map_max_entries: dict[str, int] = field(default_factory=dict)

    @property
    def packets(self) -> int:
        """Every packet that the program saw."""
        return sum(self.outcomes.values())
