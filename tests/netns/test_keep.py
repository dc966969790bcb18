"""`attach --keep`: whatever becomes of the agent, every query is counted, and counted once.

The other side of each equation is the interface's own counter, which xdpdns never reads.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.netns.actors import XDPDNS, Agent, dnsperf, start_nsd
from tests.netns.foreign import by_ip_link, unhook
from tests.netns.lab import Lab, Process
from tests.netns.mix import known_mix

PINS = Path("/sys/fs/bpf/xdpdns")
ENDS = int(os.environ.get("XDPDNS_KEEP_ENDS", "5"))
"""How often the agent is stopped, and how often it is killed: the suite's 5, or 50 for a proof."""


@pytest.fixture
def kept(lab: Lab) -> Iterator[Lab]:
    """The lab; what was kept in it is removed at the end."""
    yield lab
    lab.end_processes()
    lab.server.run([XDPDNS, "detach", "eth0"], check=False)


def place(lab: Lab) -> Path:
    inode = Path("/run/netns", lab.server.name).stat().st_ino
    return PINS / f"{inode}-{lab.server.link()['ifindex']}"


def load(lab: Lab, seconds: int) -> Process:
    """Dnsperf at full rate, until it is told to stop."""
    data = lab.tmp / "load.data"
    data.write_text("".join(f"example.{tld}. A\n" for tld in ("com", "org", "nl", "de")))
    argv = ["dnsperf", "-s", "192.0.2.1", "-d", str(data), "-l", str(seconds), "-q", "50"]
    process = lab.start(lab.client, argv, "dnsperf")
    process.wait_until("queries", lambda: lab.server.rx_packets() > 1000)
    return process


def sent(process: Process) -> int:
    """What dnsperf says that it sent, once it was told to stop."""
    process.stop(signal.SIGINT)
    found = re.search(r"Queries sent: +(\d+)", process.log)
    assert found, process.log
    return int(found[1])


def adds_up(lab: Lab, agent: Agent, queries: int) -> None:
    """Every packet that the interface received was counted, and every query in a row."""
    received = lab.quiet()
    found = agent.scrape()
    assert found.packets == received
    # what dnsperf no longer waits for when it is told to stop, its kernel answers by ICMP
    assert found.outcomes - Counter(not_udp=received) == {"query": queries}
    assert found.queries == queries


