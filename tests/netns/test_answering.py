"""What a server answered, how soon, and what it left unanswered, against what the client saw."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import statistics
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from tests import packets as p
from tests.netns.actors import Agent, dnsperf, start_nsd
from tests.netns.lab import CLIENT4, CLIENT_MAC, SERVER4, SERVER6, SERVER_MAC, Lab, wait_until
from tests.netns.scrape import Scrape
from xdpdns.timing import BOUNDS

ZONE = {
    "example.nl": """\
$ORIGIN example.nl.
@ 3600 IN SOA ns hostmaster 1 3600 600 86400 60
@ 3600 IN NS ns
ns 3600 IN A 192.0.2.1
www 60 IN A 192.0.2.80
sub 60 IN NS ns.sub
ns.sub 60 IN A 192.0.2.90
"""
    + "\n".join(f'big 60 IN TXT "{number:03d}{"x" * 200}"' for number in range(20))
    + "\n"
}

PAIRING = "xdpdns_response_pairing_total"

Answer = tuple[str, ...]
"""af, proto, rcode, tc, qtype: a row as the client would write it."""


def ask(lab: Lab, wire: bytes, server: str, *, tcp: bool = False) -> bytes:
    """One message and its answer, over UDP or on a TCP connection of its own."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM

    def exchange() -> bytes:
        with socket.socket(family, kind) as client:
            client.settimeout(5)
            client.connect((server, 53))
            if not tcp:
                client.send(wire)
                return client.recv(65535)
            client.sendall(struct.pack("!H", len(wire)) + wire)
            with client.makefile("rb") as stream:
                (length,) = struct.unpack("!H", stream.read(2))
                return stream.read(length)

    return lab.client.inside(exchange)


def query(name: str, qtype: str = "A", **options: int) -> dns.message.Message:
    return dns.message.make_query(name, qtype, **options)  # type: ignore[arg-type]


def other_opcode() -> dns.message.Message:
    made = query("www.example.nl")
    made.set_opcode(dns.opcode.STATUS)
    return made


CASES: dict[str, tuple[bytes, bool]] = {
    "NOERROR": (query("www.example.nl").to_wire(), False),
    "NXDOMAIN": (query("nope.example.nl").to_wire(), False),
    "NODATA": (query("www.example.nl", "AAAA").to_wire(), False),
    "REFERRAL": (query("a.sub.example.nl").to_wire(), False),
    "REFUSED": (query("www.example.org").to_wire(), False),
    "FORMERR": (query("www.example.nl").to_wire()[:-3], False),
    "BADVERS": (query("www.example.nl", use_edns=1).to_wire(), False),
    "NOTIMP": (other_opcode().to_wire(), False),
    "truncated": (query("big.example.nl", "TXT").to_wire(), False),
    "whole": (query("big.example.nl", "TXT").to_wire(), True),
}
"""A query that should have this answer, and whether it is asked over TCP."""


def described(wire: bytes, af: str, proto: str) -> Answer:
    """An answer's row, decoded by dnspython."""
    answer = dns.message.from_wire(wire, ignore_trailing=True)
    rcode = dns.rcode.to_text(answer.rcode())
    truncated = bool(answer.flags & dns.flags.TC)
    if rcode == "NOERROR" and not answer.answer and not truncated:
        first = answer.authority[0].rdtype if answer.authority else None
        rcode = "REFERRAL" if first == dns.rdatatype.NS else "NODATA"
    qtype = dns.rdatatype.to_text(answer.question[0].rdtype) if answer.question else "~none"
    return af, proto, rcode, str(int(truncated)), qtype


def rows(found: Scrape) -> Counter[Answer]:
    counts: Counter[Answer] = Counter()
    for sample in found.select("xdpdns_responses_total", direction="egress"):
        labels = ("af", "proto", "rcode", "tc", "qtype")
        counts[tuple(sample.labels[name] for name in labels)] += int(sample.value)
    return +counts


