"""Every vector cut at every length: no part of a query counts as the whole, no part is lost.

The kernel does not run frames that are shorter than an Ethernet header, so those are not met.
"""

from __future__ import annotations

import errno

import pytest

from tests.bpf.vectors import VECTORS, Vector
from tests.bpf.vectors_framing import FRAMING
from tests.truth.compare import differences
from tests.truth.reference import classify
from tests.truth.runner import Runner
from tests.truth.table import tabulate
from xdpdns.errors import KernelError

SHORTEST = 14
ALL = VECTORS + FRAMING


def cuts(frame: bytes) -> list[bytes]:
    """The frame cut at every length that the kernel runs."""
    return [frame[:length] for length in range(SHORTEST, len(frame))]


@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector.description)
def test_cut(vector: Vector, exact: Runner) -> None:
    parts = cuts(vector.frame)
    counted = exact.run(parts)
    assert counted.packets == len(parts)
    found = differences(tabulate(parts, exact.config), counted)
    assert not found, [exact.describe(frame) for frame in exact.culprits(parts)]


WHOLE = [
    vector
    for vector in ALL
    if vector.row is not None and classify(vector.frame[:-1]).row != classify(vector.frame).row
]
"""Queries whose last byte matters: no padding, no trailing bytes, no data after OPT's header."""


@pytest.mark.parametrize("vector", WHOLE, ids=lambda vector: vector.description)
def test_no_part_counts_as_the_whole(vector: Vector, exact: Runner) -> None:
    assert vector.row is not None
    assert tuple(vector.row) not in exact.run(cuts(vector.frame)).queries


def test_most_vectors_are_whole() -> None:
    assert len(WHOLE) > 100


@pytest.mark.parametrize("length", [1, 13])
def test_the_kernel_runs_no_frame_below_an_ethernet_header(length: int, exact: Runner) -> None:
    with pytest.raises(KernelError) as caught:
        exact.run([bytes(length)])
    assert caught.value.errno == errno.EINVAL
