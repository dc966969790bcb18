"""Others' programs on every hook are untouched by all that xdpdns does and suffers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.netns.actors import XDPDNS, Agent, dig, kill_agent, start_nsd
from tests.netns.foreign import DISPATCHER, apart, compiled
from tests.netns.lab import Lab, wait_until
from tests.netns.neighbours import Neighbours, load
from xdpdns import kernel
from xdpdns.hooks import Found, Hooks

TC = ["tcx", "clsact"]


@pytest.fixture
def neighbours(lab: Lab) -> Iterator[Neighbours]:
    with Neighbours(lab) as made:
        yield made


def ingress(neighbours: Neighbours) -> list[Found]:
    """Ours that count what arrives; what leaves is another program's."""
    return [one for one in neighbours.found(ours=True) if one.direction == "ingress"]


def ask(lab: Lab, times: int) -> None:
    for _ in range(times):
        assert dig(lab, "example.nl.", "+norec") == "NOERROR"


@pytest.mark.parametrize("hook", TC)
def test_from_start_to_stop(lab: Lab, neighbours: Neighbours, hook: str) -> None:
    start_nsd(lab)
    agent = Agent(lab, "--hook", hook)
    assert neighbours.untouched()
    [ours] = ingress(neighbours)
    assert ours.hook == hook
    ask(lab, 2)
    neighbours.overtake()
    ask(lab, 3)
    assert agent.scrape().by("tld") == {"nl": 5}
    assert neighbours.untouched()
    assert agent.process.stop() == 0
    assert neighbours.found(ours=True) == []
    assert neighbours.untouched()
    ask(lab, 1)


@pytest.mark.parametrize("hook", TC)
@pytest.mark.parametrize("who", ["agent", "both"])
def test_killed(lab: Lab, neighbours: Neighbours, hook: str, who: str) -> None:
    agent = Agent(lab, "--hook", hook)
    neighbours.overtake()
    if who == "agent":
        os.kill(agent.process.pid, signal.SIGKILL)
    else:
        kill_agent(agent.process.pid)
    agent.process.stop()
    if who == "both" and hook == "clsact":
        assert len(ingress(neighbours)) == 1
        done = lab.server.run([XDPDNS, "detach", "eth0"])
        assert "took off" in done.stdout
    # a BPF link ends with the last process that holds it
    wait_until("ours is off", lambda: not neighbours.found(ours=True))
    assert neighbours.untouched()


@pytest.mark.parametrize("hook", TC)
def test_kept_taken_over_and_detached(lab: Lab, neighbours: Neighbours, hook: str) -> None:
    start_nsd(lab)
    agent = Agent(lab, "--hook", hook, "--keep")
    ask(lab, 1)
    [first] = ingress(neighbours)
    neighbours.overtake()
    kill_agent(agent.process.pid)
    agent.process.stop()
    assert ingress(neighbours) == [first]
    ask(lab, 1)
    agent = Agent(lab, "--hook", hook, "--keep")
    [second] = ingress(neighbours)
    assert second.program_id != first.program_id
    assert second.link_id == first.link_id
    ask(lab, 1)
    assert agent.scrape().by("tld") == {"nl": 3}
    assert agent.process.stop() == 0
    assert ingress(neighbours) == [second]
    assert neighbours.untouched()

    lab.server.run([XDPDNS, "detach", "eth0"])
    assert neighbours.found(ours=True) == []
    assert neighbours.untouched()


@pytest.mark.parametrize("hook", TC)
def test_a_second_agent_is_refused(lab: Lab, hook: str) -> None:
    with Neighbours(lab, xdp=False) as neighbours:
        agent = Agent(lab, "--hook", hook)
        argv = [XDPDNS, "attach", "eth0", "--web.listen-address", "127.0.0.1:10531"]
        refused = lab.server.run([*argv, "--hook", hook], check=False)
        assert refused.returncode == 1
        assert "is being counted already" in refused.stderr
        assert f"pid {agent.process.pid}: end that one first." in refused.stderr
        assert len(ingress(neighbours)) == 1
        assert neighbours.untouched()
        assert agent.process.stop() == 0


@pytest.mark.parametrize("keep", [[], ["--keep"]])
def test_an_xdp_program_held_by_a_bpf_link(
    lab: Lab, neighbours: Neighbours, keep: list[str]
) -> None:
    """The owner is named with its link and who holds it; attach and detach leave it."""
    [theirs] = [one for one in neighbours.before if one.hook == "xdp"]
    for mode in ("auto", "native", "generic"):
        refused = lab.server.run([XDPDNS, "attach", "eth0", "--mode", mode, *keep], check=False)
        assert refused.returncode == 1
        assert len(refused.stderr.splitlines()) == 1, refused.stderr
        assert f"program {theirs.program_id}, neighbour, native mode" in refused.stderr
        assert "held by the BPF link " in refused.stderr
        assert f"(pid {os.getpid()})" in refused.stderr
        assert "`--hook tcx` counts the same packets after" in refused.stderr
    refused = lab.server.run([XDPDNS, "detach", "eth0"], check=False)
    assert refused.returncode == 1
    assert "it stays" in refused.stderr
    assert neighbours.found(ours=True) == []
    assert neighbours.untouched()


def test_the_unit_may_not_ask_for_names(lab: Lab, neighbours: Neighbours) -> None:
    """Its capabilities attach, but open no programs by their id."""
    caps = "-all,+bpf,+net_admin,+perfmon"
    argv = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}", XDPDNS, "attach", "eth0"]
    refused = lab.server.run(argv, check=False)
    assert refused.returncode == 1
    [theirs] = [one for one in neighbours.before if one.hook == "xdp"]
    assert f"(program {theirs.program_id}, whose name `sudo xdpdns status` shows" in refused.stderr
    assert neighbours.untouched()


