"""`--role both`: a resolver with its clients and its upstream on one interface.

dnsperf asks Unbound, which asks NSD; both are at the other end of the same cable.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest

from tests.netns.actors import XDPDNS, Agent, dnsperf, start_nsd
from tests.netns.foreign import unhook
from tests.netns.lab import CLIENT4, CLIENT6, SERVER4, Lab, wait_until
from tests.netns.scrape import Scrape
from tests.netns.test_keep import place

pytestmark = pytest.mark.skipif(
    not shutil.which("unbound"), reason="no unbound: deploy/setup --dev"
)

PAIRING = "xdpdns_response_pairing_total"
NAMES, AGAIN = 300, 200
ZONE = {
    "example.nl": "$ORIGIN example.nl.\n"
    "@ 3600 IN SOA ns hostmaster 1 3600 600 86400 3600\n"
    "@ 3600 IN NS ns\n"
    "ns 3600 IN A 192.0.2.2\n"
    + "".join(f"w{number} 3600 IN A 192.0.2.80\n" for number in range(NAMES))
}
WAYS = (
    ("ingress", "queries"),
    ("ingress", "responses"),
    ("egress", "queries"),
    ("egress", "responses"),
)


def resolver(lab: Lab) -> None:
    """Unbound on the server, which asks NSD on the client for everything, once for each name.

    It is patient: on a slow machine it must not ask again.
    """
    start_nsd(lab, ZONE, namespace=lab.client, addresses=(CLIENT4,))
    path = lab.tmp / "unbound.conf"
    path.write_text(
        f"""\
server:
  interface: {SERVER4}
  access-control: 0.0.0.0/0 allow
  do-ip6: no
  num-threads: 1
  username: ""
  chroot: ""
  directory: "{lab.tmp}"
  pidfile: "{lab.tmp}/unbound.pid"
  use-syslog: no
  do-daemonize: no
  module-config: "iterator"
  outgoing-range: 512
  unknown-server-time-limit: 5000
  infra-cache-min-rtt: 5000
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {CLIENT4}
"""
    )
    unbound = lab.start(lab.server, ["unbound", "-d", "-c", str(path)], "unbound")
    unbound.wait_until("Unbound's start", lambda: "start of service" in unbound.log)


def load(lab: Lab, again: int = AGAIN, names: Sequence[int] = range(NAMES)) -> None:
    """Each name once, the first so many again when they are in the cache."""
    dnsperf(lab, [f"w{number}.example.nl A" for number in names], outstanding=10)
    if again:
        dnsperf(lab, [f"w{number}.example.nl A" for number in names[:again]])


def counts(found: Scrape) -> dict[tuple[str, str], int]:
    """Queries and responses by the way they went."""
    return {
        (direction, side): found.total(f"xdpdns_{side}_total", direction=direction)
        for direction, side in WAYS
    }


def asked_and_answered(clients: int, upstream: int) -> dict[tuple[str, str], int]:
    return dict(zip(WAYS, (clients, upstream, upstream, clients), strict=True))


@pytest.mark.parametrize("hook", ["xdp", "tcx", "clsact"])
def test_each_message_by_its_way(lab: Lab, hook: str) -> None:
    resolver(lab)
    received = lab.quiet()
    agent = Agent(lab, "--role", "both", "--hook", hook, "--latency-sample", "1")
    load(lab)
    found = agent.scrape()
    assert counts(found) == asked_and_answered(NAMES + AGAIN, NAMES)
    # each packet of a direction once, by one side or the other
    assert found.packets == lab.quiet() - received
    for direction, side in WAYS:
        [outcome] = {"queries": ("query",), "responses": ("response",)}[side]
        way = {"direction": direction, "side": side}
        assert found.by("outcome", "xdpdns_packets_total", **way)[outcome] == found.total(
            f"xdpdns_{side}_total", direction=direction
        )
    assert found.total("xdpdns_packets_total", side="queries", outcome="not_udp") == 0
    assert len(list(found.select("xdpdns_interface_info"))) == 2
    # of clients and upstreams apart: the responses that leave, and those that arrive
    for direction, pairs in (("egress", NAMES + AGAIN), ("ingress", NAMES)):
        assert found.by("result", PAIRING, direction=direction) == {"matched": pairs}
        name = "xdpdns_response_duration_seconds_count"
        assert found.total(name, direction=direction) == pairs
    agent.stop()


def test_upstreams_that_do_not_answer(lab: Lab) -> None:
    """Nobody listens at the client's other address: what is sent there waits, and only there."""
    resolver(lab)
    agent = Agent(lab, "--role", "both", "--latency-sample", "1")

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as out:
            for number in range(7):
                out.sendto(
                    number.to_bytes(2, "big") + b"\1\0\0\1" + bytes(6) + b"\1a\0\0\1\0\1",
                    (CLIENT6, 53),
                )

    lab.server.inside(send)
    load(lab, 0, range(5))
    found = agent.scrape()
    assert counts(found) == asked_and_answered(5, 5) | {("egress", "queries"): 12}
    assert found.total("xdpdns_waiting_queries", direction="ingress") == 7
    assert found.total("xdpdns_waiting_queries", direction="egress") == 0
    assert found.by("result", PAIRING, direction="ingress") == {"matched": 5}


