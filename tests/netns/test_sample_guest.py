"""`xdpdns sample` as a guest: beside others, on a terminal, and whatever its end is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.actors import XDPDNS, Agent, start_nsd
from tests.netns.foreign import apart
from tests.netns.lab import Lab, wait_until
from tests.netns.sampling import (
    HOOKS,
    QUERIES,
    adds_up,
    ask,
    at,
    open_samples,
    result,
    start,
)
from tests.netns.terminal import Terminal


@pytest.mark.parametrize("hook", ["xdp", *HOOKS])
def test_beside_an_agent(lab: Lab, hook: str) -> None:
    """The agent's programs stay where they are and count the same."""
    start_nsd(lab)
    agent = Agent(lab, "--hook", hook)
    before = at(lab.server)
    assert len(before) == 2
    options = ["--hook", hook] if hook in HOOKS else []
    sample = start(lab, lab.server, "-c", str(4 * QUERIES), *options)
    during = at(lab.server)
    assert [one for one in during if one in before] == before
    assert len(during) == 4
    assert ask(lab) == {4: QUERIES, 6: QUERIES}
    found = result(sample)
    assert at(lab.server) == before
    scraped = agent.scrape()
    assert found["in"]["queries"] == scraped.queries == 2 * QUERIES
    assert found["out"]["answers"] == scraped.responses == 2 * QUERIES
    assert scraped.total("xdpdns_packets_total") == found["in"]["packets"] + found["out"]["packets"]
    assert ask(lab, 10) == {4: 10, 6: 10}
    assert agent.scrape().queries == 2 * QUERIES + 20
    agent.stop()


def test_an_agent_that_comes_meanwhile(lab: Lab) -> None:
    start_nsd(lab)
    sample = start(lab, lab.server, "-c", "80", "--hook", "clsact")
    agent = Agent(lab, "--hook", "clsact")
    assert ask(lab, 20) == {4: 20, 6: 20}
    assert result(sample)["server"]["queries"] == 40
    assert len(at(lab.server)) == 2
    assert ask(lab, 20) == {4: 20, 6: 20}
    assert agent.scrape().queries == 80
    agent.stop()


def test_other_commands_leave_it_alone(lab: Lab) -> None:
    """It is no agent's program: not for status, nor for detach, nor for top."""
    start_nsd(lab)
    sample = start(lab, lab.server, "-c", "40")
    before = at(lab.server)
    shown = lab.server.run([XDPDNS, "status"]).stdout
    assert shown.count("xdpdns_sample") == 2
    assert "(not ours)" not in shown
    assert "nothing of xdpdns is attached" in lab.server.run([XDPDNS, "detach", "eth0"]).stdout
    assert at(lab.server) == before
    top = lab.server.run([XDPDNS, "top", "eth0", "--once", "--interval", "0.1"]).stdout
    assert "eth0 (native)" in top  # a program of its own
    assert ask(lab, 10) == {4: 10, 6: 10}
    assert result(sample)["server"]["queries"] == 20


def test_two_samples_at_once(lab: Lab) -> None:
    start_nsd(lab)
    samples = [
        start(lab, lab.server, "-c", str(packets), samples=number)
        for number, packets in enumerate((80, 40), 1)
    ]
    assert ask(lab, 20) == {4: 20, 6: 20}
    founds = [result(one) for one in samples]
    assert [one["in"]["packets"] + one["out"]["packets"] for one in founds] == [80, 40]
    assert founds[0]["server"]["queries"] == 40


