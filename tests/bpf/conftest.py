"""Programs for the tests: compiled once, loaded with fresh maps for each module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.truth.loading import (
    DEFAULT,
    DEFAULT_RESPONSES,
    EXACT,
    EXACT_RESPONSES,
    load,
    loaded,
    settings,
)
from tests.truth.runner import Runner
from xdpdns.kernel import TCX_NEXT


def require_root() -> None:
    if os.geteuid():
        pytest.skip("loading BPF programs needs root")


@pytest.fixture(scope="module")
def exact() -> Iterator[Runner]:
    """A program with a row for every TLD and type."""
    require_root()
    with loaded(EXACT) as program:
        yield Runner(program, EXACT)


@pytest.fixture(scope="module")
def default() -> Iterator[Runner]:
    """A program with the default options."""
    require_root()
    with loaded(DEFAULT) as program:
        yield Runner(program, DEFAULT)


@pytest.fixture(scope="module")
def at_tc() -> Iterator[Runner]:
    """The program for TC with a row for every TLD and type."""
    require_root()
    with load(replace(settings(EXACT), hook="tc")) as program:
        yield Runner(program, EXACT, TCX_NEXT)


@pytest.fixture(scope="module")
def exact_responses() -> Iterator[Runner]:
    """The program that counts responses, with a row for every TLD and type."""
    require_root()
    with loaded(EXACT_RESPONSES) as program:
        yield Runner(program, EXACT_RESPONSES)


@pytest.fixture(scope="module")
def default_responses() -> Iterator[Runner]:
    """The same with the default list of TLDs."""
    require_root()
    with loaded(DEFAULT_RESPONSES) as program:
        yield Runner(program, DEFAULT_RESPONSES)


@pytest.fixture(scope="module")
def responses_at_tc() -> Iterator[Runner]:
    """The program for TC, where responses leave."""
    require_root()
    with load(replace(settings(EXACT_RESPONSES), hook="tc")) as program:
        yield Runner(program, EXACT_RESPONSES, TCX_NEXT)