def test_every_answer_is_counted_as_what_it_is(lab: Lab) -> None:
    start_nsd(lab, ZONE)
    agent = Agent(lab, "--latency-sample", "1")
    expected: Counter[Answer] = Counter()
    sizes = []
    for number, (name, (wire, tcp)) in enumerate(CASES.items()):
        for server in (SERVER4, SERVER6):
            for _ in range(number + 1):
                answer = ask(lab, wire, server, tcp=tcp)
                af = "ipv6" if ":" in server else "ipv4"
                row = described(answer, af, "tcp" if tcp else "udp")
                expected[row] += 1
                sizes.append(len(answer))
                if name not in ("truncated", "whole"):
                    assert row[2] == name
                assert (row[3] == "1") == (name == "truncated")
    assert max(sizes) > 4000

    def settled() -> Scrape | None:
        found = agent.scrape()
        return found if found.responses >= len(sizes) else None

    found = wait_until("all answers", settled)
    assert found is not None
    assert rows(found) == expected
    assert found.total("xdpdns_response_size_bytes_count") == len(sizes)
    assert found.total("xdpdns_response_size_bytes_sum") == sum(sizes)
    # both hooks: every packet has one outcome, and every message that parsed whole is in a row
    for direction, outcome, name in (
        ("ingress", "query", "xdpdns_queries_total"),
        ("egress", "response", "xdpdns_responses_total"),
    ):
        way = {"direction": direction}
        assert found.total("xdpdns_packets_total", **way, outcome=outcome) == found.total(
            name, **way, proto="udp"
        )
        assert found.total("xdpdns_packets_total", **way, outcome="tcp") == found.total(
            "xdpdns_tcp_segments_total", **way
        )
        assert found.total("xdpdns_tcp_messages_total", **way, outcome=outcome) == found.total(
            name, **way, proto="tcp"
        )
    # what is in no row of queries, since it is malformed or of another opcode, is not timed
    assert found.total(PAIRING, result="matched") == found.queries
    agent.stop()


def quantile(found: Scrape, q: float) -> tuple[float, float]:
    """The bucket in which the quantile is: its edges in seconds."""
    buckets: Counter[float] = Counter()
    for sample in found.select("xdpdns_response_duration_seconds_bucket"):
        buckets[float(sample.labels["le"])] += int(sample.value)
    edges = sorted(buckets)
    at = next(i for i, edge in enumerate(edges) if buckets[edge] >= q * buckets[edges[-1]])
    return (edges[at - 1] if at else 0.0, edges[at])


@pytest.mark.alone
@pytest.mark.parametrize("rate", [1000, 50_000])
def test_times_are_the_clients_but_for_the_path(lab: Lab, rate: int) -> None:
    """The median is in the client's bucket, or below it by what the path and the client take."""
    start_nsd(lab, ZONE)
    agent = Agent(lab, "--latency-sample", "1")
    names = ["www.example.nl A"] * min(3 * rate, 30_000)
    out = lab.client.run(
        f"dnsperf -v -s {SERVER4} -n 1 -q 50 -Q {rate} -d /dev/stdin".split(),
        stdin="\n".join(names) + "\n",
    ).stdout
    client = [float(took) for took in re.findall(r"^> NOERROR .* (\d+\.\d+)$", out, re.MULTILINE)]
    assert len(client) == len(names)
    found = agent.scrape()
    results = found.by("result", PAIRING)
    assert results["matched"] >= 0.9999 * len(names)
    assert results["matched"] + results["displaced"] == len(names)
    low, high = quantile(found, 0.5)
    median = statistics.median(client)
    print(f"{rate}/s: client's median {median * 1e6:.0f} us, ours {low * 1e6:.0f}-{high * 1e6:.0f}")
    assert low <= median
    total = next(found.select("xdpdns_response_duration_seconds_sum", af="ipv4", proto="udp")).value
    assert total <= sum(client)


@contextmanager
def answering(lab: Lab, drop: int) -> Iterator[None]:
    """A server that answers NOERROR at once, but for every `drop`th query."""
    server = lab.server.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind((SERVER4, 53))
    server.settimeout(0.2)
    ended = threading.Event()

    def serve() -> None:
        seen = 0
        while not ended.is_set():
            try:
                wire, client = server.recvfrom(4096)
            except TimeoutError:
                continue
            seen += 1
            if seen % drop:
                server.sendto(wire[:2] + bytes([wire[2] | 0x80]) + wire[3:], client)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        server.close()


@pytest.mark.alone
def test_one_in_seventeen_is_not_answered(lab: Lab) -> None:
    agent = Agent(lab, "--latency-sample", "1")

    def ask_all() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((CLIENT4, 0))
            for ident in range(1700):
                wire = struct.pack("!H", ident) + query("www.example.nl").to_wire()[2:]
                client.sendto(wire, (SERVER4, 53))
                time.sleep(0.0002)

    with answering(lab, 17):
        lab.client.inside(ask_all)
        wait_until("the answers", lambda: agent.scrape().responses == 1600)
    found = agent.scrape()
    assert found.by("result", PAIRING) == {"matched": 1600}
    assert found.total("xdpdns_waiting_queries") == 100
    time.sleep(BOUNDS[-1] / 1e9)
    found = agent.scrape()
    assert found.by("result", PAIRING) == {"matched": 1600, "expired": 100}
    assert found.total("xdpdns_waiting_queries") == 0
    assert found.queries == 1700


