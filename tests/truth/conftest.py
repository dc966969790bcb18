"""What the truth tests share: the captures' files, tshark's dissections, the report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
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


@lru_cache(maxsize=1)
def dissection(path: Path) -> list[Dissection]:
    """Tshark's view of a shared capture: made once for all tests of that, which follow each other.

    It takes a quarter of a second of CPU time to start, and there are hundreds of captures.
    """
    if MISSING:
        pytest.skip("tshark is missing")
    return dissect(path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a capture beside each other."""
    order = {path: number for number, path in enumerate(capture_files())}

    def capture(item: pytest.Item) -> int | None:
        callspec = getattr(item, "callspec", None)
        return order.get(callspec.params.get("path")) if callspec else None

    places = [place for place, item in enumerate(items) if capture(item) is not None]
    tests = sorted((items[place] for place in places), key=lambda item: capture(item) or 0)
    for place, item in zip(places, tests, strict=True):
        items[place] = item


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
