"""The reference decides every vector as it was written down by hand."""

from __future__ import annotations

import pytest

from tests.bpf.vectors import VECTORS, Vector
from tests.bpf.vectors_framing import FRAMING
from tests.truth.reference import Config, classify

EXACT = Config(tlds=None, registered_only=False)


@pytest.mark.parametrize("vector", VECTORS + FRAMING, ids=lambda vector: vector.description)
def test_vector(vector: Vector) -> None:
    verdict = classify(vector.frame, EXACT)
    assert (verdict.outcome, verdict.row) == (vector.outcome, vector.row)
