"""`xdpdns sample` on a nameserver's and on a client's interface: what it says is what was sent."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import packets as p
from tests.netns.actors import XDPDNS, Agent, start_nsd
from tests.netns.foreign import apart
from tests.netns.lab import (
    CLIENT4,
    CLIENT6,
    SERVER4,
    SERVER6,
    Lab,
    Namespace,
    Process,
    wait_until,
)
from tests.netns.terminal import Terminal
from tests.netns.test_at_tc import send_frames, tagged
from tests.schemas import valid
from xdpdns import kernel
from xdpdns.errors import KernelError
from xdpdns.hooks import Hooks
from xdpdns.sample.program import NAME

HOOKS = ["tcx", "clsact"]
SERVERS = {4: SERVER4, 6: SERVER6}
CLIENTS = {4: CLIENT4, 6: CLIENT6}
QUERIES = 170  # by each address family; of 17 one is let through

ONE_IN_17 = """\
table netdev throttle {
  chain leaving {
    type filter hook egress device eth0 priority 0
    udp sport 53 numgen inc mod 17 != 0 drop
  }
}
"""

DROP = """\
struct xdp_md { unsigned data, data_end; };
/* Answers whose ID is no multiple of 17. */
__attribute__((section("xdp"), used)) int drop(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 64 > end)
		return 2; /* XDP_PASS */
	unsigned char *udp = data + (data[12] == 0x86 ? 54 : 34);
	return udp[0] == 0 && udp[1] == 53 && (udp[8] << 8 | udp[9]) % 17 ? 1 /* XDP_DROP */ : 2;
}
char _license[] __attribute__((section("license"), used)) = "GPL";
"""


def at(namespace: Namespace, interface: str = "eth0") -> list[tuple[str, str, int]]:
    """Every program on an interface: hook, direction, id."""

    def look() -> list[tuple[str, str, int]]:
        with Hooks() as hooks:
            link = hooks.link(interface)
            return [(one.hook, one.direction, one.program_id) for one in hooks.found(link)]

    return namespace.inside(look)


def open_samples(namespace: Namespace, interface: str = "eth0") -> list[list[int]]:
    """Of each sample's program at the ingress that counts by now the ids of its maps."""
    found = []
    for _, direction, ident in at(namespace, interface):
        try:
            program = kernel.prog_fd(ident)
        except KernelError:
            continue
        info = kernel.prog_info(program)
        os.close(program)
        if info.name != NAME or direction != "ingress":
            continue
        for one in info.map_ids:
            fd = kernel.map_fd(one)
            if kernel.map_info(fd).name == "sample_gate" and any(
                kernel.map_lookup(fd, bytes(4), 8)
            ):
                found.append(list(info.map_ids))
            os.close(fd)
    return found


def start(
    lab: Lab, namespace: Namespace, *options: str, interface: str = "eth0", samples: int = 1
) -> Process:
    """A sample that counts when this returns."""
    argv = [XDPDNS, "sample", interface, "--output", "json", *options]
    process = lab.start(namespace, argv, "sample")
    process.wait_until(
        "the sample's begin", lambda: len(open_samples(namespace, interface)) == samples, 60
    )
    return process


def result(process: Process, code: int = 0) -> Any:
    """What a sample that ends by itself has printed."""
    wait_until("the sample's end", lambda: process.exited is not None, 30)
    assert process.exited == code, process.log
    return valid("sample", process.log.splitlines()[0])


def ask(lab: Lab, count: int = QUERIES, qtype: int = p.A) -> dict[int, int]:
    """Queries with the IDs 0, 1, ... by each family; how many answers the client got."""
    got = {}
    for af, server in SERVERS.items():

        def make(af: int = af) -> socket.socket:
            return socket.socket(socket.AF_INET6 if af == 6 else socket.AF_INET, socket.SOCK_DGRAM)

        with lab.client.inside(make) as sock:
            for number in range(count):
                query = p.dns_query("www.example", qtype, ident=number)
                sock.sendto(query, (server, 53))  # not connected: ICMP errors are not its own
                if number % 32 == 31:
                    lab.quiet(0.05)  # veth's ring holds 256
            lab.quiet()
            got[af] = 0
            sock.setblocking(False)
            try:
                while sock.recv(512):
                    got[af] += 1
            except BlockingIOError:
                continue
    return got


