"""The harness can fail: each kind of difference is seen, found in a batch, and shrunk."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from tests.bpf.vectors import VECTORS
from tests.truth.compare import FLAG_BITS, differences
from tests.truth.generator import frames
from tests.truth.loading import EXACT, load, settings
from tests.truth.reference import Config, classify
from tests.truth.runner import Runner
from tests.truth.shrink import shrink
from tests.truth.table import tabulate
from xdpdns.snapshot import Histogram, Marginals, Snapshot

FRAME = VECTORS[0].frame
ROW = VECTORS[0].row


def histogram(value: int) -> Histogram:
    """One observation of `value`, in buckets of single values up to 300."""
    counts = tuple(int(one == value) for one in range(301))
    return Histogram(tuple(range(300)), counts, value)


def right() -> Snapshot:
    """What a program must have counted of the first vector, a plain A query."""
    assert ROW is not None
    return Snapshot(
        dimensions=ROW._fields,
        queries={tuple(ROW): 1},
        outcomes={"query": 1, "tcp": 0},
        marginals=Marginals(
            opcodes={"QUERY": 1, "NOTIFY": 0},
            flags={flag: int(flag == "rd") for flag in FLAG_BITS},
            classes={"IN": 1, "CH": 0},
            edns_versions={"no_edns": 1, "0": 0},
            size=histogram(29),
            name_length=histogram(13),
            name_labels=histogram(2),
        ),
        overflow={"map_full": 0},
    )


def test_the_right_counters_have_no_difference() -> None:
    assert differences(tabulate([FRAME]), right()) == []


def test_each_wrong_counter_is_a_difference() -> None:
    snapshot = right()
    marginals = snapshot.marginals
    wrong = {
        "outcomes": replace(snapshot, outcomes={"query": 1, "tcp": 1}),
        "queries": replace(snapshot, queries={}),
        "overflow": replace(snapshot, overflow={"map_full": 1}),
    }
    values: dict[str, Any] = {
        "opcodes": {"QUERY": 0, "NOTIFY": 1},
        "flags": {**marginals.flags, "cd": 1},
        "classes": {"IN": 0, "CH": 1},
        "edns_versions": {"no_edns": 0, "0": 1},
        "size": histogram(30),
        "name_length": histogram(12),
        "name_labels": histogram(3),
    }
    for name, value in values.items():
        wrong[name] = replace(snapshot, marginals=replace(marginals, **{name: value}))
    table = tabulate([FRAME])
    assert [name for name, one in wrong.items() if not differences(table, one)] == []


def test_a_wrong_program_is_caught_and_the_frame_shrunk() -> None:
    """A program with an edge of 1501 in place of 1500, found among thousands of frames."""
    if os.geteuid():
        pytest.skip("loading BPF programs needs root")
    with load(settings(Config(tlds=None, registered_only=False, edges=(1232, 1400, 1501)))) as bad:
        runner = Runner(bad, EXACT)
        culprits = runner.culprits(list(frames(1, 3000)), limit=1)
        assert len(culprits) == 1
        small = shrink(culprits[0], runner.disagrees)
    row = classify(small, EXACT).row
    assert row is not None
    assert row.edns in ("1500", "gt1500", "leq1499")
    assert len(small) < len(culprits[0])
