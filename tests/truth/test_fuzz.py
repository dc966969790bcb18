"""A short run of the differential fuzzer; `tests/truth/fuzz` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.truth.conftest import Report
from tests.truth.fuzz import corpus, fuzz

COUNT = 20_000


@pytest.mark.timeout(300)
def test_program_and_reference_agree(captures: Path, report: Report) -> None:
    result = fuzz(20_260_101, COUNT, corpus(captures))
    report.lines.append(f"fuzz: {result.packets} packets, {result.queries} queries")
    assert not result.vectors, "\n".join(result.vectors)
    assert result.packets == COUNT
    assert result.queries > COUNT / 4
