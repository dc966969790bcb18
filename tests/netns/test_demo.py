"""`xdpdns demo`: exact to the packet, reachable as it says, and nothing is left however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import wait_until

DEMO = [sys.executable, "-m", "xdpdns", "demo", "--web.listen-address", "127.0.0.1:0"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes namespaces")


class Running:
    """A demonstration with its output in files."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen([*DEMO, *options], stdout=out, stderr=err)
        try:
            self.url = self._said(r"(http://\S+)")
            self.inside = self._said(r"--net=(/proc/\d+/fd/\d+)")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        # Held open: the kernel gives the inode of a namespace that is gone to the next one.
        self.held = Path(self.inside).open()  # noqa: SIM115
        self.namespace = str(Path(self.inside).readlink())
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        [self.agent] = map(int, children.split())

    def _said(self, pattern: str) -> str:
        def look() -> str:
            assert self.process.poll() is None, self.err.read_text()
            found = re.search(pattern, self.err.read_text())
            return found[1] if found else ""

        return wait_until(f"the demonstration says {pattern}", look)

    def metrics(self) -> str:
        with urllib.request.urlopen(self.url, timeout=5) as response:
            return str(response.read().decode())

    def left(self) -> list[str]:
        """Who still refers to the server's namespace, or is the agent."""
        own = Path("/proc", str(os.getpid()))
        found = [
            str(path)
            for path in references()
            if target(path) == self.namespace and own not in path.parents
        ]
        if Path(f"/proc/{self.agent}/cmdline").exists():
            found.append(f"agent {self.agent}")
        return found


def references() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        yield process / "ns" / "net"
        yield from (process / "fd").glob("*")


def target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    demo = Running(tmp_path)
    try:
        yield demo
    finally:
        demo.process.kill()
        demo.process.wait()
        demo.held.close()


@pytest.mark.alone  # the rate, and the shares
def test_sent_is_counted(tmp_path: Path) -> None:
    argv = [*DEMO, "--seconds", "5", "--rate", "1000", "--output", "json"]
    done = subprocess.run(argv, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    assert made["equal"] is True
    assert made["sent"] == made["counted"]
    assert 2000 < made["sent"] <= 1000 * made["seconds"] * 1.05
    assert set(made["dimensions"]) == {
        *("outcome", "af", "proto", "qr", "do", "ad", "edns", "qtype", "tld")
    }
    for name, rows in made["dimensions"].items():
        assert [row["sent"] for row in rows] == [row["counted"] for row in rows], name
        total = sum(row["sent"] for row in rows)
        for row in rows:
            assert row["sent"] / total == pytest.approx(row["share"], abs=0.02), (name, row)


def test_its_metrics_are_here_and_its_interface_is_not(running: Running) -> None:
    wait_until("queries", lambda: re.search(r"^xdpdns_queries_total\{", running.metrics(), re.M))
    assert 'xdpdns_up{interface="eth0"} 1' in running.metrics()
    argv = ["nsenter", f"--net={running.inside}", "ip", "-j", "-d", "link", "show", "eth0"]
    [eth0] = json.loads(subprocess.check_output(argv))
    assert eth0["xdp"]["prog"]["name"].startswith("xdpdns")
    here = rf'interface_info{{interface="eth0",.*program_id="{eth0["xdp"]["prog"]["id"]}"}}'
    assert re.search(here, running.metrics())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_asked_for_end(running: Running, number: signal.Signals) -> None:
    wait_until("queries", lambda: re.search(r"^xdpdns_queries_total\{", running.metrics(), re.M))
    running.process.send_signal(number)
    assert running.process.wait(10) == 0
    assert running.left() == []
    table = running.out.read_text()
    assert "every value equal" in table
    assert "differs" not in table


def test_killed(running: Running) -> None:
    running.process.kill()
    running.process.wait()
    wait_until("nothing is left", lambda: running.left() == [])


def test_the_agent_is_killed(running: Running) -> None:
    os.kill(running.agent, signal.SIGKILL)
    assert running.process.wait(10) == 1
    assert running.left() == []  # its supervisor too was waited for
    error = running.err.read_text().splitlines()[-1]
    assert error.startswith("Error: ")
    assert "was the agent killed?" in error


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        argv = [*DEMO[:-1], f"127.0.0.1:{taken.getsockname()[1]}"]
        done = subprocess.run(argv, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert "Address already in use" in line
    assert " error: " not in line  # the agent's line without the beginning that a log has


def test_without_permission() -> None:
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    done = subprocess.run([*argv, *DEMO], text=True, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert "run as root" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage() -> None:
    for options in (["--rate", "0"], ["--rate", "1000000"], ["--seconds", "0"]):
        done = subprocess.run([*DEMO, *options], capture_output=True, timeout=60)
        assert done.returncode == 2
