"""A real Prometheus scrapes a real agent, and PromQL returns the exact numbers."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter

import pytest

from grafana.promql import MALFORMED, outcomes
from tests.netns.actors import Agent, Prometheus, dnsperf, start_nsd
from tests.netns.lab import CLIENT4, SERVER4, SERVER6, Lab
from tests.netns.mix import DIMENSIONS, known_mix, labelled
from tests.netns.scrape import http_get


def test_promql_returns_exact_numbers(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab)
    prometheus = Prometheus(lab)
    mix = known_mix(3000)
    dnsperf(lab, [one.wire for one in mix])
    dnsperf(lab, [one.wire for one in mix[:1000]], server=SERVER6)
    received = lab.quiet()
    prometheus.wait_for_scrape(after=time.time())

    sent = [*mix, *(one.over("ipv6") for one in mix[:1000])]
    assert received == 4000
    assert prometheus.value("sum(xdpdns_queries_total)") == 4000
    came = 'sum(xdpdns_packets_total{direction="ingress"})'
    assert prometheus.value(came) == received
    assert prometheus.value("sum(xdpdns_responses_total)") == 4000
    assert prometheus.value('xdpdns_packets_total{outcome="query"}') == 4000
    assert prometheus.value('xdpdns_up{interface="eth0"}') == 1
    assert prometheus.value("xdpdns_query_size_bytes_count") == 4000
    assert prometheus.value("xdpdns_query_size_bytes_sum") == sum(len(one.wire) for one in sent)
    for dimension in DIMENSIONS:
        found = prometheus.query(f"sum by ({dimension}) (xdpdns_queries_total)")
        assert {labels[dimension]: value for labels, value in found} == Counter(
            one.label(dimension) for one in sent
        ), dimension
    agent.stop()


def test_the_queries_of_a_client_are_those_that_leave(lab: Lab) -> None:
    """The dashboards and rules ask the program that counts queries, wherever it is."""
    agent = Agent(lab, "--role", "client")
    prometheus = Prometheus(lab)

    def bind() -> socket.socket:
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.bind((CLIENT4, 53))
        return sink

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(50):
                sock.sendto(labelled(b"www", b"nl") if number % 10 else b"short", (CLIENT4, 53))

    with lab.client.inside(bind):
        lab.server.inside(ask)
        prometheus.wait_for_scrape(after=time.time())
        lab.server.inside(ask)
        prometheus.wait_for_scrape(after=time.time())

    def rates(promql: str) -> dict[str, float]:
        for name in ("job", "instance", "interface"):
            promql = promql.replace(f"${name}", ".+")
        return {labels["direction"]: value for labels, value in prometheus.query(promql)}

    by = {"by": "direction", "window": "1m"}
    every, malformed = rates(outcomes(**by)), rates(outcomes(f"~{MALFORMED}", **by))
    assert set(every) == set(malformed) == {"egress"}
    # 5 of 50; rate() guesses where each series began
    assert malformed["egress"] / every["egress"] == pytest.approx(0.1, rel=0.01)
    packets = prometheus.query('xdpdns_packets_total{outcome="query"}')
    assert {labels["direction"]: value for labels, value in packets} == {"egress": 90}
    agent.stop()


def test_rate_follows_the_queries(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab)
    prometheus = Prometheus(lab)
    prometheus.wait_for_scrape(after=time.time())
    dnsperf(lab, ["example.com. A"] * 500, rate=250)  # the row is there before the second load
    prometheus.wait_for_scrape(after=time.time())
    dnsperf(lab, ["example.com. A"] * 700, rate=350)
    lab.quiet()
    prometheus.wait_for_scrape(after=time.time())
    assert prometheus.value('xdpdns_queries_total{tld="com"}') == 1200
    assert prometheus.value("resets(xdpdns_queries_total[1m])") == 0
    agent.stop()


def test_hostile_labels_pass_promtool_and_prometheus(lab: Lab) -> None:
    hostile = {
        b'quo"te': "quo\\034te",
        b"back\\slash": "back\\092slash",
        b"new\nline": "new\\010line",
        b"nul\0": "nul\\000",
        b"\xff\xfe": "\\255\\254",
        b"dot.dot": "dot\\046dot",
        b"a{b}=c,d": "a{b}=c,d",
        b"\xc3\xa9": "\\195\\169",
        b" ": "\\032",
        b"~other": "\\126other",  # the name of what is folded stays its own
        b"x" * 63: "x" * 63,
    }
    start_nsd(lab)
    agent = Agent(lab, "--tlds", "all")
    prometheus = Prometheus(lab)
    dnsperf(lab, [labelled(b"www", label) for label in hostile])
    lab.quiet()
    prometheus.wait_for_scrape(after=time.time())

    assert agent.scrape().by("tld") == Counter(hostile.values())
    found = prometheus.query("sum by (tld) (xdpdns_queries_total)")
    assert {labels["tld"]: value for labels, value in found} == Counter(hostile.values())

    promtool = subprocess.run(
        ["promtool", "check", "metrics"],
        input=http_get(lab.server).body,
        capture_output=True,
        timeout=30,
    )
    assert (promtool.returncode, promtool.stdout, promtool.stderr) == (0, b"", b"")
    agent.stop()


def test_an_agent_that_starts_again_is_one_reset_at_most(lab: Lab) -> None:
    start_nsd(lab)
    prometheus = Prometheus(lab)
    for _ in range(2):
        agent = Agent(lab)
        dnsperf(lab, ["example.com. A"] * 100, server=SERVER4)
        prometheus.wait_for_scrape(after=time.time())
        assert prometheus.value('xdpdns_queries_total{tld="com"}') == 100
        agent.stop()
