"""Responses made by dnspython, through the program that counts responses: one row each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.truth.loading import EXACT, load
from tests.truth.runner import Runner
from xdpdns import vocab
from xdpdns.settings import ProgramSettings

SETTINGS = ProgramSettings(
    side="responses", labels=vocab.RESPONSE_DIMENSIONS, tlds="all", qtypes="all"
)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    require_root()
    with load(SETTINGS) as program:
        yield Runner(program, EXACT)


def response(qname: str = "www.example.nl", qtype: str = "A", **edns: int) -> dns.message.Message:
    query = dns.message.make_query(qname, qtype, **edns)  # type: ignore[arg-type]
    answer = dns.message.make_response(query)
    if edns:
        answer.use_edns(0, edns.get("ednsflags", 0), edns.get("payload", 1232))
    return answer


def add(section: list[dns.rrset.RRset], owner: str, kind: str, text: str) -> None:
    section.append(dns.rrset.from_text(owner, 300, "IN", kind, text))


def frame(message: dns.message.Message | bytes, *, v6: bool = False) -> bytes:
    wire = message if isinstance(message, bytes) else message.to_wire()
    datagram = p.udp(wire, sport=53, dport=40000)
    return p.ethernet(p.ipv6(datagram), ethertype=p.IPV6) if v6 else p.ethernet(p.ipv4(datagram))


def row(**changed: str) -> tuple[str, ...]:
    words = dict(
        zip(
            vocab.RESPONSE_DIMENSIONS,
            ("ipv4", "udp", "NOERROR", "0", "0", "0", "0", "no_edns", "A", "nl"),
            strict=True,
        )
    )
    return tuple({**words, **changed}.values())


def counted(runner: Runner, message: dns.message.Message | bytes, **kind: bool) -> tuple[str, ...]:
    """The row of one response; there must be just one, and its outcome."""
    snapshot = runner.run([frame(message, **kind)])
    assert {k: n for k, n in snapshot.outcomes.items() if n} == {"response": 1}
    [(found, count)] = snapshot.queries.items()
    assert count == 1
    return found


def test_answer(runner: Runner) -> None:
    answer = response()
    answer.flags |= dns.flags.AA
    add(answer.answer, "www.example.nl.", "A", "192.0.2.1")
    assert counted(runner, answer) == row(aa="1")
    assert counted(runner, answer, v6=True) == row(aa="1", af="ipv6")


@pytest.mark.parametrize("number", range(24))
def test_every_rcode(runner: Runner, number: int) -> None:
    answer = response(payload=1400, use_edns=0)
    add(answer.answer, "www.example.nl.", "A", "192.0.2.1")
    answer.set_rcode(dns.rcode.Rcode.make(number))
    name = "~other" if 11 < number < 16 else dns.rcode.to_text(dns.rcode.Rcode.make(number))
    assert counted(runner, answer) == row(rcode=name, edns="1400")


def test_extended_rcode_that_nobody_registered(runner: Runner) -> None:
    answer = response(payload=512, use_edns=0)
    answer.set_rcode(dns.rcode.Rcode.make(4095))
    assert counted(runner, answer) == row(rcode="~other", edns="leq1231")


def test_nodata_has_a_soa(runner: Runner) -> None:
    answer = response()
    answer.flags |= dns.flags.AA
    add(answer.authority, "nl.", "SOA", "ns. root. 1 2 3 4 5")
    assert counted(runner, answer) == row(rcode="NODATA", aa="1")


def test_nodata_may_have_nothing(runner: Runner) -> None:
    assert counted(runner, response()) == row(rcode="NODATA")


def test_referral(runner: Runner) -> None:
    answer = response(use_edns=0, payload=1232, ednsflags=dns.flags.DO)
    add(answer.authority, "example.nl.", "NS", "ns1.example.nl.")
    add(answer.authority, "example.nl.", "DS", "1 13 2 " + "00" * 32)
    add(answer.additional, "ns1.example.nl.", "A", "192.0.2.53")
    assert counted(runner, answer) == row(rcode="REFERRAL", edns="1232", do="1")


def test_referral_with_a_long_owner(runner: Runner) -> None:
    """The owner isn't compressed: labels are stepped over before the type is seen."""
    head = response("a.b.c.d.example.nl").to_wire()
    counts = b"\0\1" + b"\0\0" + b"\0\1" + b"\0\0"
    owner = b"\7example\2nl\0"
    record = owner + b"\0\2\0\1\0\0\1\54\0\6\3ns1\300\14"
    assert counted(runner, head[:4] + counts + head[12:] + record) == row(rcode="REFERRAL")


