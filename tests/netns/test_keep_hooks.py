"""`attach --keep` at the other hooks, and with interfaces that are made anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.netns.actors import XDPDNS, Agent, supervisors
from tests.netns.lab import Lab, wait_until
from tests.netns.test_come_and_go import ask, becomes, counted, veth
from tests.netns.test_keep import PINS, place, refusal

HOOKS = ["xdp", "tcx", "clsact"]


@pytest.fixture
def kept(lab: Lab) -> Iterator[Lab]:
    """The lab; what was kept in it is removed at the end."""
    yield lab
    lab.end_processes()
    lab.server.run([XDPDNS, "detach", "eth0"], check=False)


def places(lab: Lab) -> list[str]:
    """The folders of the server's namespace under /sys/fs/bpf/xdpdns."""
    inode = Path("/run/netns", lab.server.name).stat().st_ino
    return sorted(path.name for path in PINS.glob(f"{inode}-*"))


def gone(process: Path) -> bool:
    """Whether a process has ended."""
    return not process.exists()


def attached(lab: Lab) -> bool:
    """Whether a program of xdpdns is on any interface of the server."""
    said = lab.server.run([XDPDNS, "status", "--output", "json"]).stdout
    interfaces = json.loads(said)["interfaces"]
    return any(program["ours"] for one in interfaces for program in one["programs"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("hook", HOOKS)
def test_the_next_agent_goes_on(kept: Lab, hook: str, number: int) -> None:
    lab = kept
    agent = Agent(lab, "--keep", "--hook", hook)
    ask(lab, 3)
    for turn in range(1, 4):
        [supervisor] = supervisors(agent.process.pid)
        process = Path(f"/proc/{supervisor}")
        agent.process.stop(number)
        wait_until("it has ended", partial(gone, process))
        assert attached(lab)
        ask(lab, 3)
        agent = Agent(lab, "--keep", "--hook", hook)
        assert counted(lab) == 3 + 3 * turn
    agent.process.stop(signal.SIGINT)
    lab.server.run([XDPDNS, "detach", "eth0"])
    assert not attached(lab)
    assert places(lab) == []


@pytest.mark.parametrize("hook", HOOKS)
def test_made_anew_and_taken_over(kept: Lab, hook: str) -> None:
    """The pins move with the interface: the next agent finds them, whatever ends the last."""
    lab = kept
    agent = Agent(lab, "--keep", "--hook", hook)
    ask(lab, 3)
    before = places(lab)
    lab.new_cable()
    wait_until("the pins have moved", lambda: places(lab) not in ([], before))
    becomes(lab, "up")
    assert places(lab) == [place(lab).name]
    ask(lab, 2)
    for process in [*supervisors(agent.process.pid), agent.process.pid]:
        os.kill(process, signal.SIGKILL)
    agent.process.stop(signal.SIGKILL)
    ask(lab, 1)
    agent = Agent(lab, "--keep", "--hook", hook)
    assert counted(lab) == 6
    agent.process.stop(signal.SIGINT)
    lab.server.run([XDPDNS, "detach", "eth0"])
    assert places(lab) == []


@pytest.mark.parametrize("hook", HOOKS)
def test_what_was_kept_under_another_name_stays(kept: Lab, hook: str) -> None:
    """An interface that an ended agent counted takes the name of one that went."""
    lab = kept
    veth(lab, "eth1")
    Agent(lab, "--keep", "--hook", hook, interfaces=["eth1"]).process.stop(signal.SIGINT)
    [left] = places(lab)
    agent = Agent(lab, "--keep", "--hook", hook)
    lab.server.run(["ip", "link", "del", "eth0"])
    becomes(lab, "absent")
    lab.server.run(["ip", "link", "set", "eth1", "down"])
    lab.server.run(["ip", "link", "set", "eth1", "name", "eth0", "up"])
    becomes(lab, "occupied")
    assert left in places(lab)
    assert attached(lab)
    agent.process.stop(signal.SIGINT)
    lab.server.run([XDPDNS, "detach", "eth0"])
    assert not attached(lab)
    assert places(lab) == []


def test_another_hook_is_refused(kept: Lab) -> None:
    lab = kept
    Agent(lab, "--keep", "--hook", "tcx").process.stop(signal.SIGINT)
    assert "xdpdns detach eth0" in refusal(lab, "--keep")
    assert attached(lab)


def test_gone_at_the_end_leaves_no_pins_for_long(lab: Lab) -> None:
    """An interface that is absent when the agent ends has nothing that could go on."""
    agent = Agent(lab, "--keep")
    lab.server.run(["ip", "link", "del", "eth0"])
    becomes(lab, "absent")
    agent.process.stop(signal.SIGINT)
    lab.server.run(["ip", "link", "set", "lo", "up"])
    said = lab.server.run([XDPDNS, "detach", "lo"]).stdout
    assert places(lab) == [], said


def test_nothing_is_left_behind() -> None:
    """Whatever these tests did: no pins of namespaces that are gone, and bpffs is one."""
    mounts = subprocess.run(["findmnt", "-n", "/sys/fs/bpf"], capture_output=True, text=True)
    assert len(mounts.stdout.splitlines()) == 1
