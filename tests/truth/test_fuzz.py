"""A short run of the differential fuzzer; `tests/truth/fuzz` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.truth.conftest import Report
from tests.truth.framing import Side
from tests.truth.fuzz import corpus, fuzz

COUNT = 20_000


@pytest.mark.timeout(300)
@pytest.mark.parametrize("side", ["queries", "responses"])
def test_program_and_reference_agree(side: Side, captures: Path, report: Report) -> None:
    result = fuzz(20_260_101, COUNT, corpus(captures), side)
    report.lines.append(f"fuzz: {result.packets} packets, {result.counted} {side}")
    assert not result.vectors, "\n".join(result.vectors)
    assert result.packets == COUNT
    assert result.counted > COUNT / 4
