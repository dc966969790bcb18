from __future__ import annotations

from array import array
from collections.abc import Mapping

import pytest

from xdpdns.snapshot import Labels, Rows, growth

A, B, C = ("a", "0"), ("b", "0"), ("c", "1")


def test_rows_are_a_mapping_in_the_order_of_their_chunks() -> None:
    rows = Rows([([A, B], array("Q", [1, 2])), ([C], array("Q", [2**64 - 1]))])
    assert len(rows) == 3
    assert list(rows.items()) == [(A, 1), (B, 2), (C, 2**64 - 1)]
    assert rows == {A: 1, B: 2, C: 2**64 - 1}
    assert rows[C] == 2**64 - 1
    assert ("d", "0") not in rows
    with pytest.raises(KeyError):
        rows["a", "1"]


def test_no_rows() -> None:
    assert not Rows()
    assert dict(Rows()) == {}


def keys(first: int, last: int) -> list[Labels]:
    return [(str(n),) for n in range(first, last)]


def numbered(*chunks: tuple[int, int, int]) -> Rows:
    """Chunks of rows: the first and last number, and how much each has counted."""
    return Rows(
        [
            (tuple((str(n),) for n in range(first, last)), array("Q", [count] * (last - first)))
            for first, last, count in chunks
        ]
    )


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (numbered((0, 3, 1)), Rows(), {("0",): 1, ("1",): 1, ("2",): 1}),
        (numbered((0, 3, 1)), numbered((0, 3, 1)), {}),
        (numbered((0, 3, 5), (3, 6, 1)), numbered((0, 3, 5), (3, 6, 1)), {}),
        (numbered((0, 3, 5), (3, 5, 2)), numbered((0, 3, 5), (3, 4, 1)), {("3",): 1, ("4",): 2}),
        (numbered((0, 2, 5), (2, 3, 1)), numbered((0, 2, 3)), {("0",): 2, ("1",): 2, ("2",): 1}),
        # in another order, or not in chunks at all
        (numbered((3, 5, 1), (0, 3, 5)), numbered((0, 3, 4)), dict.fromkeys(keys(0, 5), 1)),
        (numbered((0, 2, 5)), {("1",): 4, ("0",): 5}, {("1",): 1}),
        ({("0",): 7, ("1",): 5}, numbered((0, 2, 5)), {("0",): 2}),
    ],
)
def test_growth(
    now: Mapping[Labels, int], before: Mapping[Labels, int], expected: dict[Labels, int]
) -> None:
    assert growth(now, before) == expected