def test_between_two_servers(lab: Lab) -> None:
    """Both ports are 53: then QR says whose it is."""
    resolver(lab)
    agent = Agent(lab, "--role", "both", "--latency-sample", "1")

    def from_53() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            out.settimeout(5)
            out.bind(("192.0.2.3", 53))
            out.sendto(b"\0\1\1\0\0\1" + bytes(6) + b"\2w1\7example\2nl\0\0\1\0\1", (CLIENT4, 53))
            return out.recv(512)

    lab.server.run(["ip", "addr", "add", "192.0.2.3/24", "dev", "eth0"])
    mac = lab.server.link()["address"]
    lab.client.run(["ip", "neigh", "replace", "192.0.2.3", "lladdr", mac, "dev", "eth0"])
    answer = lab.server.inside(from_53)
    assert answer[2] & 0x80
    found = agent.scrape()
    assert counts(found) == asked_and_answered(0, 1)
    assert found.by("result", PAIRING) == {"matched": 1}


@pytest.fixture
def kept(lab: Lab) -> Iterator[Lab]:
    """The lab; what was kept in it is removed at the end."""
    yield lab
    lab.end_processes()
    lab.server.run([XDPDNS, "detach", "eth0"], check=False)


@pytest.mark.parametrize("hook", ["xdp", "tcx", "clsact"])
def test_kept_and_taken_over(kept: Lab, hook: str) -> None:
    """All four programs go on counting while nobody is there, and after that."""
    lab = kept
    resolver(lab)
    options = ("--role", "both", "--keep", "--hook", hook, "--latency-sample", "1")
    agent = Agent(lab, *options)
    load(lab, 0, range(10))
    agent.process.stop(signal.SIGINT)
    load(lab, 0, range(10, 30))
    agent = Agent(lab, *options)
    load(lab, 5, range(30, 60))
    found = agent.scrape()
    assert counts(found) == asked_and_answered(65, 60)
    assert found.by("result", PAIRING, direction="ingress") == {"matched": 60}
    agent.process.stop(signal.SIGINT)
    said = lab.server.run([XDPDNS, "detach", "eth0"]).stdout
    assert "unpinned" in said
    assert not place(lab).exists()


def test_another_role_begins_anew(kept: Lab) -> None:
    """And no packet goes uncounted while the programs are swapped."""
    lab = kept
    resolver(lab)
    Agent(lab, "--keep").process.stop(signal.SIGINT)
    agent = Agent(lab, "--keep", "--role", "both")
    load(lab, 0, range(10))
    assert counts(agent.scrape()) == asked_and_answered(10, 10)
    agent.process.stop(signal.SIGINT)
    agent = Agent(lab, "--keep", "--role", "client")
    load(lab, 0, range(10, 14))
    assert counts(agent.scrape()) == asked_and_answered(0, 4)


def test_taken_off_and_made_anew(lab: Lab) -> None:
    """What goes and comes back counts on from the same values, both ways."""
    resolver(lab)
    agent = Agent(lab, "--role", "both")
    load(lab, 0, range(5))
    unhook(lab)
    wait_until("the program is back", lambda: lab.server.xdp_program() is not None)
    load(lab, 0, range(5, 9))
    assert counts(agent.scrape()) == asked_and_answered(9, 9)
    agent.stop()


def test_what_others_read_of_it(lab: Lab) -> None:
    """`status`, `dump` and `top` find all four programs by the two that are on the hooks."""
    resolver(lab)
    Agent(lab, "--role", "both", "--latency-sample", "1")
    load(lab, 0, range(20))
    status = json.loads(lab.server.run([XDPDNS, "status", "--output", "json"]).stdout)
    [eth0] = [one for one in status["interfaces"] if one["interface"] == "eth0"]
    assert [(one["direction"], one["counts"]) for one in eth0["programs"]] == [
        ("ingress", ["queries", "responses"]),
        ("egress", ["queries", "responses"]),
    ]
    dump = json.loads(lab.server.run([XDPDNS, "dump", "--output", "json"]).stdout)
    counted = {
        (one["direction"], one["counters"]["of"]): sum(
            row["count"] for row in one["counters"]["rows"]
        )
        for one in dump["programs"]
    }
    assert counted == asked_and_answered(20, 20)
    load(lab, 20, range(20))
    for role, queries in (("server", 60), ("client", 20)):
        argv = [XDPDNS, "top", "eth0", "--role", role, "--once", "--totals", "--output", "json"]
        shown = json.loads(lab.server.run(argv).stdout)
        assert shown["sides"]["queries"]["total"] == queries, shown


def test_encrypted_transports(lab: Lab) -> None:
    """Packets of both directions by the port of the server, wherever that is."""
    agent = Agent(lab, "--role", "both", "--encrypted", "dot,doq,doh3")

    def send(to: str, tcp: int, udp: Sequence[int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for port in udp:
                out.sendto(b"QUIC, perhaps", (to, port))
        for _ in range(tcp):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as out, suppress(OSError):
                out.connect((to, 853))  # nobody listens: a SYN, and a RST back

    lab.client.inside(lambda: send(SERVER4, 3, [853, 853, 443]))
    lab.server.inside(lambda: send(CLIENT4, 2, [853, 443, 443, 443]))
    found = agent.scrape()
    expected = {
        ("ingress", "queries"): {"dot": 3, "doq": 2, "doh3": 1},
        ("egress", "responses"): {"dot": 3},
        ("egress", "queries"): {"dot": 2, "doq": 1, "doh3": 3},
        ("ingress", "responses"): {"dot": 2},
    }
    for (direction, side), counted in expected.items():
        outcomes = found.by("outcome", "xdpdns_packets_total", direction=direction, side=side)
        assert {name: n for name, n in outcomes.items() if name in counted} == counted
    agent.stop()
