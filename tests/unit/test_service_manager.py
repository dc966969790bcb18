"""Datagrams to a real socket that stands for systemd's."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdpdns.service_manager import ServiceManager


class Manager:
    """The receiving end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(0.2)

    def heard(self) -> str:
        return self.socket.recv(4096).decode()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    made = Manager(path if request.param == "path" else f"@xdpdns-test-{os.getpid()}")
    yield made
    made.socket.close()


def test_what_is_said(manager: Manager) -> None:
    us = ServiceManager(manager.address)
    us.ready("Counting on eth0.")
    assert manager.heard() == "READY=1\nSTATUS=Counting on eth0."
    us.status("eth0 is down:\nREADY=0")
    assert manager.heard() == "STATUS=eth0 is down: READY=0"  # one message can't become two
    us.alive()
    assert manager.heard() == "WATCHDOG=1"
    before = time.monotonic_ns() // 1000
    us.reloading()
    first, second = manager.heard().splitlines()
    assert first == "RELOADING=1"
    name, _, usec = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(usec) <= time.monotonic_ns() // 1000
    us.stopping()
    assert manager.heard() == "STOPPING=1\nSTATUS=Stopping."
    us.close()
    us.alive()
    with pytest.raises(TimeoutError):
        manager.heard()


def test_the_environment_is_not_for_children(manager: Manager) -> None:
    given = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    environment = {**given, "PATH": "/bin"}
    us = ServiceManager.from_environment(environment)
    assert environment == {"PATH": "/bin"}
    assert us.alive_every == 1.5
    assert us
    us.close()


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("3000000", "", 1.5),
        ("3000000", "1", None),  # it waits for another process
        ("", "", None),
        ("0", "", None),
        ("soon", "", None),
    ],
)
def test_the_watchdog_is_asked_for(
    tmp_path: Path, usec: str, pid: str, expected: float | None
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path), "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    us = ServiceManager.from_environment(environment)
    assert us.alive_every == expected
    us.close()


def test_without_a_manager_nothing_happens() -> None:
    us = ServiceManager.from_environment({"WATCHDOG_USEC": "1000000"})
    assert us.alive_every is None
    assert not us
    us.ready("Counting.")
    us.close()


def test_a_manager_that_is_gone_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    us = ServiceManager(str(tmp_path / "notify"))
    us.ready("Counting.")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "READY=1" in record.getMessage()
    us.close()


def test_an_address_of_another_kind_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    us = ServiceManager("vsock:2:1234", 1_000_000)
    us.ready("Counting.")
    [record] = caplog.records
    assert "vsock:2:1234" in record.getMessage()
    assert us.alive_every is None
