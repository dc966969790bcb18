"""What every tier shares: CI turns a skip into a failure, and where the captures are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

CI = os.environ.get("CI") == "true"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Under CI=true a skip is a failure: nothing may go untested in silence."""
    outcome = yield
    report = outcome.get_result()
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true: {report.longrepr}"


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of captures that others made (INDEX.tsv says what each is)."""
    folder = Path(
        os.environ.get("XDPDNS_CAPTURES", Path(__file__).parents[2] / "shared" / "captures")
    )
    if not (folder / "INDEX.tsv").exists():
        pytest.skip(f"no captures at {folder}; set XDPDNS_CAPTURES")
    return folder
