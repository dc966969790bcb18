"""Interfaces that go, come, change their name or lose their program, as an agent sees them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.actors import XDPDNS, Agent, dnsperf, kill_agent, start_nsd, supervisors
from tests.netns.foreign import by_ip_link, in_place_of, unhook
from tests.netns.lab import PATIENCE, SERVER4, Lab, wait_until
from tests.netns.scrape import Scrape, http_get, scrape
from xdpdns import running
from xdpdns.hooks import Found, Hooks

QUERY = bytes.fromhex("000001000001000000000000") + b"\x03com\0\0\1\0\1"
TIMES, WARM_UP = 20, 15


@pytest.fixture
def tidy(lab: Lab) -> Iterator[Lab]:
    """The lab; what was kept on its eth0 is removed at the end."""
    yield lab
    lab.end_processes()
    lab.server.run([XDPDNS, "detach", "eth0"], check=False)


def ask(lab: Lab, times: int = 1) -> None:
    """Send queries that nobody answers."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            for _ in range(times):
                one.sendto(QUERY, (SERVER4, 53))

    lab.client.inside(send)


def counted(lab: Lab, interface: str = "eth0") -> int:
    """Queries so far."""
    return scrape(lab.server).total("xdpdns_queries_total", interface=interface)


def state(found: Scrape, interface: str = "eth0") -> str:
    """`up`, or the reason why not; empty if the interface is unknown."""
    ups = list(found.select("xdpdns_up", interface=interface))
    if not ups:
        return ""
    reasons = found.by("reason", "xdpdns_interface_down_info", interface=interface)
    assert len(reasons) == (0 if ups[0].value else 1), found.text
    return "up" if ups[0].value else next(iter(reasons))


def becomes(lab: Lab, wanted: str, interface: str = "eth0", timeout: float = PATIENCE) -> None:
    """Wait until an interface is in a state."""

    def is_so() -> bool:
        return state(scrape(lab.server), interface) == wanted

    wait_until(f"{interface} is {wanted}", is_so, timeout)


def link(lab: Lab, *words: str) -> None:
    """`ip link ...` at the server."""
    lab.server.run(["ip", "link", *words])


