"""What the service manager hears, when, and what a reload does."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from xdpdns.app import AgentSettings
from xdpdns.families import InterfaceState
from xdpdns.service import Service, status_line
from xdpdns.service_manager import ServiceManager
from xdpdns.supervisor.selection import Selection
from xdpdns.web_config import WebConfigFile

UP = InterfaceState("eth0", up=True)
DOWN = InterfaceState("eth1", up=False, reason="absent", detail="there is no eth1.")


class Ear(ServiceManager):
    """A manager that notes what it is told."""

    def __init__(self, alive_every: float | None = None, there: bool = True) -> None:
        super().__init__()
        self.alive_every = alive_every
        self.said: list[str] = []
        self.there = there

    def __bool__(self) -> bool:
        return self.there

    def _send(self, *assignments: str) -> None:
        self.said.append(assignments[0] if len(assignments) == 1 else " ".join(assignments))


def service(
    ear: Ear,
    *,
    keep: bool = True,
    heard: float | None = None,
    problems: tuple[str, ...] = (),
    web_config: WebConfigFile | None = None,
) -> tuple[Service, list[str]]:
    settings = AgentSettings(
        selection=Selection.of(("eth0",), False, ()),
        listen=(),
        keep=keep,
        web_config=web_config,
        recheck=lambda: problems,
    )
    stopped: list[str] = []
    made = Service(
        ear,
        settings,
        lambda: time.monotonic() if heard is None else heard,
        lambda: stopped.append("stop"),
    )
    return made, stopped


@pytest.mark.parametrize(
    ("states", "line"),
    [
        ([], "Waiting for an interface."),
        ([UP], "Counting on eth0."),
        ([UP, DOWN], "Counting on eth0; eth1 is not counted: absent."),
        ([DOWN], "eth1 is not counted: absent."),
        (
            [InterfaceState(f"veth{n}", up=True) for n in range(10)],
            f"Counting on {', '.join(f'veth{n}' for n in range(8))}, 2 more.",
        ),
    ],
)
def test_the_status_is_one_line(states: list[InterfaceState], line: str) -> None:
    assert status_line(states) == line


def test_ready_then_only_changes() -> None:
    async def run() -> None:
        made.ready([UP])
        made.changed([UP])
        made.changed([UP, DOWN])
        made.stopping()

    ear = Ear()
    made, _ = service(ear)
    asyncio.run(run())
    assert ear.said == [
        "READY=1 STATUS=Counting on eth0.",
        "STATUS=Counting on eth0; eth1 is not counted: absent.",
        "STOPPING=1 STATUS=Stopping.",
    ]


@pytest.mark.parametrize("supervisor_lives", [True, False])
def test_the_watchdog_hears_us_only_while_the_supervisor_lives(supervisor_lives: bool) -> None:
    async def run() -> None:
        made.ready([UP])
        await asyncio.sleep(0.2)

    ear = Ear(alive_every=0.02)
    made, _ = service(ear, heard=None if supervisor_lives else time.monotonic() - 1)
    asyncio.run(run())
    beats = ear.said.count("WATCHDOG=1")
    assert (3 <= beats <= 11) if supervisor_lives else beats == 0


def test_a_reload_starts_anew() -> None:
    ear = Ear()
    made, stopped = service(ear)
    made.reload()
    assert ear.said[0].startswith("RELOADING=1 MONOTONIC_USEC=")
    assert (made.again, stopped) == (True, ["stop"])


@pytest.mark.parametrize(("keep", "there"), [(False, True), (True, False)])
def test_what_would_lose_counts_or_not_come_back_goes_on(
    keep: bool, there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear(there=there)
    made, stopped = service(ear, keep=keep)
    made.reload()
    assert (made.again, stopped) == (False, [])
    [record] = caplog.records
    assert ("--keep" in record.getMessage()) is not keep
    assert ear.said[-1].startswith("READY=1")


def test_a_file_with_an_error_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    problem = "/etc/xdpdns.toml:3: attach.mode: 'fast' is not one of 'auto', 'native', 'generic'."
    made, stopped = service(ear, problems=(problem,))
    made.reload()
    assert (made.again, stopped) == (False, [])
    [record] = caplog.records
    assert (record.levelno, "toml:3: attach.mode" in record.getMessage()) == (logging.ERROR, True)
    assert ear.said[-1].startswith("READY=1")


def test_the_web_configuration_is_read_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "web.yml"
    path.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
    made, _ = service(Ear(), keep=False, web_config=(web := WebConfigFile(path)))
    path.write_text("http_server_config: {headers: {X-Frame-Options: sameorigin}}")
    made.reload()
    assert web.current().headers == {"X-Frame-Options": "sameorigin"}
    path.write_text("http_server_config:\n  headers: {X-Frame-Options: perhaps}")
    made.reload()
    assert web.current().headers == {"X-Frame-Options": "sameorigin"}
    assert any("web.yml, line 2" in record.getMessage() for record in caplog.records)
