"""A short run of each fuzzer; `tests/native/fuzz --seconds N` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.native.build import Kind
from tests.native.fuzz import EXACT, SIDES, libfuzzer, libfuzzer_works, mutate
from xdpdns import vocab
from xdpdns.settings import ProgramSettings

SECONDS = 10
MUTANTS = 200_000


@pytest.mark.parametrize("side", SIDES)
def test_libfuzzer(side: str, tmp_path: Path) -> None:
    if not libfuzzer_works(tmp_path):
        pytest.skip("needs clang with its fuzzer (libclang-rt-14-dev)")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    result = libfuzzer(SECONDS, corpus, tmp_path, SIDES[side])
    assert not result.failed, result.report
    assert result.inputs > 10_000, result.report


@pytest.mark.parametrize(
    "settings",
    [EXACT, ProgramSettings(), *SIDES.values()],
    ids=["exact", "default", "timed", "responses"],
)
@pytest.mark.parametrize("kind", [Kind("cc"), Kind("clang")], ids=str)
def test_mutants(kind: Kind, settings: ProgramSettings, tmp_path: Path) -> None:
    if not kind.available:
        pytest.skip(f"{kind.compiler} is not installed")
    result = mutate(1, MUTANTS, kind, tmp_path, settings)
    assert not result.failed, result.report
    counts = dict(line.split() for line in result.report.splitlines())
    assert counts.keys() == vocab.outcomes().keys()
    seen = {name for name, count in counts.items() if int(count)}
    assert seen == native_outcomes(settings), counts
    assert sum(map(int, counts.values())) == MUTANTS


def native_outcomes(settings: ProgramSettings) -> set[str]:
    """Those of its side; the one that is counted has one number in both (OUTCOME_GO_ON)."""
    names = set(vocab.outcomes_of(settings.side, settings.encrypted))
    return names - {vocab.COUNTED[settings.side]} | {vocab.COUNTED["queries"]}


def test_mutants_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    runs = [mutate(seed, 10_000, Kind("cc"), tmp_path, EXACT).report for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
