"""The lab itself: silent until spoken to, exact in what it says, and gone without a trace."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import dns.message
import pytest

from tests.netns.actors import Prometheus, dig, dnsperf, start_nsd
from tests.netns.lab import SERVER4, SERVER6, Lab, wait_until
from tests.netns.scrape import Scrape


def test_is_silent_until_spoken_to(lab: Lab) -> None:
    time.sleep(2)
    start_nsd(lab)
    assert (lab.server.rx_packets(), lab.client.rx_packets()) == (0, 0)


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
@pytest.mark.parametrize("tool", ["dig", "kdig"])
def test_one_question_is_one_packet(lab: Lab, tool: str, server: str) -> None:
    start_nsd(lab)
    assert dig(lab, "example.com.", "A", server=server, tool=tool) == "NOERROR"
    assert lab.quiet() == 1


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
def test_dnsperf_sends_each_query_once(lab: Lab, server: str) -> None:
    start_nsd(lab)
    load = dnsperf(lab, [f"host{n}.example.com. A" for n in range(2000)], server=server)
    assert (load.sent, load.completed, load.lost) == (2000, 2000, 0)
    assert lab.quiet() == 2000


def test_dnsperf_sends_messages_as_they_are(lab: Lab) -> None:
    start_nsd(lab)
    message = dns.message.make_query("example.net.", "CAA", use_edns=0, payload=1400)
    argv = ["tcpdump", "-ni", "eth0", "-U", "-c", "3", "-w", f"{lab.tmp}/pcap", "dst port 53"]
    capture = lab.start(lab.server, argv, "tcpdump")
    capture.wait_until("tcpdump's start", lambda: "listening on" in capture.log)
    dnsperf(lab, [message.to_wire()] * 3)
    wait_until("tcpdump's third packet", lambda: capture.exited == 0)
    wire = message.to_wire()[2:]  # dnsperf writes its own id
    assert Path(lab.tmp, "pcap").read_bytes().count(wire) == 3


def test_leaves_nothing_behind_when_a_test_fails() -> None:
    started = []

    def fail() -> None:
        with Lab() as lab:
            started.append((lab, lab.start(lab.server, ["sleep", "60"], "sleep")))
            assert lab.server.name in _namespaces()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    [(lab, sleeper)] = started
    assert not Path("/proc", str(sleeper.pid)).exists()
    assert not lab.tmp.exists()
    assert not {lab.server.name, lab.client.name} & _namespaces()


def _namespaces() -> set[str]:
    return {path.name for path in Path("/run/netns").iterdir()}


def test_says_why_a_program_ended_early(lab: Lab) -> None:
    broken = lab.start(lab.server, ["sh", "-c", "echo no such thing >&2; exit 3"], "sh")
    with pytest.raises(RuntimeError, match="exited 3: no such thing"):
        broken.wait_until("nothing", lambda: False, timeout=5)


def test_prometheus_stores_what_is_served(lab: Lab) -> None:
    (lab.tmp / "metrics").write_text('# TYPE x_total counter\nx_total{tld="a\\\\b"} 7\n')
    serve = [sys.executable, "-m", "http.server", "10530", "--directory", str(lab.tmp)]
    lab.start(lab.server, serve, "http")
    prometheus = Prometheus(lab)
    prometheus.wait_for_scrape(after=time.time())
    [(labels, value)] = prometheus.query("x_total")
    assert (labels["tld"], value) == ("a\\b", 7)
    assert prometheus.value("sum(x_total) * 2") == 14
    assert prometheus.value("absent_total") is None
    assert lab.server.rx_packets() == 0


def test_scrape_sums_by_label() -> None:
    found = Scrape(
        "# TYPE xdpdns_queries_total counter\n"
        'xdpdns_queries_total{af="ipv4",tld="com"} 3\n'
        'xdpdns_queries_total{af="ipv6",tld="com"} 4\n'
        'xdpdns_queries_total{af="ipv6",tld="a\\\\\\"b"} 5\n'
    )
    assert found.queries == 12
    assert found.total("xdpdns_queries_total", af="ipv6") == 9
    assert found.by("tld") == {"com": 7, 'a\\"b': 5}
    assert found.by("af", tld="com") == {"ipv4": 3, "ipv6": 4}
