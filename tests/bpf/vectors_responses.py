"""Responses and what each must count as, like `vectors`: rows are of all dimensions, by hand."""

# ruff: noqa: E501 (a table: one vector a line)
from __future__ import annotations

from typing import NamedTuple

from tests import packets as p
from tests.packets import dns_query, labels, message, opt, record
from tests.truth.reference import ResponseRow
from tests.truth.wire import MAX_STEPS


class ResponseVector(NamedTuple):
    """One fixture; `row` is None unless `outcome` is `response`."""

    description: str
    frame: bytes
    outcome: str
    row: ResponseRow | None = None


def frame(dns: bytes, *, v6: bool = False, sport: int = 53) -> bytes:
    """A response on its way back, from port 53."""
    datagram = p.udp(dns, sport=sport, dport=40000)
    if v6:
        return p.ethernet(p.ipv6(datagram, back=True), ethertype=p.IPV6)
    return p.ethernet(p.ipv4(datagram, back=True))


def framed(description: str, made: bytes, **changed: str) -> ResponseVector:
    """A vector that must be the plain row with these labels."""
    plain = ResponseRow("ipv4", "udp", "NODATA", "0", "0", "0", "0", "no_edns", "A", "com")
    return ResponseVector(description, made, "response", plain._replace(**changed))


def response(description: str, dns: bytes, **changed: str) -> ResponseVector:
    return framed(description, frame(dns), **changed)


def other(description: str, outcome: str, made: bytes) -> ResponseVector:
    return ResponseVector(description, made, outcome)


POINTER = b"\xc0\x0c"
ANSWER = record(POINTER, p.A, bytes(4))
EMPTY_RECORD = record(".", p.A)
NS = record(POINTER, p.NS, b"\x03ns1" + POINTER)
LONG_NS = record("a.b.c.example.com", p.NS, POINTER)
NODATA = dns_query(qr=1)
REFERRAL = dns_query(qr=1, authority=[NS])


RCODES = [
    *(
        response(f"rcode {number}", dns_query(qr=1, rcode=number, answers=[ANSWER]), rcode=name)
        for number, name in enumerate(
            ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE", "DSOTYPENI", "~other", "~other", "~other", "~other"]
        )
    ),
    *(
        response(
            f"extended rcode {16 + low}",
            dns_query(qr=1, rcode=low, answers=[ANSWER], additional=[opt(1232, rcode=1)]),
            rcode=name,
            edns="1232",
        )
        for low, name in enumerate(
            ["BADVERS", "BADKEY", "BADTIME", "BADMODE", "BADNAME", "BADALG", "BADTRUNC", "BADCOOKIE", "~other"]
        )
    ),
    response("extended rcode 4095", dns_query(qr=1, rcode=15, additional=[opt(512, rcode=255)]), rcode="~other", edns="leq1231"),
    response("extended rcode 32, whose lower bits are NOERROR's", dns_query(qr=1, additional=[opt(1400, rcode=2)]), rcode="~other", edns="1400"),
    response("extended rcode before other records", dns_query(qr=1, additional=[opt(1232, rcode=1), ANSWER]), rcode="BADVERS", edns="1232"),
    response("NXDOMAIN with NS records is no referral", dns_query(qr=1, rcode=3, authority=[NS]), rcode="NXDOMAIN"),
]  # fmt: skip