def exchanges(found: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    return {one["address"]: (one["queries"], one["answers"]) for one in found}


def figures(found: Any, name: str) -> dict[str, Any]:
    [one] = [one for one in found["verdicts"] if one["name"] == name]
    return dict(one)


def adds_up(found: Any) -> None:
    """Packets are all of their parts, and sides all of their addresses."""
    parts = ("queries", "answers", "other_dns", "tcp_segments", "other_packets")
    for way in ("in", "out"):
        assert found[way]["packets"] == sum(found[way][part] for part in parts)
        assert min(found[way].values()) >= 0
    for side, peers, asked, answered in (
        ("server", "clients", "in", "out"),
        ("client", "servers", "out", "in"),
    ):
        one = found[side]
        for kind, way in (("queries", asked), ("answers", answered)):
            listed = sum(peer[kind] for peer in one[peers])
            assert one[kind] == found[way][kind]
            assert one[kind] == listed + one["others"][kind] + one["unlisted"][kind]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_server_that_is_throttled(lab: Lab, hook: str) -> None:
    """16 of 17 answers are dropped before they leave: netfilter's egress comes before TC."""
    start_nsd(lab)
    lab.server.run(["nft", "-f", "-"], stdin=ONE_IN_17)
    let_through = 2 * QUERIES // 17
    packets = str(2 * QUERIES + let_through)
    server = start(lab, lab.server, "-c", packets, "--hook", hook)
    client = start(lab, lab.client, "-c", packets, "--hook", hook)
    got = ask(lab)
    assert sum(got.values()) == let_through

    found = result(server)
    adds_up(found)
    assert (found["ended"], found["hook"]) == ("packets", hook)
    assert found["in"]["packets"] == found["in"]["queries"] == 2 * QUERIES
    assert found["out"]["packets"] == found["out"]["answers"] == let_through
    assert found["server"]["queries_per_answer"] == 17
    assert exchanges(found["server"]["clients"]) == {
        CLIENTS[af]: (QUERIES, count) for af, count in got.items()
    }
    assert found["client"]["servers"] == []
    assert found["flags"] == {
        "throttled": True,
        "silent": False,
        "unanswered": None,
        "unasked": None,
        "one_client": False,
        "mostly_any": False,
        "mostly_truncated": None,
    }
    throttled = figures(found, "throttled")
    assert (throttled["count"], throttled["of"]) == (let_through, 2 * QUERIES)
    assert throttled["value"] == round(1 / 17, 6) < throttled["threshold"]

    found = result(client)  # the same from the other end
    adds_up(found)
    assert found["client"]["queries_per_answer"] == 17
    assert exchanges(found["client"]["servers"]) == {
        SERVERS[af]: (QUERIES, count) for af, count in got.items()
    }
    assert found["server"]["clients"] == []
    assert (found["flags"]["unanswered"], found["flags"]["throttled"]) == (True, None)
    assert figures(found, "unanswered")["value"] == round(1 / 17, 6)
    assert at(lab.server) == at(lab.client) == []


@pytest.mark.parametrize("hook", HOOKS)
def test_a_client_whose_answers_are_dropped_on_the_way(lab: Lab, hook: str) -> None:
    """The server has answered all of them: that is told apart."""
    start_nsd(lab)
    source, target = lab.tmp / "drop.c", lab.tmp / "drop.o"
    source.write_text(DROP)
    argv = ["clang", "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(target)]
    subprocess.run(argv, check=True, timeout=60)
    attach = f"ip link set dev eth0 xdpgeneric obj {target} sec xdp"
    lab.client.run(["unshare", "--mount", "--propagation", "private", *attach.split()])
    answered = QUERIES // 17
    server = start(lab, lab.server, "-c", str(4 * QUERIES), "--hook", hook)
    client = start(lab, lab.client, "-c", str(2 * (QUERIES + answered)), "--hook", hook)
    assert ask(lab) == {4: answered, 6: answered}

    found = result(server)
    adds_up(found)
    assert found["server"]["queries_per_answer"] == 1
    assert exchanges(found["server"]["clients"]) == dict.fromkeys(
        CLIENTS.values(), (QUERIES, QUERIES)
    )
    assert found["flags"]["throttled"] is found["flags"]["silent"] is False

    found = result(client)
    adds_up(found)
    assert found["client"]["queries_per_answer"] == 17
    assert exchanges(found["client"]["servers"]) == dict.fromkeys(
        SERVERS.values(), (QUERIES, answered)
    )
    unanswered = figures(found, "unanswered")
    assert (unanswered["state"], unanswered["count"], unanswered["of"]) == (
        "yes",
        2 * answered,
        2 * QUERIES,
    )


def test_nobody_answers(lab: Lab) -> None:
    """The kernel's ICMP errors are packets, and no answers."""
    sample = start(lab, lab.server, "--seconds", "4")
    ask(lab, 60, p.ANY)
    found = result(sample)
    adds_up(found)
    assert (found["ended"], found["in"]["queries"], found["in"]["any_queries"]) == (
        "seconds",
        120,
        120,
    )
    assert found["out"]["answers"] == 0 < found["out"]["other_packets"]
    assert found["server"]["queries_per_answer"] is None
    flags = found["flags"]
    assert (flags["silent"], flags["throttled"], flags["mostly_any"]) == (True, False, True)
    assert found["seconds"] == pytest.approx(4, abs=0.5)


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


def test_more_clients_than_the_table_has_room_for(lab: Lab) -> None:
    sample = start(
        lab, lab.server, "-c", "300", "--max-addresses", "20", "--top", "5", "--port", "53,5300"
    )
    frames = []
    for number in range(100):
        for port in (53, 5300, 5301):
            frame = bytearray(p.frame4(p.dns_query("www.example"), dport=port))
            frame[26:30] = socket.inet_aton(f"198.51.100.{number}")
            frames.append(bytes(frame))
    send_frames(lab, frames)
    found = result(sample)
    adds_up(found)
    assert found["in"]["packets"] == 300
    side = found["server"]
    assert (side["queries"], side["addresses"], len(side["clients"])) == (200, 20, 5)
    assert {one["queries"] for one in side["clients"]} == {2}
    assert (side["others"]["queries"], side["unlisted"]["queries"]) == (30, 160)


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


def test_loopback_and_text_in_a_pipe(lab: Lab) -> None:
    """A packet leaves by the loopback and comes in by it."""
    argv = [XDPDNS, "sample", "lo", "-c", "60", "--min-messages", "20"]
    sample = lab.start(lab.server, argv, "sample")
    sample.wait_until("its begin", lambda: len(open_samples(lab.server, "lo")) == 1, 60)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 53))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                for _ in range(30):
                    client.sendto(p.dns_query("www.example"), ("127.0.0.1", 53))
            time.sleep(0.1)

    lab.server.inside(send)
    wait_until("the end", lambda: sample.exited is not None)
    assert sample.exited == 0
    lines = [" ".join(line.split()) for line in sample.log.splitlines()]
    assert sample.log.startswith("lo: 60 packets in 0.")
    assert "DNS queries (UDP) 30 30" in lines
    assert lines.count("127.0.0.1 30 0 none answered") == 2
    assert "silent yes 0.0% = 0% 0 answers left, 30 queries came" in lines
    assert "silent: this machine answers nobody" in sample.log
    assert "\x1b" not in sample.log


