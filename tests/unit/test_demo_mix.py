"""The demonstration's mix: its shares, its expectations against dnspython, and its arithmetic."""

from __future__ import annotations

from collections import Counter

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import pytest

from xdpdns import vocab
from xdpdns.demo import Look, rows, to_json
from xdpdns.demo import Result as DemoResult
from xdpdns.demo.mix import QUERIES, Packet, block, tally

PACKETS = block()
QUERY_PACKETS = [packet for packet in PACKETS if packet.labels]


def test_the_shares_of_a_block() -> None:
    counts = tally(PACKETS, len(PACKETS))
    assert counts["outcome"]["query"] == QUERIES == len(QUERY_PACKETS)
    for name in vocab.DIMENSIONS:
        assert counts[name].total() == QUERIES
    assert counts["af"] == {"ipv4": 130, "ipv6": 70}
    assert counts["edns"]["1232"] == 104
    assert counts["do"]["1"] == 136
    assert counts["qtype"]["AAAA"] == 44
    assert counts["tld"][vocab.OTHER] == 20
    assert set(counts["edns"]) == set(vocab.edns_buckets((1232, 1400, 1500))) - {
        "unseen",
        "leq1399",
        "1500",
    }


def test_the_same_every_time() -> None:
    assert block() == PACKETS


def test_queries_are_what_their_labels_say() -> None:
    for packet in QUERY_PACKETS:
        assert packet.labels == decoded(packet), packet


def decoded(packet: Packet) -> tuple[str, ...]:
    """The labels by dnspython."""
    message = dns.message.from_wire(packet.payload)
    [question] = message.question
    name = question.name.to_text().lower()
    tld = name.rstrip(".").rpartition(".")[2] or "."
    known = tld.encode().lstrip(b".") in vocab.iana_tlds()
    registered = question.rdtype in vocab.registered_qtypes()
    return (
        packet.af,
        "udp",
        str(int(bool(message.flags & dns.flags.QR))),
        str(int(bool(message.ednsflags & dns.flags.DO))),
        str(int(bool(message.flags & dns.flags.AD))),
        bucket(message),
        dns.rdatatype.to_text(question.rdtype) if registered else vocab.OTHER,
        tld if known else vocab.OTHER,
    )


def bucket(message: dns.message.Message) -> str:
    if message.edns < 0:
        return "no_edns"
    size = message.payload
    for edge in (1232, 1400, 1500):
        if size < edge:
            return f"leq{edge - 1}"
        if size == edge:
            return str(edge)
    return "gt1500"


def test_what_is_no_query_does_not_parse_as_one() -> None:
    others = [packet for packet in PACKETS if not packet.labels]
    assert len(others) == 10
    for packet in others:
        assert packet.outcome in vocab.outcomes()
        if packet.outcome in ("opcode", "qdcount", "other_port"):
            continue
        with pytest.raises(dns.exception.DNSException):
            dns.message.from_wire(packet.payload)


@pytest.mark.parametrize("sent", [0, 1, 209, 210, 211, 1000])
def test_the_tally_is_that_of_the_packets_in_order(sent: int) -> None:
    endless = (PACKETS * 5)[:sent]
    assert tally(PACKETS, sent)["outcome"] == Counter(packet.outcome for packet in endless)
    tlds = Counter(packet.labels[-1] for packet in endless if packet.labels)
    assert tally(PACKETS, sent)["tld"] == tlds


def test_what_was_counted_but_never_sent_is_shown() -> None:
    sent, counted = tally(PACKETS, 210), tally(PACKETS, 210)
    planned = {name: dict.fromkeys(values, 0.5) for name, values in sent.items()}
    assert Look(1.0, planned, sent, tally(PACKETS, 210)).equal
    counted["tld"]["surprise"] += 1
    look = Look(1.0, planned, sent, counted)
    assert not look.equal
    assert rows(look, "tld")[-1] == ("surprise", 0.0, 0, 1)
    made = to_json(DemoResult("http://[::1]:1/metrics", 1.0, look))
    assert made["equal"] is False
    assert (made["sent"], made["counted"]) == (210, 210)