def occupied(pid: int) -> tuple[int, int]:
    """The open files of a process, and its resident memory in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    [resident] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(resident)


@pytest.mark.alone
@pytest.mark.parametrize("options", [(), ("--keep",), ("--hook", "tcx"), ("--hook", "clsact")])
def test_twenty_times_deleted_and_made_again(tidy: Lab, options: tuple[str, ...]) -> None:
    lab = tidy
    agent = Agent(lab, *options)
    pids = [agent.process.pid, *supervisors(agent.process.pid)]
    before: list[tuple[int, int]] = []
    slowest = 0.0
    for turn in range(TIMES + WARM_UP):
        if turn == WARM_UP:
            time.sleep(0.2)
            before = [occupied(pid) for pid in pids]
        until_then = counted(lab)
        lab.new_cable()
        start = time.monotonic()

        def again(until_then: int = until_then) -> bool:
            ask(lab)
            return counted(lab) > until_then  # on top of what was counted before

        wait_until("it is counted again", again, timeout=2.0)
        slowest = max(slowest, time.monotonic() - start)
        now = counted(lab)
        ask(lab, 10)
        assert counted(lab) == now + 10
    time.sleep(0.2)
    after = [occupied(pid) for pid in pids]
    print(f"slowest {slowest:.2f} s; files and kB before {before}, after {after}")
    for (files, resident), (files_then, resident_then) in zip(after, before, strict=True):
        assert files == files_then
        assert resident < resident_then + 1024
    agent.process.stop(signal.SIGINT)


def veth(lab: Lab, name: str) -> None:
    """Another interface at the server, up, whose other end is up as well."""
    link(lab, "add", name, "type", "veth", "peer", f"{name}p")
    link(lab, "set", f"{name}p", "up")
    link(lab, "set", name, "up")


def test_gone_for_a_while(lab: Lab) -> None:
    agent = Agent(lab)
    ask(lab, 3)
    link(lab, "del", "eth0")
    becomes(lab, "absent")
    assert counted(lab) == 3  # the counters are there all the same
    assert http_get(lab.server, "/-/ready").status == 503
    link(lab, "add", "eth0", "type", "veth", "peer", "other")
    becomes(lab, "down")
    link(lab, "set", "eth0", "up")
    becomes(lab, "up")
    assert "there is no interface eth0" in agent.process.log
    assert "eth0 is counted again" in agent.process.log
    agent.stop()


def test_down_and_up_loses_nothing(lab: Lab) -> None:
    agent = Agent(lab)
    program = lab.server.xdp_program()
    ask(lab, 3)
    link(lab, "set", "eth0", "down")
    becomes(lab, "down")
    link(lab, "set", "eth0", "up")
    becomes(lab, "up")
    lab.server.run(["ip", "link", "set", "eth0", "mtu", "1400"])
    time.sleep(0.3)
    becomes(lab, "up")
    link(lab, "set", "eth0", "arp", "off")
    lab.server.run(["ip", "addr", "replace", f"{SERVER4}/24", "dev", "eth0"])
    ask(lab, 3)
    assert counted(lab) == 6
    assert lab.server.xdp_program() == program
    agent.stop()


@pytest.mark.parametrize("options", [(), ("--hook", "tcx")])
def test_a_rename_is_followed(lab: Lab, options: tuple[str, ...]) -> None:
    agent = Agent(lab, *options)
    ask(lab, 3)
    link(lab, "set", "eth0", "name", "lan0")
    becomes(lab, "up", "lan0")
    ask(lab, 2)
    assert counted(lab, "lan0") == 5
    assert state(scrape(lab.server), "eth0") == ""
    assert "eth0 is now called lan0" in agent.process.log
    agent.process.stop(signal.SIGINT)
    assert lab.server.xdp_program("lan0") is None
    assert "Nothing to detach" not in agent.process.log


def test_a_rename_and_another_of_the_old_name(lab: Lab) -> None:
    """What bears the old name now is not what was asked for, until ours has gone."""
    agent = Agent(lab)
    link(lab, "set", "eth0", "name", "lan0")
    becomes(lab, "up", "lan0")
    veth(lab, "eth0")
    time.sleep(1.3)
    assert lab.server.xdp_program("eth0") is None
    link(lab, "del", "lan0")
    becomes(lab, "up", "eth0")
    assert state(scrape(lab.server), "lan0") == ""
    agent.stop()


@pytest.mark.parametrize("options", [(), ("--keep",), ("--mode", "generic")])
def test_taken_off_from_outside(tidy: Lab, options: tuple[str, ...]) -> None:
    lab = tidy
    agent = Agent(lab, *options)
    program = lab.server.xdp_program()
    ask(lab, 3)
    unhook(lab)
    wait_until("ours is back", lambda: lab.server.xdp_program() == program, 2.0)
    becomes(lab, "up")
    ask(lab, 3)
    assert counted(lab) == 6
    assert "taken off eth0: attached again" in agent.process.log
    # again and again: it waits ever longer, and says so

    def again() -> bool:
        if lab.server.xdp_program() == program:
            unhook(lab)
        return state(scrape(lab.server)) == "detached"

    wait_until("it waits", again)
    becomes(lab, "up")
    agent.process.stop(signal.SIGINT)
    assert (lab.server.xdp_program() is None) == ("--keep" not in options)


@pytest.mark.parametrize("keep", [(), ("--keep",)])
@pytest.mark.parametrize("mode", ["native", "generic"])
def test_replaced_by_another(tidy: Lab, mode: str, keep: tuple[str, ...]) -> None:
    lab = tidy
    agent = Agent(lab, "--mode", mode, *keep)
    ours = lab.server.xdp_program()
    with pytest.raises(RuntimeError):
        by_ip_link(lab, mode, "-force")
    assert lab.server.xdp_program() == ours
    in_place_of(agent.process.pid, lab, mode)
    owner = lab.server.xdp_program()
    assert owner not in (ours, None)
    becomes(lab, "replaced")
    for _ in range(12):  # at each look, and for longer than the first waits
        time.sleep(0.2)
        assert lab.server.xdp_program() == owner
    link(lab, "set", "dev", "eth0", {"native": "xdpdrv", "generic": "xdpgeneric"}[mode], "off")
    becomes(lab, "up")
    assert lab.server.xdp_program() == ours
    ask(lab, 3)
    assert counted(lab) == 3
    agent.process.stop(signal.SIGINT)


@pytest.mark.parametrize("options", [(), ("--keep",), ("--hook", "tcx"), ("--hook", "clsact")])
def test_moved_to_another_network_namespace(tidy: Lab, options: tuple[str, ...]) -> None:
    """As a container's veth is: it goes without our programs, also if those are pinned."""
    lab = tidy
    agent = Agent(lab, *options)
    ask(lab, 3)
    link(lab, "set", "eth0", "netns", lab.client.name, "name", "moved0")
    becomes(lab, "absent")
    assert ours_on(lab, "moved0") == []
    lab.client.run(["ip", "link", "set", "moved0", "netns", lab.server.name, "name", "eth0"])
    link(lab, "set", "eth0", "up")
    lab.server.run(["ip", "addr", "replace", f"{SERVER4}/24", "dev", "eth0"])
    becomes(lab, "up")
    ask(lab, 2)
    assert counted(lab) == 5
    agent.process.stop(signal.SIGINT)
    assert bool(lab.server.inside(running.counted)) == ("--keep" in options)


