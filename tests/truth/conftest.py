"""What the truth tests share: the captures' files, tshark's dissections made ahead, the report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.truth.tshark import Dissection, dissect

LINES = pytest.StashKey[list[str]]()


def capture_files() -> list[Path]:
    """Every shared capture, or none if there is no such folder."""
    default = Path(__file__).parents[3] / "shared" / "captures"
    folder = Path(os.environ.get("XDPDNS_CAPTURES", default))
    index = folder / "INDEX.tsv"
    if not index.exists():
        return []
    names = (line.split("\t")[0] for line in index.read_text().splitlines()[1:])
    return [folder / name for name in names]


@pytest.fixture(scope="session")
def dissections() -> Iterator[dict[str, Future[list[Dissection]]]]:
    """Tshark's view of each capture by file name, two processes at a time, ahead of the tests."""
    with ThreadPoolExecutor(2) as pool:
        futures = {path.name: pool.submit(dissect, path) for path in capture_files()}
        yield futures
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are printed under the test results."""
    return request.config.stash.setdefault(LINES, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the lines that tests left."""
    lines = config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("independent decoders")
        for line in lines:
            terminalreporter.write_line(line)