def refusal(lab: Lab, *options: str) -> str:
    """The one line with which `attach` refuses."""
    argv = [XDPDNS, "attach", "eth0", "--web.listen-address", "127.0.0.1:10531", *options]
    done = lab.server.run(argv, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.timeout(120 + 30 * ENDS)
@pytest.mark.parametrize("mode", ["native", "generic"])
def test_restarts_and_kills_under_load_lose_nothing(kept: Lab, mode: str) -> None:
    lab = kept
    start_nsd(lab)
    began = time.monotonic()
    agent = Agent(lab, "--keep", "--mode", mode, compiles=True)
    start = time.monotonic() - began
    first = lab.server.xdp_program()
    perf = load(lab, 60 + 30 * ENDS)
    process = agent.process
    chance = random.Random(4)
    ends = [signal.SIGTERM] * ENDS + [signal.SIGKILL] * ENDS
    chance.shuffle(ends)
    programs = {first}
    for number in ends:
        # from before the compiler is done until long after the first look
        time.sleep(chance.uniform(0.0, 2.5 * start + 1.0))
        code = process.stop(number)
        # before its first line Python dies of either
        assert code == -number or (code == 0 and number == signal.SIGTERM), process.log
        assert "Traceback" not in process.log
        programs.add(lab.server.xdp_program())
        assert None not in programs
        argv = [XDPDNS, "attach", "eth0", "--keep", "--mode", mode]
        process = lab.start(lab.server, argv, "agent")
    time.sleep(0.1)
    process.stop(signal.SIGKILL)
    agent = Agent(lab, "--keep", "--mode", mode)
    queries = sent(perf)

    assert queries > 5000
    adds_up(lab, agent, queries)
    assert len(programs) > 2  # it was replaced in fact
    process = agent.process
    assert process.stop(signal.SIGTERM) == 0


def test_twenty_upgrades_under_load(kept: Lab) -> None:
    lab = kept
    start_nsd(lab)
    agent = Agent(lab, "--keep")
    perf = load(lab, 100)
    programs = [lab.server.xdp_program()]
    upgrades = 20 if ENDS >= 20 else 5
    for _ in range(upgrades):
        agent.process.stop(signal.SIGINT)
        agent = Agent(lab, "--keep")
        programs.append(lab.server.xdp_program())
    queries = sent(perf)
    assert len(set(programs)) == upgrades + 1
    adds_up(lab, agent, queries)


def test_it_counts_while_no_agent_runs(kept: Lab) -> None:
    lab = kept
    start_nsd(lab)
    agent = Agent(lab, "--keep")
    mix = known_mix(1000)
    dnsperf(lab, [one.wire for one in mix])
    before = agent.scrape()
    agent.process.stop(signal.SIGINT)
    assert lab.server.xdp_program() is not None
    dnsperf(lab, [one.wire for one in mix])
    agent = Agent(lab, "--keep")
    found = agent.scrape()
    assert found.queries == 2000
    for dimension in ("tld", "qtype", "edns"):
        once = before.by(dimension)
        assert found.by(dimension) == {value: 2 * count for value, count in once.items()}
    assert "going on from the counters" in agent.process.log


def test_other_options_start_anew_and_leave_the_old_counters(kept: Lab) -> None:
    lab = kept
    start_nsd(lab)
    agent = Agent(lab, "--keep")
    dnsperf(lab, ["example.com. A"] * 100)
    agent.process.stop(signal.SIGINT)
    [old] = [path.parent for path in place(lab).glob("*/queries")]

    agent = Agent(lab, "--keep", "--labels", "tld")
    assert "queries were counted with other options" in agent.process.log
    assert str(old) in agent.process.log
    dnsperf(lab, ["example.org. A"] * 50)
    assert agent.scrape().by("tld") == {"org": 50}
    assert (old / "queries").exists()
    agent.process.stop(signal.SIGKILL)

    # The old options don't find the old counters: others have counted since, and to go on from
    # them would be a rise that nobody sent. They are there all the same.
    agent = Agent(lab, "--keep")
    assert agent.scrape().by("tld") == {}
    dnsperf(lab, ["example.nl. A"] * 10)
    agent.process.stop(signal.SIGINT)
    assert (place(lab) / f"old-{old.name}" / "queries").exists()
    assert len(list(place(lab).glob("*/queries"))) == 3
    agent = Agent(lab, "--keep")
    assert agent.scrape().by("tld") == {"nl": 10}
    agent.process.stop(signal.SIGINT)
    lab.server.run([XDPDNS, "detach", "eth0"])
    assert lab.server.xdp_program() is None
    assert not place(lab).exists()


def test_a_second_agent_refuses(kept: Lab) -> None:
    lab = kept
    agent = Agent(lab, "--keep")
    ours = lab.server.xdp_program()
    assert "another xdpdns counts on eth0" in refusal(lab, "--keep")
    runs = f"runs as pid {agent.process.pid}: end that one first."
    assert runs in refusal(lab)
    for options in ((), ("--keep",)):  # rather than that it has the port
        assert runs in refusal(lab, *options, "--web.listen-address", ":10530")
    assert lab.server.xdp_program() == ours
    assert agent.process.exited is None


def test_what_was_kept_is_named_as_such(kept: Lab) -> None:
    """By who stops, by `status`, by a refusal, and by the next agent, side by side."""
    lab = kept
    agent = Agent(lab, "--keep")
    before = time.time()
    agent.process.stop(signal.SIGINT)
    assert "Stopping; eth0 is counted on, as --keep says" in agent.process.log
    assert "`xdpdns detach eth0` ends it." in agent.process.log
    assert "`xdpdns attach eth0 --keep` goes on from its counters" in refusal(lab)
    agent = Agent(lab, "--keep", "--labels", "qtype")
    assert "going on from the counters of responses that were kept." in agent.process.log
    assert "queries were counted with other options" in agent.process.log
    agent.process.stop(signal.SIGINT)
    said = json.loads(lab.server.run([XDPDNS, "status", "--output", "json"]).stdout)
    programs = [one for link in said["interfaces"] for one in link["programs"]]
    since = {
        one["counts"][0]: datetime.fromisoformat(one["counting_since"]).timestamp()
        for one in programs
        if one["kept"]
    }
    assert since["responses"] < before < since["queries"]


def test_where_ip_netns_exec_would_take_the_pins_with_it(kept: Lab) -> None:
    lab = kept
    argv = ["ip", "netns", "exec", lab.server.name, XDPDNS, "attach", "eth0", "--keep"]
    done = subprocess.run(argv, text=True, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert f"use `--netns {lab.server.name}` in place of `ip netns exec`" in done.stderr
    assert lab.server.xdp_program() is None


def test_another_mode_is_refused(kept: Lab) -> None:
    Agent(kept, "--keep", "--mode", "generic").process.stop(signal.SIGINT)
    assert "xdpdns detach eth0" in refusal(kept, "--keep", "--mode", "native")


def test_a_start_that_fails_keeps_nothing_of_its_own(kept: Lab) -> None:
    lab = kept
    taken = Agent(lab, interfaces=["lo"])
    argv = [XDPDNS, "attach", "eth0", "--keep"]
    assert lab.server.run(argv, check=False).returncode == 1  # the port is in use
    assert lab.server.xdp_program() is None
    assert not place(lab).exists()
    taken.process.stop()


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_another_program_is_never_touched(kept: Lab, mode: str) -> None:
    lab = kept
    by_ip_link(lab, mode)
    owner = lab.server.xdp_program()
    refusal(lab, "--keep")
    assert not place(lab).exists()
    lab.server.run([XDPDNS, "detach", "eth0"], check=False)
    assert lab.server.xdp_program() == owner
    assert not place(lab).exists()


@pytest.mark.parametrize("options", [("--no-responses",), ()])
def test_another_program_took_the_place_of_ours(kept: Lab, options: tuple[str, ...]) -> None:
    lab = kept
    start_nsd(lab)
    agent = Agent(lab, "--keep", "--mode", "native", *options)
    dnsperf(lab, ["example.com. A"] * 100)
    agent.process.stop(signal.SIGKILL)
    unhook(lab)
    by_ip_link(lab, "native")
    owner = lab.server.xdp_program()
    refusal(lab, "--keep", *options)
    assert lab.server.xdp_program() == owner
    # its pins are no obstacle to whoever comes later
    lab.server.run(["ip", "link", "set", "dev", "eth0", "xdpdrv", "off"])
    agent = Agent(lab, "--keep", *options)
    if options:
        assert "Stale pins" in agent.process.log
        assert agent.scrape().queries == 0
    else:  # the program for responses is still there; nobody knows who counted queries since
        assert "going on from the counters of responses that were kept" in agent.process.log
        assert agent.scrape().queries == 0


def test_pins_of_a_removed_interface_go(kept: Lab) -> None:
    lab = kept
    lab.server.run(["ip", "link", "add", "gone0", "type", "veth", "peer", "gone1"])
    lab.server.run(["ip", "link", "set", "gone0", "up"])
    index = lab.server.link("gone0")["ifindex"]
    agent = Agent(lab, "--keep", interfaces=["gone0"])
    agent.process.stop(signal.SIGKILL)
    folder = place(lab).with_name(place(lab).name.split("-")[0] + f"-{index}")
    assert any(folder.iterdir())
    lab.server.run(["ip", "link", "del", "gone0"])
    done = lab.server.run([XDPDNS, "detach", "eth0"])
    assert f"index {index}" in done.stdout
    assert not folder.exists()


def test_a_read_only_bpffs_has_a_sentence(kept: Lab) -> None:
    """In a mount namespace of its own, so that nobody else meets it."""
    lab = kept
    script = (
        "mount -t bpf bpf /sys/fs/bpf && mount -o remount,ro /sys/fs/bpf && "
        f"exec {XDPDNS} attach eth0 --keep"
    )
    done = lab.server.run(["unshare", "--mount", "bash", "-c", script], check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Read-only file system" in done.stderr
    assert lab.server.xdp_program() is None


def test_detach_without_an_agent_says_what_it_did(kept: Lab) -> None:
    lab = kept
    Agent(lab, "--keep").process.stop(signal.SIGKILL)
    said = lab.server.run([XDPDNS, "detach", "eth0"]).stdout
    assert "took off program" in said
    assert "unpinned" in said
    assert lab.server.xdp_program() is None
    assert not place(lab).exists()


@pytest.mark.parametrize("options", [(), ("--keep",)])
def test_detach_refuses_while_an_agent_runs(kept: Lab, options: tuple[str, ...]) -> None:
    """It would attach again at once, and its pins would be gone."""
    lab = kept
    agent = Agent(lab, *options)
    program = lab.server.xdp_program()
    refused = lab.server.run([XDPDNS, "detach", "eth0"], check=False)
    assert refused.returncode == 1
    assert str(agent.process.pid) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert lab.server.xdp_program() == program
    assert place(lab).exists() == bool(options)
    agent.process.stop(signal.SIGINT)


def test_bpffs_is_mounted_if_absent() -> None:
    """Wherever these tests ran, it is there afterwards: xdpdns needs no preparation."""
    found = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "/sys/fs/bpf"], capture_output=True)
    assert found.stdout.split()[-1:] == [b"bpf"]