def test_status_shows_all_of_them_in_order(lab: Lab, neighbours: Neighbours) -> None:
    agent = Agent(lab, "--hook", "tcx")
    neighbours.overtake()
    said = lab.server.run([XDPDNS, "status", "--output", "json"]).stdout
    [eth0] = [one for one in json.loads(said)["interfaces"] if one["interface"] == "eth0"]
    shown = [
        (one["hook"], one["ours"]) for one in eth0["programs"] if one["direction"] == "ingress"
    ]
    assert shown == [
        ("xdp", False),
        *(("tcx", False), ("tcx", True), ("tcx", False)),
        *(("clsact", False), ("clsact", False)),
    ]
    agent.process.stop()


def test_detach_beside_an_xdp_program_of_others(lab: Lab, neighbours: Neighbours) -> None:
    """What is ours at TC goes, what is theirs at XDP stays, and that is no failure."""
    agent = Agent(lab, "--hook", "clsact")
    kill_agent(agent.process.pid)
    agent.process.stop()
    lab.server.run([XDPDNS, "detach", "eth0"])
    assert neighbours.found(ours=True) == []
    assert neighbours.untouched()


def test_the_owner_is_named_with_its_pin(lab: Lab) -> None:
    pins = lab.tmp / "a folder"
    said = apart(
        lab,
        f"mkdir '{pins}'; mount -t bpf bpffs '{pins}'\n"
        f"bpftool prog load {compiled(lab)} '{pins}/theirs' type xdp\n"
        f"bpftool net attach xdpgeneric pinned '{pins}/theirs' dev eth0\n"
        f"{XDPDNS} attach eth0 2>&1 || true",
    )
    assert f"foreign_pass, generic mode, pinned at {pins}/theirs" in said


def test_libxdps_dispatcher(lab: Lab) -> None:
    """The real dispatcher, put there and pinned as libxdp does; libxdp itself may not be able to.

    libxdp falls back to a single program where the kernel has no freplace.
    """
    if not DISPATCHER.exists():
        pytest.skip("needs xdp-tools")
    said = apart(
        lab,
        f"mount -t bpf bpffs /sys/fs/bpf; cp {DISPATCHER} {lab.tmp}/dispatcher.o\n"
        f"ip link set dev eth0 xdpgeneric obj {lab.tmp}/dispatcher.o sec xdp\n"
        "index=$(ip -o link show eth0 | cut -d: -f1)\n"
        "id=$(ip -d link show eth0 | sed -n 's/.*prog.xdp id \\([0-9]*\\).*/\\1/p')\n"
        "mkdir -p /sys/fs/bpf/xdp/dispatch-$index-$id\n"
        "cd /sys/fs/bpf/xdp/dispatch-$index-$id\n"
        f"bpftool prog load {compiled(lab)} $PWD/prog0-prog type xdp\n"
        f"{XDPDNS} attach eth0 2>&1 && exit 1\n"
        'ip -d link show eth0 | grep -q "prog.xdp id $id " && echo untouched',
    )
    assert "belongs to libxdp's dispatcher" in said
    assert "xdp_dispatcher, generic mode" in said
    assert "which runs foreign_pass" in said
    assert "`--hook tcx`" in said
    assert said.endswith("untouched\n")
    Agent(lab, "--hook", "tcx").process.stop()


def test_a_filter_of_another_kind_in_the_first_place(lab: Lab) -> None:
    lab.server.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"])
    filters = "tc filter add dev eth0 ingress prio 1 u32 match u8 0 0 classid 1:1"
    lab.server.run(filters.split())
    before = lab.server.run(["tc", "filter", "show", "dev", "eth0", "ingress"]).stdout
    refused = lab.server.run([XDPDNS, "attach", "eth0", "--hook", "clsact"], check=False)
    assert refused.returncode == 1
    assert "filters of kind u32 have priority 1 at clsact ingress of eth0" in refused.stderr
    assert lab.server.run(["tc", "filter", "show", "dev", "eth0", "ingress"]).stdout == before


def test_a_qdisc_that_others_have_come_to_use_stays(lab: Lab) -> None:
    agent = Agent(lab, "--hook", "clsact")
    filters = "tc filter add dev eth0 egress prio 2 u32 match u8 0 0 classid 1:1"
    lab.server.run(filters.split())
    assert agent.process.stop() == 0
    left = lab.server.run(["tc", "filter", "show", "dev", "eth0", "egress"]).stdout
    assert "pref 2 u32" in left
    assert "bpf" not in left
    assert lab.server.run(["tc", "filter", "show", "dev", "eth0", "ingress"]).stdout == ""


def test_a_program_of_others_under_our_handle(lab: Lab) -> None:
    """Nobody has reason to, but then it is theirs."""
    theirs = load(kernel.PROG_TYPE_SCHED_CLS, "theirs")

    def put() -> None:
        with Hooks() as hooks:
            hooks.attach("eth0", theirs, "clsact")

    lab.server.inside(put)
    refused = lab.server.run([XDPDNS, "attach", "eth0", "--hook", "clsact"], check=False)
    assert refused.returncode == 1
    assert "theirs, not xdpdns's: it stays" in refused.stderr
    lab.server.run([XDPDNS, "detach", "eth0"])
    shown = lab.server.run(["tc", "filter", "show", "dev", "eth0", "ingress"]).stdout
    assert f"id {kernel.prog_info(theirs).id} name theirs" in shown
    os.close(theirs)


def test_mode_is_of_xdp(lab: Lab) -> None:
    argv = [XDPDNS, "attach", "eth0", "--hook", "tcx", "--mode", "native"]
    refused = lab.server.run(argv, check=False)
    assert refused.returncode == 2
    assert "--mode native is of XDP" in refused.stderr
