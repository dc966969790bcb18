"""What every tier shares: CI turns a skip into a failure, how workers share tests, the captures."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.quick import sitecustomize  # before xdpdns.program is imported

CI = os.environ.get("CI") == "true"

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Under CI=true a skip is a failure: nothing may go untested in silence."""
    outcome = yield
    report = outcome.get_result()
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true: {report.longrepr}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """See schedule.py; only the process that hands out tests to workers asks for it."""
    from tests.schedule import Scheduling

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort them for that."""
    if hasattr(config, "workerinput"):
        from tests.schedule import order

        items.sort(key=lambda item: order(item.nodeid))


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One folder for what this run compiles, here and in every process that it starts (quick/)."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "compiled"
    folder.mkdir(exist_ok=True)
    os.environ.setdefault(sitecustomize.FOLDER, str(folder))
    os.environ["PYTHONPATH"] = str(Path(sitecustomize.__file__).parent)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of captures that others made (INDEX.tsv says what each is)."""
    folder = Path(
        os.environ.get("XDPDNS_CAPTURES", Path(__file__).parents[2] / "shared" / "captures")
    )
    if not (folder / "INDEX.tsv").exists():
        pytest.skip(f"no captures at {folder}; set XDPDNS_CAPTURES")
    return folder
