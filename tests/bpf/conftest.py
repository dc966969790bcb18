"""Programs for the tests: compiled once, loaded with fresh maps for each module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.truth.loading import DEFAULT, EXACT, loaded
from tests.truth.runner import Runner


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
