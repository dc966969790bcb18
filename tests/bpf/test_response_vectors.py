"""Each response vector, whole, folded, at TC and cut anywhere; and every choice of dimensions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bpf.conftest import require_root
from tests.bpf.test_cut import cuts
from tests.bpf.vectors import VECTORS
from tests.bpf.vectors_framing import FRAMING
from tests.bpf.vectors_responses import RESPONSES, ResponseVector
from tests.truth.compare import differences
from tests.truth.loading import EXACT_RESPONSES, load, settings
from tests.truth.reference import classify
from tests.truth.runner import Runner
from tests.truth.table import tabulate
from xdpdns import vocab

ALL = pytest.mark.parametrize("vector", RESPONSES, ids=lambda vector: vector.description)
FRAMES = [vector.frame for vector in RESPONSES]
QUERIES = [vector.frame for vector in VECTORS + FRAMING]
DIMENSIONS = vocab.RESPONSE_DIMENSIONS


@ALL
def test_reference(vector: ResponseVector) -> None:
    """The reference decides it as it was written down by hand."""
    verdict = classify(vector.frame, EXACT_RESPONSES)
    assert (verdict.outcome, verdict.row) == (vector.outcome, vector.row)


@ALL
def test_exact(vector: ResponseVector, exact_responses: Runner) -> None:
    counted = exact_responses.run([vector.frame])
    assert {name: n for name, n in counted.outcomes.items() if n} == {vector.outcome: 1}
    assert counted.queries == ({tuple(vector.row): 1} if vector.row else {})
    assert differences(tabulate([vector.frame], EXACT_RESPONSES), counted) == []


@ALL
def test_bounded_and_at_tc(
    vector: ResponseVector, default_responses: Runner, responses_at_tc: Runner
) -> None:
    assert default_responses.check([vector.frame]) == []
    assert responses_at_tc.check([vector.frame]) == []


@ALL
def test_cut(vector: ResponseVector, exact_responses: Runner) -> None:
    """Every part of it has one outcome, and is in a row when the reference says so."""
    parts = cuts(vector.frame)
    assert exact_responses.check(parts) == [], [
        exact_responses.describe(part) for part in exact_responses.culprits(parts)
    ]


def test_queries_and_odd_framings_are_no_responses(exact_responses: Runner) -> None:
    assert exact_responses.check(QUERIES) == []


def test_every_outcome_is_met() -> None:
    met = {classify(frame, EXACT_RESPONSES).outcome for frame in FRAMES + QUERIES}
    assert {*met, "eth_truncated", "vlan_too_deep"} == set(
        vocab.outcomes_of("responses", vocab.ENCRYPTED)
    )


SUBSETS = [
    *((dimension,) for dimension in DIMENSIONS),
    *(tuple(one for one in DIMENSIONS if one != off) for off in DIMENSIONS),
    ("af", "proto", "rcode", "tc", "aa", "do", "qtype"),
]


@pytest.mark.parametrize("labels", SUBSETS, ids=",".join)
def test_rows_have_only_these(labels: tuple[str, ...]) -> None:
    require_root()
    with load(replace(settings(EXACT_RESPONSES), labels=labels)) as program:
        runner = Runner(program, EXACT_RESPONSES)
        assert program.snapshot().dimensions == labels
        assert runner.check(FRAMES) == []


@pytest.mark.parametrize(
    "config",
    [
        replace(EXACT_RESPONSES, ports=frozenset({5353})),
        replace(EXACT_RESPONSES, ports=frozenset({1, 52, 53, 54, 853, 5353, 5355, 65535})),
        replace(EXACT_RESPONSES, edges=(512, 1231, 1232, 1233, 4096)),
    ],
    ids=str,
)
def test_ports_and_edges(config: object) -> None:
    require_root()
    assert isinstance(config, type(EXACT_RESPONSES))
    with load(settings(config)) as program:
        assert Runner(program, config).check(FRAMES + QUERIES) == []
