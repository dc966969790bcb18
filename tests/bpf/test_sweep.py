"""The verifier follows a sample of the programs' configurations; tests/bpf/sweep tries more."""

from __future__ import annotations

import pytest

from tests.bpf import sweep
from tests.bpf.conftest import require_root
from xdpdns.settings import ProgramSettings


@pytest.mark.parametrize("settings", sweep.sample(8, seed=352), ids=sweep.describe)
def test_verified(settings: ProgramSettings) -> None:
    require_root()
    verified = sweep.verify(settings)
    assert 0 < verified.message < sweep.LIMIT
    assert 0 < verified.tcp < sweep.LIMIT or not settings.tcp


def test_sample_has_both_sides_and_is_the_same_again() -> None:
    chosen = sweep.sample(20, seed=1)
    assert [one.side for one in chosen].count("queries") == 10
    assert len(set(chosen)) == 20
    assert chosen == sweep.sample(20, seed=1) != sweep.sample(20, seed=2)
