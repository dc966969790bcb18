"""Entering and making network namespaces; an agent that counts in one and listens in another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.actors import kill_agent
from tests.netns.lab import Lab, wait_until
from xdpdns import netns
from xdpdns.errors import AttachError

HERE = "/proc/thread-self/ns/net"


def test_a_namespace_without_a_name_ends_with_its_fd() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes a network namespace")
    before = Path(HERE).readlink()
    fd = netns.create()
    assert netns.inside(fd, lambda: Path(HERE).readlink()) != before
    assert Path(HERE).readlink() == before
    os.close(fd)


def test_an_error_inside_is_raised_outside() -> None:
    with pytest.raises(ZeroDivisionError):
        netns.in_thread(lambda: 1 // 0)


@pytest.mark.parametrize("name", ["no-such-namespace", "/proc/self/no/such/file"])
def test_no_such_namespace(name: str) -> None:
    with pytest.raises(AttachError, match="can't be opened"):
        netns.enter(name)


def test_a_file_that_is_no_namespace(lab: Lab) -> None:
    with pytest.raises(AttachError, match="is it a namespace's file"):
        netns.in_thread(lambda: netns.enter("/etc/passwd"))


@pytest.mark.parametrize("by", ["name", "path"])
def test_the_agent_listens_here_and_counts_there(lab: Lab, by: str) -> None:
    where = lab.server.name if by == "name" else f"/run/netns/{lab.server.name}"
    command = [sys.executable, "-m", "xdpdns"]
    argv = ["attach", "eth0", "--netns", where, "--web.listen-address", "127.0.0.1:0"]
    log = lab.tmp / "agent.log"
    with log.open("wb") as out, subprocess.Popen([*command, *argv], stderr=out) as agent:
        try:
            served = re.compile(r"http://(\S+)/metrics")
            wait_until("the agent serves", lambda: served.search(log.read_text()))
            [url] = served.findall(log.read_text())
            lab.client.run(["dig", "+tries=1", "+timeout=1", "@192.0.2.1", "nl", "NS"], check=False)
            metrics = subprocess.check_output(["curl", "-sS", f"http://{url}/metrics"], text=True)
            assert re.search(r'^xdpdns_queries_total\{.*qtype="NS",tld="nl"\} 1$', metrics, re.M)
            assert lab.server.xdp_program()
        finally:
            agent.terminate()
            assert agent.wait(10) == 0
    assert lab.server.xdp_program() is None


def test_detach_in_a_namespace(lab: Lab) -> None:
    argv = ["attach", "eth0", "--netns", lab.server.name, "--keep"]
    argv += ["--web.listen-address", "127.0.0.1:0"]
    agent = subprocess.Popen([sys.executable, "-m", "xdpdns", *argv], stderr=subprocess.DEVNULL)
    try:
        wait_until("the agent attaches", lab.server.xdp_program)
    finally:
        kill_agent(agent.pid)
        agent.wait()
    argv = ["detach", "eth0", "--netns", lab.server.name]
    said = subprocess.check_output([sys.executable, "-m", "xdpdns", *argv], text=True)
    assert "took off program" in said
    assert lab.server.xdp_program() is None