def ours_on(lab: Lab, interface: str) -> list[Found]:
    """What of ours is on an interface that the client has now."""

    def look() -> list[Found]:
        with Hooks() as hooks:
            return running.ours(hooks.link(interface), hooks)

    return lab.client.inside(look)


@pytest.mark.parametrize("options", [(), ("--keep",), ("--hook", "clsact")])
def test_agent_and_supervisor_are_killed(tidy: Lab, options: tuple[str, ...]) -> None:
    """Nothing of what hangs on BPF links is left; what was kept is, and a filter."""
    lab = tidy
    agent = Agent(lab, *options)
    kill_agent(agent.process.pid)
    wait_until("the agent's end", lambda: agent.process.exited is not None)
    stays = bool(options)
    wait_until("it is so", lambda: bool(lab.server.inside(running.counted)) == stays)


def test_made_again_with_a_program_of_somebody(lab: Lab) -> None:
    agent = Agent(lab)
    link(lab, "del", "eth0")
    becomes(lab, "absent")
    # it gets its program before it gets our name
    veth(lab, "new0")
    by_ip_link(lab, "native", interface="new0")
    owner = lab.server.xdp_program("new0")
    link(lab, "set", "new0", "down")
    link(lab, "set", "new0", "name", "eth0", "up")
    becomes(lab, "occupied")
    assert lab.server.xdp_program() == owner
    link(lab, "set", "dev", "eth0", "xdpdrv", "off")
    becomes(lab, "up")
    agent.stop()


def test_a_pattern_follows_what_comes(lab: Lab) -> None:
    veth(lab, "eth1")
    agent = Agent(lab, "--exclude", "eth9*", interfaces=["eth*"])
    becomes(lab, "up", "eth1")
    becomes(lab, "up", "eth1p")
    veth(lab, "eth2")
    becomes(lab, "up", "eth2")
    veth(lab, "eth9")
    veth(lab, "lan0")
    time.sleep(1.3)
    found = scrape(lab.server)
    for other in ("eth9", "eth9p", "lan0", "lo"):
        assert state(found, other) == "", other
        assert lab.server.xdp_program(other) is None
    ask(lab, 3)
    assert counted(lab) == 3
    # gone, and back with the same counters
    lab.new_cable()
    becomes(lab, "up")
    ask(lab, 2)
    assert counted(lab) == 5
    agent.stop()
    for name in ("eth1", "eth2"):
        assert lab.server.xdp_program(name) is None


