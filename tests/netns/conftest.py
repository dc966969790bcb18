"""The lab as a fixture: one for each test, so that every count begins at nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.netns.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two namespaces and a cable (see lab.py); skips without root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    with Lab() as made:
        yield made
