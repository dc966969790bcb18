"""Each rule explains the packet that it is for, by its own name, and no plain one."""

from __future__ import annotations

from pathlib import Path

import dpkt
import pytest

from tests import packets as p
from tests.bpf.vectors import VECTORS, Vector
from tests.bpf.vectors_framing import FRAMING
from tests.truth import rules, tshark
from tests.truth.reference import Config, Verdict

EXACT = Config(tlds=None, registered_only=False)

# What tshark sees differently of the vectors, and why. Descriptions that stand twice are of both
# families.
EXPLAINED = {
    "bytes over 0x80 are not lower-cased": rules.unprintable_name,
    "newline in the TLD": rules.unprintable_name,
    "NUL in the TLD": rules.unprintable_name,
    "0xff in the TLD": rules.unprintable_name,
    "dot in the TLD": rules.unprintable_name,
    "DEL in the TLD": rules.unprintable_name,
    "TLD of one NUL": rules.unprintable_name,
    "TLD that begins with NUL": rules.unprintable_name,
    "TLD that ends with NUL": rules.unprintable_name,
    "TLD of one dot, which is not the root": rules.unprintable_name,
    "compression pointer in place of the name": rules.name_notice,
    "compression pointer after a label": rules.name_notice,
    "name of 256 bytes": rules.name_notice,
    "name of 128 labels": rules.name_notice,
    "OPT whose options run past the end": rules.cut_data,
    "one record more than the walk has steps, no OPT": rules.walk_bound,
    "OPT one step beyond the walk": rules.walk_bound,
    "OPT one step beyond a long owner name": rules.walk_bound,
    "the last record's data runs past the end: it was no OPT": rules.cut_data,
    "three tags": rules.three_tags,
    "tag 0x9100 is not of a standard": rules.tag_9100,
    "IPv6 under EtherType IPv4": rules.version_before_ethertype,
    "first fragment that holds the question": rules.cut_records,
    "total length 0": rules.total_length_zero,
    "ICMP error that quotes a query": rules.layers_between,
    "AH over IPv4 is not looked behind": rules.layers_between,
    "IPv6 in IPv4": rules.layers_between,
    "nine extension headers": rules.extension_bound,
    "UDP length 0 over IPv6": rules.udp_length_zero,
    "UDP-Lite (136) is not UDP": rules.layers_between,
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, rules.Case]:
    """Every vector that tshark sees differently, by description."""
    if tshark.MISSING:
        pytest.skip("tshark is missing")
    path = tmp_path_factory.mktemp("rules") / "vectors.pcap"
    vectors = VECTORS + FRAMING
    write(path, vectors)
    found = {}
    for vector, seen in zip(vectors, tshark.dissect(path), strict=True):
        theirs = tshark.row(seen, EXACT)
        if theirs != vector.row:
            ours = Verdict(vector.outcome, vector.row)
            found[vector.description] = rules.Case(vector.frame, ours, theirs, seen)
    return found


def write(path: Path, vectors: list[Vector]) -> None:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for vector in vectors:
            writer.writepkt(vector.frame, ts=0)


def test_tshark_agrees_on_all_other_vectors(cases: dict[str, rules.Case]) -> None:
    assert cases.keys() == EXPLAINED.keys()


@pytest.mark.parametrize("description", EXPLAINED)
def test_the_rule_explains_it(cases: dict[str, rules.Case], description: str) -> None:
    assert rules.explain(cases[description]) == EXPLAINED[description].__name__


def test_every_rule_is_tested() -> None:
    assert set(EXPLAINED.values()) == set(rules.RULES)


PLAIN = Verdict("query", VECTORS[0].row)
SEEN = tshark.Dissection(
    *(["eth:ethertype:ip:udp:dns"], ["53"], ["0x0100"], ["1"], ["0"], ["0"], ["0"]),
    *(["example.com"], ["1"], [], [], [], [], []),
    *(["40000"], [], [], [], ["0x0001"]),
)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("difference", ["qtype", "tld", "af", "qr", "ad"])
def test_no_rule_explains_a_wrong_row(rule: object, difference: str) -> None:
    assert callable(rule)
    assert PLAIN.row is not None
    theirs = PLAIN.row._replace(**{difference: "wrong"})
    frame = p.frame4(p.dns_query())
    assert not rule(rules.Case(frame, PLAIN, theirs, SEEN))
    assert not rule(rules.Case(frame, PLAIN, None, SEEN))


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("outcome", ["other_port", "dns_truncated", "qdcount", "ip_malformed"])
def test_no_rule_explains_a_missed_query(rule: object, outcome: str) -> None:
    assert callable(rule)
    frame = p.frame4(p.dns_query())
    assert not rule(rules.Case(frame, Verdict(outcome), PLAIN.row, SEEN))