EMPTY = [
    response("NODATA with nothing", NODATA),
    response("NODATA with an SOA", dns_query(qr=1, aa=1, authority=[p.soa()]), aa="1"),
    response("referral", REFERRAL, rcode="REFERRAL"),
    response("referral, its owner not compressed", dns_query(qr=1, authority=[LONG_NS]), rcode="REFERRAL"),
    response("referral with DS, glue and OPT", dns_query(qr=1, authority=[NS, record(POINTER, 43, bytes(36))], additional=[ANSWER, opt(1232, do=True)]), rcode="REFERRAL", edns="1232", do="1"),
    response("NS not in the first record", dns_query(qr=1, authority=[p.soa(), NS])),
    response("NS in the additional section alone", dns_query(qr=1, additional=[NS])),
    response("NSCOUNT with no record", message(p.question("example.com"), qr=1, counts=(1, 0, 1, 0))),
    response("NSCOUNT whose first record's fixed part is cut", dns_query(qr=1, counts=(1, 0, 1, 0), trailing=NS[:11])),
    response("NSCOUNT whose first record's data is cut", dns_query(qr=1, counts=(1, 0, 1, 0), trailing=NS[:12]), rcode="REFERRAL"),
    response("an OPT for the first record of the authority", dns_query(qr=1, authority=[opt(1500), NS]), edns="1500"),
    response("truncated: what it would have held is not known", dns_query(qr=1, tc=1), tc="1", rcode="NOERROR"),
    response("truncated referral", dns_query(qr=1, tc=1, authority=[NS]), tc="1", rcode="NOERROR"),
    response("NS in the answer section", dns_query(qtype=p.NS, qr=1, answers=[NS]), rcode="NOERROR", qtype="NS"),
    response("ANCOUNT with no record", dns_query(qr=1, counts=(1, 1, 0, 0)), rcode="NOERROR"),
    response("type of the first record 0x0200, not NS", dns_query(qr=1, authority=[record(POINTER, 0x0200)])),
]  # fmt: skip

QUESTIONS = [
    response("FORMERR without a question", message(qr=1, rcode=1, counts=(0, 0, 0, 0)), rcode="FORMERR", qtype="~none", tld="~none"),
    response("BADVERS without a question", message(opt(1232, rcode=1), qr=1, counts=(0, 0, 0, 1)), rcode="BADVERS", qtype="~none", tld="~none", edns="1232"),
    response("referral without a question", message(record("com", p.NS), qr=1, counts=(0, 0, 1, 0)), rcode="REFERRAL", qtype="~none", tld="~none"),
    response("a question that QDCOUNT denies", message(p.question("example.com"), qr=1, counts=(0, 0, 0, 0)), qtype="~none", tld="~none"),
    response("question for the root", dns_query(".", p.NS, qr=1, answers=[NS]), rcode="NOERROR", qtype="NS", tld="."),
    response("TLD that reads like none", dns_query(labels(b"~none"), qr=1), tld=r"\126none"),
    response("type 0", dns_query(qtype=0, qr=1), qtype="TYPE0"),
    response("class CH", dns_query("version.bind", p.TXT, p.CH, qr=1, answers=[ANSWER]), rcode="NOERROR", qtype="TXT", tld="bind"),
    response("255 bytes of name", dns_query(labels(b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61), qr=1), tld="d" * 61),
    other("two questions", "qdcount", frame(message(p.question("a.com") * 2, qr=1, counts=(2, 0, 0, 0)))),
    other("256 questions", "qdcount", frame(message(p.question("a.com"), qr=1, counts=(256, 0, 0, 0)))),
    other("a query", "not_response", frame(dns_query())),
    other("a query with two questions", "not_response", frame(message(p.question("a.com") * 2, counts=(2, 0, 0, 0)))),
    other("pointer in the question", "name_compressed", frame(dns_query(POINTER, qr=1))),
    other("reserved label type", "name_reserved", frame(dns_query(b"\x40\x00", qr=1))),
    other("name of 256 bytes", "name_too_long", frame(dns_query(labels(b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 62), qr=1))),
    other("message that ends in the name", "name_truncated", frame(NODATA[:20])),
    other("message that ends in the class", "question_truncated", frame(NODATA[:-1])),
    other("message without a whole header", "dns_truncated", frame(NODATA[:11])),
    *(response(f"opcode {opcode}", dns_query(qr=1, opcode=opcode, rcode=4), rcode="NOTIMP") for opcode in (1, 2, 4, 5, 15)),
]  # fmt: skip

FLAGS = [
    response("AA", dns_query(qr=1, aa=1), aa="1"),
    response("AD", dns_query(qr=1, ad=1), ad="1"),
    response("TC, AA, AD", dns_query(qr=1, tc=1, aa=1, ad=1), tc="1", aa="1", ad="1", rcode="NOERROR"),
    response("RA, RD, CD, Z count in the marginals only", dns_query(qr=1, ra=1, rd=1, cd=1, z=1)),
    response("DO", dns_query(qr=1, additional=[opt(4096, do=True)]), do="1", edns="gt1500"),
]  # fmt: skip

