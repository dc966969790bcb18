"""The truth harness itself: the generator, the minimiser, and the comparison of tables."""

from __future__ import annotations

from itertools import islice

from tests.bpf.vectors import VECTORS, Vector
from tests.truth.generator import MAX_FRAME, MIN_FRAME, frames
from tests.truth.reference import Row, classify
from tests.truth.shrink import as_vector, shrink
from tests.truth.table import tabulate

OUTCOMES = 22


def test_same_seed_same_frames() -> None:
    corpus = [vector.frame for vector in VECTORS]
    assert list(frames(7, 500, corpus)) == list(frames(7, 500, corpus))
    assert list(frames(7, 500)) != list(frames(8, 500))


def test_frames_are_of_a_size_that_the_kernel_runs() -> None:
    sizes = [len(frame) for frame in frames(1, 2000)]
    assert min(sizes) >= MIN_FRAME
    assert max(sizes) <= MAX_FRAME


def test_frames_reach_every_outcome_and_every_bucket() -> None:
    table = tabulate(frames(1, 10_000))
    assert len(table.outcomes) == OUTCOMES
    assert table.outcomes["query"] > 3000
    buckets = {"no_edns", "unseen", "leq1231", "1232", "leq1399", "1400", "leq1499", "1500"}
    assert {row.edns for row in table.rows} == buckets | {"gt1500"}


def test_mutants_stay_close_to_the_corpus() -> None:
    frame = VECTORS[0].frame
    mutants = [one for one in islice(frames(3, 4000, [frame]), 4000) if one[:12] == frame[:12]]
    assert sum(classify(one).outcome == "query" for one in mutants) > 100


def test_shrink_keeps_only_what_fails() -> None:
    frame = bytes(range(1, 200))
    small = shrink(frame, lambda one: b"\x55\x56" in one)
    assert len(small) == MIN_FRAME
    assert sorted(small) == [0] * (MIN_FRAME - 2) + [0x55, 0x56]


def test_a_vector_s_text_gives_the_vector_again() -> None:
    vector = VECTORS[0]
    text = as_vector(vector.frame, classify(vector.frame))
    made = eval(text, {"Vector": Vector, "Row": Row})
    assert (made.frame, made.outcome, made.row) == (vector.frame, vector.outcome, vector.row)
