from __future__ import annotations

from array import array

import pytest

from xdpdns.snapshot import Rows

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