def test_all_follows_everything_but_the_loopback(lab: Lab) -> None:
    by_ip_link(lab, "native")
    owner = lab.server.xdp_program()
    agent = lab.start(lab.server, [XDPDNS, "attach", "--all"], "agent")
    agent.wait_until("it serves", lambda: "Serving" in agent.log)
    becomes(lab, "occupied")  # reported, and not fatal
    veth(lab, "new0")
    becomes(lab, "up", "new0")
    assert state(scrape(lab.server), "lo") == ""
    assert lab.server.xdp_program() == owner
    assert agent.stop(signal.SIGINT) == 0
    assert lab.server.xdp_program("new0") is None
    assert lab.server.xdp_program() == owner


def test_all_may_begin_with_nothing(lab: Lab) -> None:
    link(lab, "del", "eth0")
    agent = lab.start(lab.server, [XDPDNS, "attach", "--all", "--keep"], "agent")
    agent.wait_until("it serves", lambda: "Serving" in agent.log)
    veth(lab, "eth0")
    becomes(lab, "up")
    assert agent.stop(signal.SIGINT) == 0
    assert lab.server.xdp_program("eth0p") is not None
    for name in ("eth0", "eth0p"):
        lab.server.run([XDPDNS, "detach", name])


def test_a_pattern_that_matches_nothing(lab: Lab) -> None:
    done = lab.server.run([XDPDNS, "attach", "eth*", "wlan*"], check=False)
    assert done.returncode == 1
    assert "wlan*" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert lab.server.xdp_program() is None
    assert lab.server.run([XDPDNS, "attach"], check=False).returncode == 2


@pytest.mark.alone
@pytest.mark.parametrize("options", [(), ("--keep",), ("--hook", "tcx")])
def test_the_supervisor_is_killed(tidy: Lab, options: tuple[str, ...]) -> None:
    lab = tidy
    agent = Agent(lab, *options)
    ask(lab, 3)
    [supervisor] = supervisors(agent.process.pid)
    os.kill(supervisor, signal.SIGKILL)
    becomes(lab, "unwatched", timeout=0.9)
    assert counted(lab) == 3
    wait_until("the agent ends", lambda: agent.process.exited is not None, 3.0)
    assert agent.process.exited == 1
    assert "has ended" in agent.process.log
    assert "Traceback" not in agent.process.log
    if "--keep" in options:
        ask(lab, 2)
        again = Agent(lab, *options)
        assert counted(lab) == 5
        again.process.stop(signal.SIGINT)
    if "tcx" in options:
        Agent(lab, *options).process.stop(signal.SIGINT)


@pytest.mark.parametrize("keep", [False, True])
def test_the_agent_is_killed(tidy: Lab, keep: bool) -> None:
    lab = tidy
    agent = Agent(lab, *(["--keep"] if keep else []))
    [supervisor] = supervisors(agent.process.pid)
    agent.process.stop(signal.SIGKILL)
    wait_until("the supervisor ends", lambda: not Path(f"/proc/{supervisor}").exists(), 5.0)
    assert (lab.server.xdp_program() is not None) == keep


def test_an_agent_that_hangs_is_told_when_it_goes_on(lab: Lab) -> None:
    """The supervisor does its work meanwhile, and keeps only the latest of each message."""
    agent = Agent(lab)
    os.kill(agent.process.pid, signal.SIGSTOP)
    for _ in range(3):
        lab.new_cable()
        wait_until("it is attached", lambda: lab.server.xdp_program() is not None, 2.0)
    os.kill(agent.process.pid, signal.SIGCONT)
    becomes(lab, "up")
    ask(lab, 3)
    assert counted(lab) == 3
    agent.stop()


def test_real_queries_after_it_came_back(lab: Lab) -> None:
    agent = Agent(lab)
    lab.new_cable()
    becomes(lab, "up")
    start_nsd(lab)
    dnsperf(lab, ["example.com. A"] * 1000)
    assert counted(lab) == 1000
    assert scrape(lab.server).packets == lab.quiet()
    agent.stop()
