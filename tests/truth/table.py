"""Many packets counted, as the reference decides each: what a program's counters must say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.truth.reference import DEFAULT, Config, ResponseRow, Row, Verdict, classify


@dataclass
class Table:
    """What many packets count as; each counter is keyed by the plain value."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rows: Counter[Row | ResponseRow] = field(default_factory=Counter)
    opcodes: Counter[int] = field(default_factory=Counter)
    flags: Counter[int] = field(default_factory=Counter)
    classes: Counter[int] = field(default_factory=Counter)
    edns_versions: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    name_lengths: Counter[int] = field(default_factory=Counter)
    name_labels: Counter[int] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one packet."""
        self.outcomes[verdict.outcome] += 1
        if verdict.message is not None:
            self.opcodes[verdict.message.opcode] += 1
            self.flags[verdict.message.flags] += 1
        if verdict.row is not None and verdict.query is not None:
            self.rows[verdict.row] += 1
            query = verdict.query
            self.classes[query.qclass] += 1
            self.edns_versions[query.edns_version] += 1
            self.sizes[query.size] += 1
            self.name_lengths[query.name_length] += 1
            self.name_labels[query.name_labels] += 1

    @property
    def packets(self) -> int:
        """How many packets were counted."""
        return self.outcomes.total()


def tabulate(frames: Iterable[bytes], config: Config = DEFAULT) -> Table:
    """The table of many frames."""
    table = Table()
    for frame in frames:
        table.add(classify(frame, config))
    return table
