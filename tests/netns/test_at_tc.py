"""`attach --hook tcx` and `--hook clsact` count what `--hook xdp` counts, packet for packet."""

from __future__ import annotations

import random
import signal
import socket

import pytest

from tests import packets as p
from tests.netns.actors import XDPDNS, dig, dnsperf, start_nsd
from tests.netns.lab import CLIENT_MAC, SERVER6, SERVER_MAC, Lab, Process
from tests.netns.mix import known_mix
from tests.netns.scrape import Scrape, http_get, scrape_when
from tests.netns.test_totals import adds_up, send_udp

# What a program says of itself, and so differs.
OWN = ("xdpdns_interface_info", "xdpdns_scrape", "xdpdns_build", "python_", "process_")


def start(lab: Lab, port: int, *options: str) -> Process:
    """An agent on the server's eth0; ready when this returns."""
    listen = ["--web.listen-address", f"127.0.0.1:{port}"]
    agent = lab.start(lab.server, [XDPDNS, "attach", "eth0", *listen, *options], f"agent-{port}")

    def ready() -> bool:
        try:
            return http_get(lab.server, "/-/ready", port=port).status == 200
        except ConnectionRefusedError:
            return False

    agent.wait_until("the agent's readiness", ready)
    return agent


def send_frames(lab: Lab, frames: list[bytes]) -> None:
    """Raw frames by the client's end of the cable."""
    sock = lab.client.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    with sock:
        lab.client.inside(lambda: sock.bind(("eth0", 0)))
        for number, frame in enumerate(frames):
            sock.send(frame)
            if number % 64 == 63:
                lab.quiet(0.02)  # veth's ring holds 256


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def tagged(payload: bytes, inner: int, *tags: int) -> bytes:
    """A frame for the server with VLAN tags, the outermost's protocol first."""
    kind = inner
    for tag in reversed(tags):
        payload, kind = p.vlan(payload, inner=kind), tag
    return p.ethernet(payload, ethertype=kind, dst=mac(SERVER_MAC), src=mac(CLIENT_MAC))


def vlan_mix() -> list[bytes]:
    """Queries without a tag and with up to three, over both families; and tags with nothing."""
    four, six = p.ipv4(p.udp(p.dns_query("vlan.example.nl"))), p.ipv6(p.udp(p.dns_query("six.de")))
    frames = []
    for times, tags in enumerate(
        (
            (),
            (0x8100,),
            (0x88A8,),
            (0x8100, 0x8100),
            (0x88A8, 0x8100),
            (0x88A8, 0x8100, 0x8100),
        ),
        start=1,
    ):
        frames += [tagged(four, p.IPV4, *tags)] * times + [tagged(six, p.IPV6, *tags)] * times
    # the kernel itself drops a tag with less than two bytes behind it before TC
    frames += [tagged(b"\x45\0", p.IPV4, 0x8100), tagged(b"\0\0", 0x0806, 0x8100)] * 3
    frames += [p.ethernet(b""), p.ethernet(b"\x45")] * 2
    return frames


def counters(found: Scrape) -> dict[str, float]:
    """All that was counted, whoever counted it."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for sample in found.samples
        if not sample.name.startswith(OWN)
    }


@pytest.mark.parametrize(("mode", "hook"), [("native", "tcx"), ("generic", "clsact")])
def test_counts_what_xdp_counts(lab: Lab, mode: str, hook: str) -> None:
    start_nsd(lab)
    # what leaves has but one hook, and so is one agent's
    xdp = start(lab, 10530, "--mode", mode, "--no-responses")
    tc = start(lab, 10531, "--hook", hook, "--no-responses")
    chance = random.Random(53)
    dnsperf(lab, [one.wire for one in known_mix(1000)])
    dnsperf(lab, [one.wire for one in known_mix(1000)], server=SERVER6)
    dig(lab, "example.com.", "+tcp")
    send_udp(lab, [chance.randbytes(chance.randrange(600)) for _ in range(500)])
    send_udp(lab, [one.wire[: chance.randrange(len(one.wire))] for one in known_mix(500)])
    send_udp(lab, [b"x" * 100] * 50, port=5353)
    send_udp(lab, [b"x" * 4000] * 50)  # each is three fragments
    send_frames(lab, vlan_mix())

    received = lab.quiet()
    at_xdp = scrape_when(lab.server, received, port=10530)
    at_tc = scrape_when(lab.server, received, port=10531)
    assert at_xdp.packets == received
    adds_up(at_tc)
    assert counters(at_tc) == counters(at_xdp)
    assert {"query", "vlan_too_deep", "fragment", "tcp", "not_ip"} <= set(at_tc.outcomes)
    # one to five of each kind of tag, in both families
    assert at_tc.by("tld")["nl"] >= 15
    for agent in (tc, xdp):
        assert agent.stop(signal.SIGINT) == 0, agent.log
    assert not lab.server.run(["bpftool", "net", "show", "dev", "eth0"]).stdout.count("xdpdns")
    assert "clsact" not in lab.server.run(["tc", "qdisc", "show"]).stdout
