"""Metrics as one sample after the other, for formats that have no blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdpdns.dump.reading import Reading, metrics
from xdpdns.families import Number


@dataclass(frozen=True, slots=True)
class Sample:
    """A value with its name (with a histogram's suffix) and its labels, none of them empty."""

    name: str
    labels: dict[str, str]
    value: Number


def samples(reading: Reading) -> Iterator[Sample]:
    """All samples, in the catalogue's order."""
    for family in metrics(reading):
        for block in family.blocks:
            name = family.metric.name + block.suffix
            for row, value in block.rows.items():
                labels = zip(block.labels, (*block.fixed, *row), strict=True)
                yield Sample(name, {key: text for key, text in labels if text}, value)
