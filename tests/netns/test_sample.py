"""`xdpdns sample` on a nameserver's and on a client's interface: what it says is what was sent."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests import packets as p
from tests.netns.actors import XDPDNS, start_nsd
from tests.netns.lab import Lab, wait_until
from tests.netns.sampling import (
    CLIENTS,
    HOOKS,
    QUERIES,
    SERVERS,
    adds_up,
    ask,
    at,
    open_samples,
    result,
    start,
)
from tests.netns.test_at_tc import send_frames, tagged

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


def exchanges(found: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    return {one["address"]: (one["queries"], one["answers"]) for one in found}


def figures(found: Any, name: str) -> dict[str, Any]:
    [one] = [one for one in found["verdicts"] if one["name"] == name]
    return dict(one)


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
