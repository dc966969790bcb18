"""NSD answers a scripted client, an agent times all of it, and a Prometheus scrapes the agent.

Each question is asked with the response code that it must have. What else a panel could say of the
response, its size and its bits, is taken from the response as the client got it. At an address of
the server where NSD doesn't listen, the test itself answers late, or never, or without a question.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype

from tests.netns.actors import Agent, Prometheus, start_nsd
from tests.netns.lab import SERVER4, SERVER6, SERVER_MAC, Lab
from tests.netns.site import ETH, Measured, Traffic, quick_rules

OTHER4 = "192.0.2.3"
"""The server's address where no nameserver is."""

LATE = 0.3
"""Seconds until the late responses leave: in the bucket from 0.27 s to 0.54 s."""

ZONES = {
    "example.": """\
example. 3600 IN SOA ns.example. hostmaster.example. 1 3600 600 86400 60
example. 3600 IN NS ns.example.
ns.example. 3600 IN A 192.0.2.1
www.example. 60 IN A 192.0.2.80
www.example. 60 IN AAAA 2001:db8::80
sub.example. 60 IN NS ns.sub.example.
ns.sub.example. 60 IN A 192.0.2.53
"""
    + "".join(f'big.example. 60 IN TXT "{number:0200d}"\n' for number in range(5)),
    "broken.": "broken. 3600 IN NS ns.broken.\n",  # without a SOA record it is not loaded
}


@dataclass(frozen=True)
class Asked:
    """A question, how it must be answered, and how often it is asked in a turn."""

    times: int
    rcode: str
    name: str
    qtype: str = "A"
    edns: int | None = None
    do: bool = False
    version: int = 0
    opcode: dns.opcode.Opcode = dns.opcode.QUERY

    def wire(self) -> bytes:
        message = dns.message.make_query(self.name, self.qtype, use_edns=False)
        message.set_opcode(self.opcode)
        if self.edns is not None:
            message.use_edns(self.version, dns.flags.DO if self.do else 0, self.edns)
        return message.to_wire()


@dataclass(frozen=True)
class Answered:
    """A response that left the server."""

    rcode: str
    qtype: str
    af: str
    wire: bytes
    timed: bool
    """Whether it answers a query of the opcode QUERY: no other is waited for."""

    proto: str = "udp"

    def label(self, name: str) -> str:
        """A label of its row."""
        flags = int.from_bytes(self.wire[2:4], "big")
        if name == "do":
            # its header is enough for a truncated one
            message = dns.message.from_wire(self.wire, ignore_trailing=True)
            return str(int(bool(message.ednsflags & dns.flags.DO)))
        return {
            "af": self.af,
            "proto": self.proto,
            "rcode": self.rcode,
            "qtype": self.qtype,
            "tc": str(int(bool(flags & dns.flags.TC))),
            "aa": str(int(bool(flags & dns.flags.AA))),
        }[name]


QUESTIONS = (
    Asked(40, "NOERROR", "www.example."),
    Asked(17, "NOERROR", "www.example.", "AAAA", 1232, do=True),
    Asked(5, "NOERROR", "big.example.", "TXT", 4096),
    Asked(4, "NOERROR", "big.example.", "TXT", 1232),
    Asked(3, "NOERROR", "big.example.", "TXT"),  # over 512 bytes: truncated
    Asked(13, "NXDOMAIN", "nothing.example.", "MX", 1232),
    Asked(11, "NODATA", "www.example.", "MX"),
    Asked(9, "REFERRAL", "host.sub.example."),
    Asked(7, "REFUSED", "www.elsewhere.", "HTTPS"),
    Asked(6, "SERVFAIL", "www.broken.", edns=1232),
    Asked(2, "BADVERS", "www.example.", edns=1232, version=1),
    Asked(1, "NOTIMP", "www.example.", opcode=dns.opcode.STATUS),
)
SERVERS = {"ipv4": (2, SERVER4), "ipv6": (1, SERVER6)}
"""By family: how often all of that is asked in a turn, and of whom."""

OVER_TCP = Asked(6, "NOERROR", "www.example.", "AAAA", 1232, do=True)
"""Asked on connections of their own, by each family."""

LATE_ONES, SILENT, AGAIN, ORPHANS = 5, 12, 3, 4
"""Queries that are answered late, and never; of these, sent once more; responses to nothing."""


class MeasuredAnswers(Measured):
    """What was answered, and a Prometheus that is asked about it at one moment."""

    agents: Mapping[str, str] = {ETH: "eth0"}
    traffic: Mapping[str, Traffic] = {"": {ETH: []}}

    def __init__(self, prometheus: Prometheus, lab: Lab, at: float, said: list[Answered]) -> None:
        super().__init__(prometheus, lab, at)
        self.said = said

    @property
    def queries(self) -> int:
        """The queries of a turn: what has another opcode is none, but what waits is."""
        return sum(one.timed for one in self.said) + SILENT + AGAIN - ORPHANS


