"""What the truth tests share: the captures' files, tshark's dissections made ahead, the report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.truth.tshark import MISSING, Dissection, dissect


class Report:
    """Lines that are printed under the test results, and sums over the captures."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.sums: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()

    def capture(self, name: str, rules: Counter[str], **numbers: int) -> None:
        """A line about one capture: numbers, and the rules that explain what was different."""
        self.sums.update(numbers, captures=1)
        self.rules.update(rules)
        self.lines.append(f"{name}: {_text(numbers)}{_because(rules)}")


def _text(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in numbers.items())


def _because(rules: Mapping[str, int]) -> str:
    named = ", ".join(f"{rule} {n}" for rule, n in sorted(rules.items()))
    return f" (explained: {named})" if named else ""


REPORT = pytest.StashKey[Report]()


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
def dissections(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[list[Dissection]]]]:
    """Tshark's view of each capture by file name, two processes at a time, ahead of the tests.

    Only of the captures of the tests that were selected, in the tests' order.
    """
    if MISSING:
        pytest.skip("tshark is missing")
    calls = (item.callspec for item in request.session.items if hasattr(item, "callspec"))
    paths = [call.params["path"] for call in calls if "path" in call.params]
    wanted = [path for path in paths if path in set(capture_files())]
    with ThreadPoolExecutor(2) as pool:
        yield {path.name: pool.submit(dissect, path) for path in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """What is printed under the test results."""
    return request.config.stash.setdefault(REPORT, Report())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the lines that tests left, and the sums."""
    report = config.stash.get(REPORT, None)
    if report is not None:
        terminalreporter.section("independent decoders")
        for line in report.lines:
            terminalreporter.write_line(line)
        if report.sums:
            terminalreporter.write_line(f"total: {_text(report.sums)}{_because(report.rules)}")
