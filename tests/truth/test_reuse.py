"""A program whose maps were emptied counts as one that was loaded just now."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.bpf.vectors import VECTORS
from tests.bpf.vectors_responses import RESPONSES
from tests.truth.loading import EXACT, EXACT_RESPONSES, settings
from tests.truth.reuse import Reused, reused_pair
from xdpdns.kernel import TestRun


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_cleared_it_counts_as_at_first() -> None:
    asked, answered = (
        replace(settings(config), timing=1, capture_clock=True, tcp=True, max_series=10_000)
        for config in (EXACT, EXACT_RESPONSES)
    )
    both = reused_pair(asked, answered)
    frames = [vector.frame for vector in VECTORS + RESPONSES if len(vector.frame) >= 14]

    def count(program: Reused) -> object:
        run = TestRun(program.fd).run
        for frame in frames:
            run(frame)
        return program.snapshot()

    nothing = [program.snapshot() for program in both]
    first = [count(program) for program in both]
    assert first != nothing
    for program in both:
        program.clear()
    assert [program.snapshot() for program in both] == nothing
    assert [count(program) for program in both] == first
