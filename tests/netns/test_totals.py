"""Totals always add up: every packet has one outcome, every query a row or the overflow.

The other side of each equation is the interface's own counter, which xdpdns never reads.
"""

from __future__ import annotations

import random
import socket
import string

import pytest

from tests.netns.actors import Agent, dig, dnsperf, start_nsd
from tests.netns.lab import SERVER4, SERVER6, Lab
from tests.netns.mix import known_mix
from tests.netns.scrape import Scrape

REAL = {"com": 40, "org": 30, "de": 20, "arpa": 10}
RANDOM_QUERIES = 100_000


def adds_up(found: Scrape) -> None:
    """The identity that holds at every moment when nothing is in flight."""
    arrived = {"direction": "ingress"}
    over_tcp = found.total("xdpdns_tcp_messages_total", **arrived, outcome="query")
    queries = found.outcomes["query"] + over_tcp
    assert queries == found.queries + found.total("xdpdns_overflow_total", **arrived)
    assert queries == found.total("xdpdns_query_size_bytes_count")
    assert queries == found.total("xdpdns_query_classes_total")
    segments = found.total("xdpdns_tcp_segments_total", **arrived)
    assert found.outcomes["tcp"] == segments


def send_udp(lab: Lab, payloads: list[bytes], port: int = 53) -> None:
    """Each payload as a datagram from the client, half over IPv4, half over IPv6; no answer."""

    def make(family: int) -> socket.socket:
        return lab.client.inside(lambda: socket.socket(family, socket.SOCK_DGRAM))

    with make(socket.AF_INET) as four, make(socket.AF_INET6) as six:
        for number, payload in enumerate(payloads):
            if number % 2:
                six.sendto(payload, (SERVER6, port))
            else:
                four.sendto(payload, (SERVER4, port))
            if number % 64 == 63:
                lab.quiet(0.02)  # veth's ring holds 256


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_every_packet_has_one_outcome(lab: Lab, mode: str) -> None:
    start_nsd(lab)
    agent = Agent(lab, "--mode", mode)
    chance = random.Random(1)
    dnsperf(lab, [one.wire for one in known_mix(2000)])
    dnsperf(lab, [one.wire for one in known_mix(2000)], server=SERVER6)
    dig(lab, "example.com.", "+tcp")
    dig(lab, "example.com.", "+tcp", server=SERVER6)
    send_udp(lab, [chance.randbytes(chance.randrange(600)) for _ in range(2000)])
    send_udp(lab, [one.wire[: chance.randrange(len(one.wire))] for one in known_mix(2000)])
    send_udp(lab, [b"x" * 100] * 50, port=5353)
    send_udp(lab, [b"x" * 4000] * 50)  # each is three fragments

    received = lab.quiet()
    found = agent.scrape()
    assert received >= 8000
    assert found.packets == received
    adds_up(found)
    assert {"query", "fragment", "tcp", "other_port", "dns_truncated"} <= set(found.outcomes)
    agent.stop()


def test_a_flood_of_names_pushes_no_real_row_out(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab, "--max-series", "64")
    real = [f"example.{tld}. A" for tld, count in REAL.items() for _ in range(count)]
    dnsperf(lab, real)
    before = agent.scrape()
    assert before.by("tld") == REAL

    chance = random.Random(2)
    known = [one.wire for one in known_mix(500, seed=7)]
    flood = [hostile_query(chance, known) for _ in range(RANDOM_QUERIES)]
    load = dnsperf(lab, flood, timeout=90)
    dnsperf(lab, real)

    received = lab.quiet()
    found = agent.scrape()
    assert load.sent == RANDOM_QUERIES
    assert found.packets == received
    adds_up(found)
    assert len(list(found.select("xdpdns_queries_total"))) <= 64
    # the rows that were there before the flood have counted on, and counted right
    for tld, count in REAL.items():
        plain = {"tld": tld, "qtype": "A", "edns": "no_edns", "do": "0", "ad": "0", "af": "ipv4"}
        assert before.total("xdpdns_queries_total", **plain) == count
        assert found.total("xdpdns_queries_total", **plain) >= 2 * count
    assert found.by("tld")["~other"] > 0
    agent.stop()


def hostile_query(chance: random.Random, known: list[bytes]) -> bytes:
    """A query with a random TLD, type, payload size and bits; one in ten is an ordinary one.

    No real TLD comes from here with the features of the real rows: those have no OPT record.
    """
    if chance.random() < 0.1:
        return chance.choice(known)
    tld = bytes(chance.choices(string.printable.encode(), k=chance.randint(1, 63)))
    name = b"\3www" + bytes([len(tld)]) + tld + b"\0"
    size = chance.randrange(65536)
    flags = bytes([0x01, chance.choice((0x00, 0x20))])
    counts = b"\0\1\0\0\0\0\0\1"
    opt = b"\0\0\x29" + size.to_bytes(2, "big") + bytes([0, 0, chance.choice((0, 0x80)), 0, 0, 0])
    qtype = chance.choice((1, 28, chance.randrange(65536)))
    return b"\0\0" + flags + counts + name + qtype.to_bytes(2, "big") + b"\0\1" + opt


def test_series_are_bounded_by_default_too(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab)
    chance = random.Random(3)
    known = [one.wire for one in known_mix(10)]
    dnsperf(lab, [hostile_query(chance, known) for _ in range(5000)])
    received = lab.quiet()
    found = agent.scrape()
    assert found.packets == received
    adds_up(found)
    assert found.total("xdpdns_overflow_total") == 0
    # random bytes are no registered TLD: but for the ordinary ones everything is ~other
    assert found.by("tld")["~other"] > 4000
    agent.stop()
