"""`xdpdns attach eth0` counts what real clients ask a real server: every feature, exactly."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from tests.netns.actors import COMPILES, XDPDNS, Agent, dig, dnsperf, start_nsd
from tests.netns.lab import SERVER4, SERVER6, Lab
from tests.netns.mix import DIMENSIONS, EDNS, NAMES, QTYPES, known_mix
from tests.netns.scrape import Scrape, http_get, scrape


def rows(found: Scrape) -> Counter[tuple[str, ...]]:
    """The query rows, keyed by their labels in the order of DIMENSIONS."""
    counts: Counter[tuple[str, ...]] = Counter()
    for sample in found.select("xdpdns_queries_total", interface="eth0"):
        counts[tuple(sample.labels[name] for name in DIMENSIONS)] += int(sample.value)
    return +counts


def test_ten_thousand_queries_are_counted_exactly(lab: Lab) -> None:
    ipv4 = known_mix(5000, seed=4)
    ipv6 = [one.over("ipv6") for one in known_mix(5000, seed=6)]
    start_nsd(lab)
    agent = Agent(lab)
    for mix, server in ((ipv4, SERVER4), (ipv6, SERVER6)):
        load = dnsperf(lab, [one.wire for one in mix], server=server)
        assert (load.sent, load.completed) == (5000, 5000)
    assert lab.quiet() == 10_000

    found = agent.scrape()
    mix = [*ipv4, *ipv6]
    for dimension in DIMENSIONS:
        assert found.by(dimension) == Counter(one.label(dimension) for one in mix), dimension
    assert rows(found) == Counter(one.labels for one in mix)
    assert found.outcomes == {"query": 10_000}
    assert found.total("xdpdns_overflow_total") == 0
    # the mix is a test of each dimension only if it has every value
    assert set(found.by("edns")) == set(EDNS.values())
    assert set(found.by("qtype")) == set(QTYPES.values())
    assert set(found.by("tld")) == set(NAMES.values())
    agent.stop()


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
def test_plain_dnsperf(lab: Lab, server: str) -> None:
    start_nsd(lab)
    agent = Agent(lab)
    names = ["example.com. A"] * 300 + ["example.org. AAAA"] * 200 + [". NS"] * 100
    dnsperf(lab, names, server=server)
    dnsperf(lab, names, "-e", server=server)
    dnsperf(lab, names, "-D", server=server)
    assert lab.quiet() == 1800

    found = agent.scrape()
    af = {SERVER4: "ipv4", SERVER6: "ipv6"}[server]
    assert found.by("af") == {af: 1800}
    assert found.by("do") == {"0": 1200, "1": 600}
    assert found.by("edns") == {"no_edns": 600, "gt1500": 1200}
    assert found.by("qtype") == {"A": 900, "AAAA": 600, "NS": 300}
    assert found.by("tld") == {"com": 900, "org": 600, ".": 300}
    agent.stop()


# What to ask, and the labels that differ from those of dig's (kdig's) plainest question.
DIG = [
    (["example.com."], {}),
    (["EXAMPLE.Com.", "AAAA"], {"qtype": "AAAA"}),
    ([".", "NS"], {"qtype": "NS", "tld": "."}),
    (["example.com.", "CAA"], {"qtype": "CAA"}),
    (["example.com.", "TYPE65"], {"qtype": "HTTPS"}),
    (["example.com.", "TYPE65281"], {"qtype": "~other"}),
    (["example.com.", "ANY", "+notcp"], {"qtype": "ANY"}),
    (["-x", "2001:db8::1"], {"qtype": "PTR", "tld": "arpa"}),
    (["-x", "192.0.2.1"], {"qtype": "PTR", "tld": "arpa"}),
    (["example.com.", "+dnssec", "+bufsize=1232"], {"do": "1", "edns": "1232"}),
    (["example.com.", "+bufsize=512"], {"edns": "leq1231"}),
    (["example.com.", "+bufsize=1400", "+nsid"], {"edns": "1400"}),
    (["example.com.", "+bufsize=4096", "+subnet=198.51.100.0/24"], {"edns": "gt1500"}),
    (["example.com.", "+noedns", "+adflag"], {"edns": "no_edns", "ad": "1"}),
    (["example.com.", "+noadflag", "+cdflag"], {"ad": "0"}),
    (["-c", "CH", "-t", "TXT", "id.server."], {"qtype": "TXT", "tld": "server"}),
]
PLAINEST = {
    "dig": {"ad": "1", "edns": "1232"},
    "kdig": {"ad": "1", "edns": "no_edns"},
}


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
@pytest.mark.parametrize("tool", ["dig", "kdig"])
def test_every_question_of_dig_is_one_row(lab: Lab, tool: str, server: str) -> None:
    start_nsd(lab)
    agent = Agent(lab)
    plainest = {
        "af": "ipv4" if server == SERVER4 else "ipv6",
        "proto": "udp",
        "qr": "0",
        "do": "0",
        "qtype": "A",
        "tld": "com",
        **PLAINEST[tool],
    }
    expected: Counter[tuple[str, ...]] = Counter()
    for asked, (arguments, differs) in enumerate(DIG, start=1):
        dig(lab, *arguments, server=server, tool=tool)
        assert lab.quiet(0.05) == asked, arguments
        labels = plainest | differs
        expected[tuple(labels[name] for name in DIMENSIONS)] += 1
        assert rows(agent.scrape()) == expected, arguments
    found = agent.scrape()
    assert found.by("qclass", "xdpdns_query_classes_total") == {"IN": len(DIG) - 1, "CH": 1}
    assert found.total("xdpdns_query_flags_total", flag="cd") == 1
    agent.stop()


def test_what_is_no_query_has_its_own_outcome(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab)
    dig(lab, "example.com.", "+opcode=NOTIFY")
    dig(lab, "example.com.", "+opcode=UPDATE")
    dig(lab, "example.com.", "+header-only")
    lab.client.run(["bash", "-c", f"exec 3<>/dev/udp/{SERVER4}/53 && printf x >&3"])
    lab.client.run(["bash", "-c", f"exec 3<>/dev/udp/{SERVER6}/5353 && printf x >&3"])
    outcomes = {"opcode": 2, "qdcount": 1, "dns_truncated": 1, "other_port": 1}
    received = lab.quiet()
    found = agent.scrape()
    # the client's answer to the answer of a closed port is ICMP, if the kernel sends one
    rest = received - sum(outcomes.values())
    assert found.outcomes - Counter(outcomes) == Counter(not_udp=rest) - Counter()
    assert found.packets == received
    assert found.queries == 0
    assert found.by("opcode", "xdpdns_query_opcodes_total") == {
        "NOTIFY": 1,
        "UPDATE": 1,
        "QUERY": 1,
    }
    agent.stop()


def test_tcp_segments_are_counted_as_packets(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab)
    dig(lab, "example.com.", "+tcp")
    received = lab.quiet()
    assert received >= 4
    assert agent.scrape().outcomes == {"tcp": received}
    agent.stop()


def test_labels_can_be_switched_off(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab, "--labels", "af,qtype,tld")
    mix = known_mix(1000)
    dnsperf(lab, [one.wire for one in mix])
    found = agent.scrape()
    assert found.by("tld") == Counter(one.label("tld") for one in mix)
    assert found.by("qtype") == Counter(one.label("qtype") for one in mix)
    for sample in found.select("xdpdns_queries_total"):
        assert set(sample.labels) == {"interface", "direction", "af", "qtype", "tld"}
    agent.stop()


def test_two_interfaces_in_one_agent(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab, interfaces=("eth0", "lo"))
    dnsperf(lab, ["example.com. A"] * 100)
    lab.server.run(["dig", "@127.0.0.1", "example.org.", "+tries=1", "+time=1"], check=False)
    found = agent.scrape()
    assert found.total("xdpdns_queries_total", interface="eth0") == 100
    assert found.total("xdpdns_queries_total", interface="lo", tld="org") == 1
    assert found.total("xdpdns_up") == 2
    agent.stop()
    assert lab.server.xdp_program("lo") is None


def test_endpoints(lab: Lab) -> None:
    agent = Agent(lab)
    assert http_get(lab.server, "/healthz").status == 200
    assert b"/metrics" in http_get(lab.server, "/").body
    assert http_get(lab.server, "/nothing").status == 404
    head = http_get(lab.server, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"].startswith("text/plain; version=0.0.4")
    packed = http_get(lab.server, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    opened = http_get(lab.server, headers=accept)
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    assert opened.body.endswith(b"# EOF\n")
    agent.stop()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, None])
def test_clients_are_answered_while_it_starts(lab: Lab, end: signal.Signals | None) -> None:
    """`/-/ready` says so at once, a scrape gets the first counters, and it can be stopped."""
    starting = lab.start(lab.server, [*COMPILES, XDPDNS, "attach", "eth0"], "starting")

    def ready() -> str:
        try:
            return http_get(lab.server, "/-/ready").body.decode()
        except ConnectionRefusedError:
            return ""

    starting.wait_until("an answer", lambda: bool(ready()), 30)
    assert ready().startswith("starting: ")
    assert http_get(lab.server, "/healthz").status == 200
    if end is None:
        assert scrape(lab.server).total("xdpdns_up") > 0
        assert ready() == "Every interface is counted.\n"
    assert starting.stop(end or signal.SIGINT) == 0
    assert ("Stopped while starting." in starting.log) == (end is not None), starting.log
    assert lab.server.xdp_program() is None