def test_vlans(lab: Lab) -> None:
    """The outermost tag lies beside the frame by then; the third is one too many."""
    sample = start(lab, lab.server, "-c", "16")
    datagram = p.udp(p.dns_query("www.example"))
    stacks = ((), (p.DOT1Q,), (p.DOT1AD, p.DOT1Q), (p.DOT1AD, p.DOT1Q, p.DOT1Q))
    packets = ((p.IPV4, p.ipv4(datagram)), (p.IPV6, p.ipv6(datagram)))
    frames = [tagged(packet, kind, *tags) for kind, packet in packets for tags in stacks]
    send_frames(lab, frames * 2)
    found = result(sample)
    adds_up(found)
    assert (found["in"]["queries"], found["in"]["other_packets"]) == (12, 4)
    assert {one["queries"] for one in found["server"]["clients"]} == {6}


def test_a_message_in_pieces(lab: Lab) -> None:
    """A driver may leave a packet in pieces, of which a program at TC sees the first alone."""

    def make() -> int:
        fd = os.open("/dev/net/tun", os.O_RDWR)
        flags = 0x0002 | 0x1000 | 0x0010 | 0x0020  # IFF_TAP, IFF_NO_PI, IFF_NAPI, IFF_NAPI_FRAGS
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"tap0", flags))  # TUNSETIFF
        return fd

    tap = lab.server.inside(make)
    try:
        lab.server.run(["ip", "link", "set", "tap0", "addrgenmode", "none", "up"])
        sample = start(lab, lab.server, "-c", "40", interface="tap0")
        for dns in (p.dns_query("www.example", p.ANY), p.dns_query("www.example", qr=1)):
            for frame in (p.frame4(dns), p.frame6(dns)):
                for size in range(14, 24):
                    pieces = [frame[:14], frame[14:60], frame[60 : 60 + size], frame[60 + size :]]
                    os.writev(tap, [piece for piece in pieces if piece])
        found = result(sample)
    finally:
        os.close(tap)
    adds_up(found)
    assert found["in"]["queries"] == found["in"]["any_queries"] == 20
    assert found["in"]["other_dns"] == 20  # answers that don't come from the port


def test_on_a_terminal(lab: Lab) -> None:
    """A bar while it runs, the result after Ctrl-C; the interface is the only one there is."""
    start_nsd(lab)
    with Terminal(lab.server, [XDPDNS, "sample", "-c", "1000"], 100, 40) as terminal:
        wait_until("its begin", lambda: len(open_samples(lab.server)) == 1, 60)
        assert ask(lab, 25) == {4: 25, 6: 25}
        terminal.wait_for("100 of 1,000 packets")
        terminal.type("C-c")
        lines = terminal.wait_for("eth0: 100 packets in")
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
