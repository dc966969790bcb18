"""`xdpdns attach --exact-edns`: every EDNS size of a fixed list has its exact count."""

from __future__ import annotations

from collections import Counter

import dns.flags
import dns.message

from tests.netns.actors import Agent, dnsperf, start_nsd
from tests.netns.lab import Lab
from tests.netns.mix import known_mix
from tests.netns.scrape import Scrape
from xdpdns.vocab import EDNS_SIZES

NAME = "xdpdns_edns_exact_queries_total"


def exact(found: Scrape) -> Counter[tuple[str, str]]:
    return +Counter(
        {(one.labels["size"], one.labels["do"]): int(one.value) for one in found.select(NAME)}
    )


def offered(wire: bytes) -> tuple[str, str]:
    message = dns.message.from_wire(wire)
    if message.edns < 0:
        return "no_edns", "0"
    size = str(message.payload) if message.payload in EDNS_SIZES else "~other"
    return size, "1" if message.ednsflags & dns.flags.DO else "0"


def test_exact_sizes_are_counted(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab, "--exact-edns", "--labels", "do")
    mix = [one.wire for one in known_mix(2000, seed=352)]
    dnsperf(lab, mix)
    assert lab.quiet() == 2000

    found = agent.scrape()
    expected = Counter(map(offered, mix))
    assert exact(found) == expected
    assert found.total(NAME) == found.queries == 2000
    # the mix is a test only if it has listed sizes and others, with DO and without
    assert {("1232", "0"), ("1232", "1"), ("~other", "0"), ("~other", "1")} < set(expected)
    series = len(list(found.select(NAME)))
    assert series == 2 * (len(EDNS_SIZES) + 1) + 2  # those at 0 too
    agent.stop()


def test_it_costs_nothing_unless_it_is_asked_for(lab: Lab) -> None:
    agent = Agent(lab)
    assert not list(agent.scrape().select(NAME))
    agent.stop()