def test_a_second_sample_at_clsact(lab: Lab) -> None:
    """Refused; and the command that it names takes off what nobody is left to take off."""
    start_nsd(lab)
    sample = start(lab, lab.server, "--seconds", "100", "--hook", "clsact")
    [child] = Path(f"/proc/{sample.pid}/task/{sample.pid}/children").read_text().split()
    before = at(lab.server)
    argv = [XDPDNS, "sample", "eth0", "--seconds", "0.1", "--hook", "clsact"]
    refused = lab.server.run(argv, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "a sample is being taken at clsact of eth0 already" in refused.stderr
    assert at(lab.server) == before
    os.kill(int(child), signal.SIGKILL)
    sample.kill()
    assert at(lab.server) == before
    lab.server.run(["bash", "-ec", refused.stderr.split("`")[1]])
    assert at(lab.server) == []
    assert lab.server.run(argv).stdout.startswith("eth0: 0 packets")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_result_so_far(lab: Lab, hook: str, number: signal.Signals) -> None:
    start_nsd(lab)
    sample = start(lab, lab.server, "-c", "1000000", "--hook", hook)
    assert ask(lab, 30) == {4: 30, 6: 30}
    assert sample.stop(number) == 0
    found = result(sample)
    adds_up(found)
    assert (found["ended"], found["server"]["queries"]) == ("interrupted", 60)
    assert nothing_left(lab)


def nothing_left(lab: Lab) -> bool:
    """No program, and no qdisc where they were."""
    qdiscs = lab.server.run(["tc", "qdisc", "show", "dev", "eth0"]).stdout
    return at(lab.server) == [] and "clsact" not in qdiscs


@pytest.mark.parametrize("hook", HOOKS)
def test_sigkill_leaves_nothing(lab: Lab, hook: str) -> None:
    """No program, no qdisc, no map: no address outlives the process."""
    start_nsd(lab)
    sample = start(lab, lab.server, "--hook", hook, "--seconds", "100")
    [maps] = open_samples(lab.server)
    assert len(maps) == 3
    ask(lab, 5)
    sample.kill()
    wait_until("the programs' end", lambda: nothing_left(lab))

    def gone() -> bool:
        listed = subprocess.run(["bpftool", "-j", "map"], check=True, capture_output=True).stdout
        return not {one["id"] for one in json.loads(listed)} & {*maps}

    wait_until("the maps' end", gone)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_interface_goes_away(lab: Lab, hook: str) -> None:
    sample = start(lab, lab.server, "--hook", hook, "--seconds", "100")
    subprocess.run(["ip", "-n", lab.server.name, "link", "del", "eth0"], check=True)
    found = result(sample, code=1)
    assert found["ended"] == "gone"
    assert "Error: the interface eth0 went away meanwhile." in sample.log
    assert "Traceback" not in sample.log


def test_somebody_elses_qdisc_and_filter_stay(lab: Lab) -> None:
    apart(
        lab,
        "tc qdisc add dev eth0 clsact\n"
        "tc filter add dev eth0 ingress prio 7 protocol ip u32 match u32 0 0 flowid 1:1",
    )
    start_nsd(lab)
    shown = [["tc", *words.split()] for words in ("qdisc show", "filter show dev eth0 ingress")]
    before = [lab.server.run(argv).stdout for argv in shown]
    sample = start(lab, lab.server, "-c", "40", "--hook", "clsact")
    assert ask(lab, 10) == {4: 10, 6: 10}
    assert result(sample)["server"]["answers"] == 20
    assert [lab.server.run(argv).stdout for argv in shown] == before


def test_on_a_terminal(lab: Lab) -> None:
    """A bar while it runs, the result after Ctrl-C; the interface is the only one there is."""
    start_nsd(lab)
    with Terminal(lab.server, [XDPDNS, "sample", "-c", "1000"], 100, 40) as terminal:
        wait_until("its begin", lambda: len(open_samples(lab.server)) == 1, 60)
        assert ask(lab, 25) == {4: 25, 6: 25}
        terminal.wait_for("100 of 1,000 packets")
        terminal.type("C-c")
        terminal.wait_for("eth0: 100 packets in")
        lines = terminal.wait_for("all, as a server")
        wait_until("the end", lambda: terminal.exit_code == 0)
        assert not any("of 1,000" in line for line in lines)
        assert any(
            line.split() == ["all,", "as", "a", "server", "50", "50", "1.00"] for line in lines
        )


def test_which_interface(lab: Lab) -> None:
    subprocess.run(
        ["ip", "-n", lab.server.name, "link", "add", "veth7", "type", "veth"], check=True
    )
    lab.server.run(["ip", "link", "set", "veth7", "up"])
    done = lab.server.run([XDPDNS, "sample", "-c", "1"], check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "name an interface, as `xdpdns sample " in done.stderr
    assert "eth0" in done.stderr
    agent = Agent(lab)
    done = lab.server.run([XDPDNS, "sample", "--seconds", "0.1"])
    assert done.stdout.startswith("eth0: 0 packets")
    agent.stop()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["eth7"], 1, "there is no interface eth7"),
        (["eth0", "-c", "0"], 2, "--count"),
        (["eth0", "--seconds", "0"], 2, "--seconds"),
        (["eth0", "--throttle-ratio", "17"], 2, "--throttle-ratio"),
        (["eth0", "--port", "0"], 2, "0 is no port"),
        (["eth0", "--max-addresses", "0"], 2, "--max-addresses"),
        (["eth0", "eth1"], 2, "unexpected extra argument"),
        (["eth0", "--hook", "xdp"], 2, "--hook"),
        (["eth0", "--netns", "nowhere"], 1, "nowhere"),
    ],
)
def test_bad_input(lab: Lab, arguments: list[str], code: int, says: str) -> None:
    done = lab.server.run([XDPDNS, "sample", *arguments], check=False)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert at(lab.server) == []


def test_down_and_without_root(lab: Lab) -> None:
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    done = lab.server.run([*argv, sys.executable, "-m", "xdpdns", "sample", "eth0"], check=False)
    assert done.returncode == 1
    assert "run as root" in done.stderr
    lab.server.run(["ip", "link", "set", "eth0", "down"])
    done = lab.server.run([XDPDNS, "sample", "eth0"], check=False)
    assert done.returncode == 1
    assert "ip link set eth0 up" in done.stderr