def test_a_negative_answer_is_no_referral(runner: Runner) -> None:
    answer = response()
    answer.set_rcode(dns.rcode.NXDOMAIN)
    add(answer.authority, "nl.", "NS", "ns1.example.nl.")
    assert counted(runner, answer) == row(rcode="NXDOMAIN")


def test_truncated(runner: Runner) -> None:
    answer = response()
    answer.flags |= dns.flags.TC
    assert counted(runner, answer) == row(tc="1")


@pytest.mark.parametrize("bit", ["aa", "tc", "ad"])
def test_flags(runner: Runner, bit: str) -> None:
    answer = response()
    answer.flags |= dns.flags.from_text(bit.upper())
    rcode = "NOERROR" if bit == "tc" else "NODATA"
    assert counted(runner, answer) == row(rcode=rcode, **{bit: "1"})


def test_formerr_without_a_question(runner: Runner) -> None:
    header = b"\x12\x34\x80\x01" + bytes(8)
    assert counted(runner, header) == row(rcode="FORMERR", qtype="~none", tld="~none")


@pytest.mark.parametrize(("qtypes", "name"), [("all", "TYPE0"), ("registered", "~other")])
def test_type_0_is_not_no_question(qtypes: str, name: str) -> None:
    """Also where the type is the only dimension."""
    require_root()
    with load(replace(SETTINGS, labels=("qtype",), qtypes=qtypes)) as program:
        frames = [frame(p.dns_query(qtype=0, qr=1)), frame(b"\x12\x34\x80\x01" + bytes(8))]
        rows = Runner(program, EXACT).run(frames).queries
    assert rows == {(name,): 1, ("~none",): 1}


def test_badvers_without_a_question(runner: Runner) -> None:
    header = b"\x12\x34\x80\x00" + bytes(6) + b"\0\1"
    opt = b"\0\0\x29\x04\xd0\x01\0\0\0\0\0"
    assert counted(runner, header + opt) == row(
        rcode="BADVERS", qtype="~none", tld="~none", edns="1232"
    )


def test_notimp_of_another_opcode(runner: Runner) -> None:
    answer = response()
    answer.set_opcode(dns.opcode.STATUS)
    answer.set_rcode(dns.rcode.NOTIMP)
    assert counted(runner, answer) == row(rcode="NOTIMP")


def test_root(runner: Runner) -> None:
    answer = response(".", "NS")
    add(answer.answer, ".", "NS", "a.root-servers.net.")
    assert counted(runner, answer) == row(qtype="NS", tld=".")


def test_a_tld_that_reads_like_none_is_told_apart() -> None:
    assert vocab.tld_text(b"~none") != vocab.NONE


def test_no_response(runner: Runner) -> None:
    query = dns.message.make_query("example.nl", "A")
    snapshot = runner.run([frame(query)])
    assert {k: n for k, n in snapshot.outcomes.items() if n} == {"not_response": 1}
    assert snapshot.queries == {}


def test_other_direction(runner: Runner) -> None:
    """What goes to port 53 is not this program's to count."""
    wire = response().to_wire()
    snapshot = runner.run([p.ethernet(p.ipv4(p.udp(wire, dport=53, sport=40000)))])
    assert {k: n for k, n in snapshot.outcomes.items() if n} == {"other_port": 1}


def test_every_cut(runner: Runner) -> None:
    """A response cut anywhere has one outcome, and a row only once its question is whole."""
    answer = response()
    add(answer.authority, "example.nl.", "NS", "ns1.example.nl.")
    wire = answer.to_wire()
    question = 12 + 16 + 4
    for length in range(len(wire) + 1):
        snapshot = runner.run([frame(wire[:length])])
        assert sum(snapshot.outcomes.values()) == 1
        assert sum(snapshot.queries.values()) == int(length >= question), length
        referral = length >= question + 2 + 10  # its owner is a pointer
        if length >= question:
            assert list(snapshot.queries) == [row(rcode="REFERRAL" if referral else "NODATA")]