@pytest.mark.alone
def test_a_server_that_stands_still_for_three_seconds(lab: Lab) -> None:
    """dnsperf doesn't wait that long by default; the answers come all the same."""
    nsd = start_nsd(lab, ZONE)
    agent = Agent(lab, "--latency-sample", "1")
    names = ["www.example.nl A"] * 100
    dnsperf(lab, names)
    pids = [nsd.pid, *_descendants(nsd.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    def wake() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    waking = threading.Timer(3.0, wake)
    waking.start()
    dnsperf(lab, names, "-t", "8", outstanding=100)
    waking.join()
    found = wait_until(
        "the late answers", lambda: ((s := agent.scrape()).responses == 200 and s) or None
    )
    assert found is not None
    assert found.by("result", PAIRING) == {"matched": 200}
    assert quantile(found, 0.4)[1] < 0.3
    low, high = quantile(found, 0.9)
    assert 2.0 < low <= 3.0 <= high


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    direct = [int(child) for child in children.split()]
    return [*direct, *(one for child in direct for one in _descendants(child))]


def test_answers_that_nobody_asked_for(lab: Lab) -> None:
    """Stray answers are orphans; the real pairs are matched all the same."""
    start_nsd(lab, ZONE)
    agent = Agent(lab, "--latency-sample", "1")
    made = dns.message.make_response(query("www.example.nl")).to_wire()
    frames = [
        p.ethernet(
            p.ipv4(p.udp(struct.pack("!H", ident) + made[2:], sport=53, dport=40000 + ident)),
            src=_mac(SERVER_MAC),
            dst=_mac(CLIENT_MAC),
        )
        for ident in range(500)
    ]

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            for frame in frames:
                raw.send(frame)

    lab.server.inside(send)
    dnsperf(lab, ["www.example.nl A"] * 1000)
    results = agent.scrape().by("result", PAIRING)
    assert results == {"matched": 1000, "orphan": 500}


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


@pytest.mark.alone
def test_a_flood_that_nobody_answers(lab: Lab) -> None:
    """Real pairs meet while queries from everywhere fill the table several times over."""
    start_nsd(lab, ZONE)
    agent = Agent(lab, "--latency-sample", "1")
    wire = query("flood.example.nl").to_wire()
    template = p.ethernet(
        p.ipv4(p.udp(wire)), src=_mac(CLIENT_MAC), dst=b"\x02\0\0\0\0\x99"
    )  # to a MAC that isn't the server's: counted at the hook, and nobody's to answer
    ended = threading.Event()
    sent = 0

    def flood() -> None:
        nonlocal sent
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            while not ended.is_set():
                source = struct.pack("!I", 0x0A000000 + sent)
                try:
                    raw.send(template[:26] + source + template[30:])
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    continue  # the cable's queue is full for the moment
                sent += 1

    thread = threading.Thread(target=lambda: lab.client.inside(flood))
    thread.start()
    try:
        load = dnsperf(lab, ["www.example.nl A"] * 4000, rate=1000)
    finally:
        ended.set()
        thread.join()
    results = agent.scrape().by("result", PAIRING)
    share = results["matched"] / load.completed
    print(f"{sent} unanswerable queries in 4 s; of {load.completed} real pairs {share:.2%} matched")
    assert sent > 2 * 65536
    assert results["displaced"] > 65536
    assert share > 0.95


def test_the_client_side(lab: Lab) -> None:
    """Of a resolver or mail host: queries leave, responses arrive, and both are timed."""
    start_nsd(lab, ZONE)
    swapped = Lab.__new__(Lab)
    swapped.__dict__.update(lab.__dict__, server=lab.client, client=lab.server)
    agent = Agent(swapped, "--role", "client", "--latency-sample", "1")
    dnsperf(lab, ["www.example.nl A"] * 300 + ["nope.example.nl A"] * 100)
    found = agent.scrape()
    assert found.total("xdpdns_queries_total", direction="egress") == 400
    assert found.by("rcode", "xdpdns_responses_total", direction="ingress") == {
        "NOERROR": 300,
        "NXDOMAIN": 100,
    }
    assert found.by("result", PAIRING) == {"matched": 400}
    agent.stop()