WALKS = [
    response("OPT behind as many answers as the walk has steps for", dns_query(qr=1, answers=[EMPTY_RECORD] * (MAX_STEPS - 1), additional=[opt(1232)]), rcode="NOERROR", edns="1232"),
    response("OPT one step beyond the walk", dns_query(qr=1, answers=[EMPTY_RECORD] * MAX_STEPS, additional=[opt(1232, rcode=1)]), rcode="NOERROR", edns="unseen"),
    response("more records than the walk has steps, none additional", dns_query(qr=1, answers=[EMPTY_RECORD] * (MAX_STEPS + 1)), rcode="NOERROR"),
    response("records that run past the end", dns_query(qr=1, counts=(1, 0, 0, 2), trailing=opt(1232)[:5]), edns="unseen"),
    response("owner name of a reserved label type", dns_query(qr=1, authority=[b"\x80" + NS], counts=(1, 0, 1, 1)), edns="unseen"),
    response("owner that points to itself", dns_query(qr=1, authority=[record(b"\xc0\x1d", p.NS)]), rcode="REFERRAL"),
]  # fmt: skip

FRAMING_RESPONSES = [
    framed("over IPv6", frame(REFERRAL, v6=True), rcode="REFERRAL", af="ipv6"),
    framed("VLAN", p.ethernet(p.vlan(frame(NODATA)[14:]), ethertype=p.DOT1Q)),
    framed("IPv4 options", p.ethernet(p.ipv4(p.udp(NODATA, sport=53), options=b"\1" * 8))),
    framed("IPv6 destination options", p.ethernet(p.ipv6(p.udp(NODATA, sport=53), extensions=[p.options_header(p.DSTOPTS)]), ethertype=p.IPV6), af="ipv6"),
    framed("padding that looks like an NS record is not in the message", frame(dns_query(qr=1, counts=(1, 0, 1, 0))) + NS),
    framed("UDP length that cuts the record off", p.ethernet(p.ipv4(p.udp(REFERRAL, sport=53, length=8 + len(NODATA))))),
    framed("first fragment", p.ethernet(p.ipv4(p.udp(REFERRAL, sport=53), more=True)), rcode="REFERRAL"),
    framed("from port 53 to port 53", p.ethernet(p.ipv4(p.udp(NODATA, sport=53, dport=53)))),
    other("later fragment", "fragment", p.ethernet(p.ipv4(p.udp(NODATA, sport=53), offset=1))),
    other("to port 53", "other_port", p.frame4(NODATA)),
    other("from port 54", "other_port", frame(NODATA, sport=54)),
    other("TCP from port 53", "tcp", p.ethernet(p.ipv4(p.tcp(NODATA, sport=53, dport=40000), proto=p.TCP))),
    other("TCP to port 53", "not_udp", p.ethernet(p.ipv4(p.tcp(NODATA, sport=40000, dport=53), proto=p.TCP))),
    other("UDP from 853: DNS over QUIC", "doq", frame(NODATA, sport=853)),
    other("UDP from 443: HTTP/3", "doh3", frame(NODATA, sport=443)),
    other("UDP to 853", "other_port", p.frame4(NODATA, dport=853)),
    other("TCP from 853: DNS over TLS", "dot", p.ethernet(p.ipv4(p.tcp(NODATA, sport=853, dport=40000), proto=p.TCP))),
    other("TCP to 853", "not_udp", p.ethernet(p.ipv4(p.tcp(NODATA, sport=40000, dport=853), proto=p.TCP))),
    other("UDP header cut", "udp_malformed", p.ethernet(p.ipv4(p.udp(NODATA, sport=53)[:7]))),
    other("UDP length 7", "udp_malformed", p.ethernet(p.ipv4(p.udp(NODATA, sport=53, length=7)))),
    other("ARP", "not_ip", p.ethernet(bytes(28), ethertype=p.ARP)),
]  # fmt: skip

RESPONSES = RCODES + EMPTY + QUESTIONS + FLAGS + WALKS + FRAMING_RESPONSES
