"""Dimensions that are switched off leave the rows, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bpf.conftest import require_root
from tests.bpf.vectors import VECTORS
from tests.bpf.vectors_framing import FRAMING
from tests.truth.loading import EXACT, load
from tests.truth.loading import settings as settings_of
from tests.truth.reference import Config
from tests.truth.runner import Runner
from xdpdns.vocab import DIMENSIONS

FRAMES = [vector.frame for vector in VECTORS + FRAMING]

SUBSETS = [
    *((dimension,) for dimension in DIMENSIONS),
    *(tuple(one for one in DIMENSIONS if one != off) for off in DIMENSIONS),
    ("af", "qtype", "tld"),
    ("qr", "ad", "edns"),
]


@pytest.mark.parametrize("labels", SUBSETS, ids=",".join)
def test_rows_have_only_these(labels: tuple[str, ...]) -> None:
    require_root()
    with load(replace(settings_of(EXACT), labels=labels)) as program:
        runner = Runner(program, EXACT)
        assert program.snapshot().dimensions == labels
        assert runner.check(FRAMES) == []


CONFIGS = [
    Config(ports=frozenset({5353})),
    Config(ports=frozenset({1, 52, 53, 54, 853, 5353, 5355, 65535})),
    Config(edges=(1,)),
    Config(edges=(65534,)),
    Config(edges=(512, 1231, 1232, 1233, 4096)),
    Config(edges=tuple(range(1220, 1236))),
    Config(registered_only=False),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_ports_edges_and_types(config: Config) -> None:
    require_root()
    with load(settings_of(config)) as program:
        assert Runner(program, config).check(FRAMES) == []