def ask(lab: Lab) -> list[Answered]:
    """A turn of all questions, each after the answer to the one before."""
    said = []

    def go(server: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.settimeout(5)
        made.connect((server, 53))
        return made

    for af, (turns, server) in SERVERS.items():
        with lab.client.inside(lambda server=server: go(server)) as sock:  # type: ignore[misc]
            for _, one in product(range(turns), QUESTIONS):
                for _ in range(one.times):
                    sock.send(one.wire())
                    wire = sock.recv(65535)
                    check(one, wire)
                    timed = one.opcode == dns.opcode.QUERY
                    said.append(Answered(one.rcode, _type(wire), af, wire, timed))
        for _ in range(OVER_TCP.times):
            wire = _over_tcp(lab, server)
            check(OVER_TCP, wire)
            said.append(Answered(OVER_TCP.rcode, _type(wire), af, wire, True, "tcp"))
    return [*said, *_elsewhere(lab)]


def _over_tcp(lab: Lab, server: str) -> bytes:
    """One query on a connection, with its length before it; the response without."""
    query = OVER_TCP.wire()
    with lab.client.connect(server, 53, 5) as sock:
        sock.sendall(len(query).to_bytes(2, "big") + query)
        with sock.makefile("rb") as stream:
            return stream.read(int.from_bytes(stream.read(2), "big"))


def _type(wire: bytes) -> str:
    """The type in the response's question; `~none` if it has none."""
    questions = dns.message.from_wire(wire).question
    return dns.rdatatype.to_text(questions[0].rdtype) if questions else "~none"


def check(asked: Asked, wire: bytes) -> None:
    """The response is what the question was written for, by dnspython's reading."""
    message = dns.message.from_wire(wire)
    code = dns.rcode.to_text(message.rcode())
    if code == "NOERROR" and not message.answer and not message.flags & dns.flags.TC:
        types = {record.rdtype for record in message.authority}
        code = "REFERRAL" if dns.rdatatype.NS in types else "NODATA"
    assert code == asked.rcode, message


def _elsewhere(lab: Lab) -> list[Answered]:
    """What NSD has no part in: late responses, responses to nothing; and queries for nobody."""

    def bind() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((OTHER4, 53))
        made.settimeout(5)
        return made

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.connect((OTHER4, 53))
        made.settimeout(5)
        return made

    said = []

    def reply(query: bytes) -> None:
        response = dns.message.make_response(dns.message.from_wire(query))
        response.set_rcode(dns.rcode.SERVFAIL)
        said.append(Answered("SERVFAIL", "A", "ipv4", response.to_wire(), True))
        server.sendto(response.to_wire(), client.getsockname())

    question = Asked(1, "SERVFAIL", "www.example.")
    with lab.server.inside(bind) as server, lab.client.inside(connect) as client:
        for _ in range(LATE_ONES):
            client.send(question.wire())
        waiting = [server.recv(512) for _ in range(LATE_ONES)]
        time.sleep(LATE)
        for query in waiting:
            reply(query)
        for _ in range(ORPHANS):
            reply(question.wire())
        silent = [question.wire() for _ in range(SILENT)]
        for query in [*silent, *silent[:AGAIN]]:
            client.send(query)
        lab.quiet()
    return said


def other_address(lab: Lab) -> None:
    """Give the server the address where NSD doesn't listen."""
    for line in (
        f"-n {lab.server.name} addr add {OTHER4}/24 dev eth0",
        f"-n {lab.client.name} neigh replace {OTHER4} lladdr {SERVER_MAC} dev eth0 nud permanent",
    ):
        subprocess.run(["ip", *line.split()], check=True, capture_output=True)


def unanswered_are_known(seconds: float = 9.5) -> None:
    """Wait until what is not answered has expired."""
    time.sleep(seconds)


@contextmanager
def answering(options: Sequence[str] = ("--latency-sample", "1")) -> Iterator[MeasuredAnswers]:
    """Make the lab, ask twice; it ends with the `with` block."""
    with Lab() as lab:
        other_address(lab)
        start_nsd(lab, ZONES)
        agent = Agent(lab, *options)
        ask(lab)  # every row is there before the window begins
        unanswered_are_known()
        prometheus = Prometheus(lab, rules=quick_rules(lab))
        for _ in range(6):
            prometheus.wait_for_scrape(after=time.time())
        said = ask(lab)
        unanswered_are_known()
        for _ in range(3):
            prometheus.wait_for_scrape(after=time.time())
        time.sleep(1.1)  # the rules have seen these too
        yield MeasuredAnswers(prometheus, lab, round(time.time(), 3), said)
        agent.stop()
