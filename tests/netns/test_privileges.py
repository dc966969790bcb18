"""The process that speaks HTTP has nothing that an intruder could use."""

from __future__ import annotations

import os
import pwd
import re
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


def unprivileged() -> str:
    """Whom an agent of root's becomes by itself."""
    try:
        return str(pwd.getpwnam("xdpdns").pw_uid)
    except KeyError:
        return "65534"


@pytest.mark.parametrize(
    "options", [(), ("--keep",), ("--user", "root"), ("--keep", "--user", USER)]
)
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
        uid = {"root": "0", USER: USER}.get(options[-1] if options else "", unprivileged())
        assert thread["Uid"].split() == [uid] * 4
        assert thread["Gid"].split() == [uid] * 4
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


def test_a_web_configuration_that_is_roots_keeps_root(lab: Lab) -> None:
    """Nobody was asked for; so it is served as it is, with a warning."""
    web = lab.tmp / "web.yml"
    web.write_text("tls_server_config: {}\n")
    web.chmod(0o600)
    agent = Agent(lab, "--web.config.file", str(web))
    assert {thread["Uid"].split()[0] for thread in tasks(agent.process.pid)} == {"0"}
    assert "stays root, without capabilities" in agent.process.log
    agent.stop()


def test_a_user_that_is_not_there(lab: Lab) -> None:
    user = "nobody-of-this-name"
    done = lab.server.run([XDPDNS, "attach", "eth0", "--user", user], check=False)
    assert done.returncode == 2
    assert "--user" in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.server.xdp_program() is None


def test_the_agent_can_only_read_what_it_was_handed(lab: Lab) -> None:
    """Its maps are frozen, none of those that steer the program is among them, and no program."""
    agent = Agent(lab)
    fdinfo = [one.read_text() for one in Path(f"/proc/{agent.process.pid}/fdinfo").iterdir()]
    maps = [dict(re.findall(r"^(\w+):\s+(\w+)", text, re.MULTILINE)) for text in fdinfo]
    frozen = {one["map_id"]: one["frozen"] for one in maps if "map_id" in one}
    assert len(frozen) == 10  # of both programs: counts, keys and numbers of rows, counters, TCP
    assert set(frozen.values()) == {"1"}
    assert not any("prog_id" in text for text in fdinfo)
    agent.stop()
