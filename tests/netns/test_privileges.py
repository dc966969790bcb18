"""The process that speaks HTTP has nothing that an intruder could use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.netns.actors import XDPDNS, Agent, dnsperf, start_nsd, supervisors
from tests.netns.lab import Lab, wait_until

USER = "23456"  # nobody's
NET_ADMIN, PERFMON, BPF = 1 << 12, 1 << 38, 1 << 39
NONE = 0


def tasks(pid: int) -> list[dict[str, str]]:
    """What the kernel says of each thread of a process."""
    return [
        dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]


@pytest.mark.parametrize("options", [(), ("--keep",), ("--user", USER), ("--keep", "--user", USER)])
def test_no_thread_has_a_capability(lab: Lab, options: tuple[str, ...]) -> None:
    start_nsd(lab)
    agent = Agent(lab, "--tlds", "all", "--labels", "qtype,tld", "--program-stats", *options)
    names = [
        f"example.{one}{n}. {t}" for one in ("a", "b") for n in range(250) for t in ("A", "NS")
    ]
    dnsperf(lab, names)
    found = agent.scrape()  # reading maps and links needs no capability
    assert found.queries == len(names)
    assert len(list(found.select("xdpdns_queries_total"))) == 1000
    assert found.total("xdpdns_up") == 1

    pid = agent.process.pid
    threads = tasks(pid)
    assert len(threads) >= 2  # the loop's and the scrapes'
    for thread in threads:
        for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert int(thread[kind], 16) == NONE, (thread["Name"], kind)
        assert thread["NoNewPrivs"] == "1"
        uid = USER if "--user" in options else str(os.geteuid())
        assert thread["Uid"].split() == [uid] * 4
        if "--user" in options:
            assert thread["Gid"].split() == [USER] * 4
            assert thread["Groups"].split() == []
    assert "libbcc" not in Path(f"/proc/{pid}/maps").read_text()
    assert int(threads[0]["VmRSS"].split()[0]) <= 60 * 1024

    assert agent.process.stop(signal.SIGINT) == 0
    assert (lab.server.xdp_program() is not None) == ("--keep" in options)
    lab.server.run([XDPDNS, "detach", "eth0"])


@pytest.mark.parametrize(
    ("interface", "capabilities"), [("eth0", NET_ADMIN), ("eth*", NET_ADMIN | BPF | PERFMON)]
)
def test_the_supervisor_can_only_attach_and_detach(
    lab: Lab, interface: str, capabilities: int
) -> None:
    """And load, where there may be new interfaces: each has its own maps."""
    agent = Agent(lab, interfaces=[interface])
    [supervisor] = supervisors(agent.process.pid)
    for thread in tasks(supervisor):
        assert int(thread["CapEff"], 16) == int(thread["CapPrm"], 16) == capabilities
        assert thread["NoNewPrivs"] == "1"
    # netlink, and one socket to the agent: what it listens to is nobody else's to write
    open_files = [str(fd.readlink()) for fd in Path(f"/proc/{supervisor}/fd").iterdir()]
    sockets = {name for name in open_files if name.startswith("socket:")}
    network = Path(f"/proc/{supervisor}/net")
    netlink = of_inodes(sockets, network / "netlink")
    assert netlink
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"):
        assert not of_inodes(sockets, network / kind), kind
    assert len(sockets - netlink - {"socket:[0]"}) <= 3  # the agent's, and a pair of asyncio's
    agent.stop()


def of_inodes(sockets: set[str], table: Path) -> set[str]:
    """Those of the sockets that are in a table of /proc/net."""
    words = {word for line in table.read_text().splitlines()[1:] for word in line.split()}
    return {name for name in sockets if name.removeprefix("socket:[").rstrip("]") in words}


@pytest.mark.parametrize("options", [(), ("--user", USER)])
def test_a_killed_agent_leaves_nothing(lab: Lab, options: tuple[str, ...]) -> None:
    agent = Agent(lab, *options)
    assert lab.server.xdp_program() is not None
    agent.process.stop(signal.SIGKILL)
    wait_until("the supervisor detaches", lambda: lab.server.xdp_program() is None)


def test_signals_for_all_do_not_end_the_supervisor_first(lab: Lab) -> None:
    """Ctrl-C and systemd's stop signal every process of the agent."""
    agent = Agent(lab)
    [supervisor] = supervisors(agent.process.pid)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(supervisor, number)
    assert lab.server.xdp_program() is not None
    agent.stop()


@pytest.mark.parametrize("user", ["root", "0", "nobody-of-this-name"])
def test_users_that_are_refused(lab: Lab, user: str) -> None:
    done = lab.server.run([XDPDNS, "attach", "eth0", "--user", user], check=False)
    assert done.returncode == 2
    assert "--user" in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.server.xdp_program() is None
