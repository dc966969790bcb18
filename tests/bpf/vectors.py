"""Packets and what each must count as: description, frame, outcome, row.

The rows are those of `--tlds all --qtypes all`, written by hand, label by label; a vector without a
row is no query. The frames that matter for the layers below DNS are in `vectors_framing`.
"""

# ruff: noqa: E501 (a table: one vector a line)
from __future__ import annotations

from typing import NamedTuple

from tests import packets as p
from tests.packets import dns_query, frame4, frame6, labels, message, opt, question, record
from tests.truth.reference import Row
from tests.truth.wire import MAX_STEPS


class Vector(NamedTuple):
    """One fixture; `row` is None unless `outcome` is `query`."""

    description: str
    frame: bytes
    outcome: str
    row: Row | None = None


def query(
    description: str,
    frame: bytes,
    qtype: str = "A",
    tld: str = "com",
    *,
    af: str = "ipv4",
    qr: int = 0,
    do: int = 0,
    ad: int = 0,
    edns: str = "no_edns",
) -> Vector:
    """A vector that must be this row."""
    row = Row(af, "udp", str(qr), str(do), str(ad), edns, qtype, tld)
    return Vector(description, frame, "query", row)


IP6_ARPA = ".".join("0123456789abcdef" * 2) + ".ip6.arpa"
NAME_127 = labels(*[b"a"] * 127)
NAME_255 = labels(b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61)
NAME_256 = labels(b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 62)
NAME_128 = labels(*[b"a"] * 128)
SLD = b"example"

NAMES = [
    query("plain A query", frame4(dns_query())),
    query("plain AAAA query over IPv6", frame6(dns_query(qtype=p.AAAA)), "AAAA", af="ipv6"),
    query("full ip6.arpa PTR, 34 labels", frame4(dns_query(IP6_ARPA, p.PTR)), "PTR", "arpa"),
    query("127 labels, 255 bytes", frame4(dns_query(NAME_127)), tld="a"),
    query("255 bytes of long labels", frame4(dns_query(NAME_255)), tld="d" * 61),
    query("30 labels", frame4(dns_query(labels(*[b"x"] * 29, b"com")))),
    query("31 labels", frame4(dns_query(labels(*[b"x"] * 30, b"com")))),
    *(
        query(f"{count} one-byte labels below com", frame4(dns_query("x." * count + "com")))
        for count in (2, 3, 4, 5, 7, 8, 9, 12, 13)
    ),
    query("one-byte labels in the middle", frame4(dns_query("ab.x.x.x.x.cd.x.x.x.x.x.e.org")), tld="org"),
    query("TLD of one byte after four one-byte labels", frame4(dns_query("a.b.c.d.e")), tld="e"),
    query("root NS", frame4(dns_query(".", p.NS)), "NS", "."),
    query("root NS over IPv6 with EDNS", frame6(dns_query(".", p.NS, additional=[opt(4096, do=True)])), "NS", ".", af="ipv6", do=1, edns="gt1500"),
    query("one label", frame4(dns_query("com", p.NS)), "NS"),
    query("one label of one byte", frame4(dns_query("x")), tld="x"),
    *(
        query(f"TLD of {len(tld)} bytes", frame4(dns_query(f"example.{tld}")), tld=tld)
        for tld in ("ab", "abcdefg", "abcdefgh", "abcdefghi", "vlaanderen", "accountants")
    ),
    query("TLD of 23 bytes", frame4(dns_query("example." + "t" * 23)), tld="t" * 23),
    query("the longest real TLD, 24 bytes", frame4(dns_query("example.xn--vermgensberatung-pwb")), tld="xn--vermgensberatung-pwb"),
    query("TLD of 25 bytes", frame4(dns_query("example." + "t" * 25)), tld="t" * 25),
    query("TLD of 63 bytes", frame4(dns_query("example." + "z" * 63)), tld="z" * 63),
    query("TLD of 63 bytes, alone", frame4(dns_query("z" * 63)), tld="z" * 63),
    query("mixed case", frame4(dns_query("eXaMpLe.CoM"))),
    query("mixed case in a TLD of 24 bytes", frame4(dns_query("example.XN--Vermgensberatung-PWB")), tld="xn--vermgensberatung-pwb"),
    query("neighbours of the letters are not lower-cased", frame4(dns_query(labels(SLD, b"@AZ[`az{"))), tld="@az[`az{"),
    query("bytes over 0x80 are not lower-cased", frame4(dns_query(labels(SLD, b"\xc1\xda\xe1"))), tld=r"\193\218\225"),
    query("digits and hyphen in the TLD", frame4(dns_query("host.x-7")), tld="x-7"),
    *(
        query(f"{what} in the TLD", frame4(dns_query(labels(SLD, b"a" + byte + b"b"))), tld=f"a\\{byte[0]:03d}b")
        for what, byte in (
            ("quote", b'"'),
            ("backslash", b"\\"),
            ("newline", b"\n"),
            ("NUL", b"\0"),
            ("0xff", b"\xff"),
            ("dot", b"."),
            ("space", b" "),
            ("DEL", b"\x7f"),
        )
    ),
    query("TLD of one NUL", frame4(dns_query(labels(SLD, b"\0"))), tld=r"\000"),
    query("TLD that begins with NUL", frame4(dns_query(labels(SLD, b"\0com"))), tld=r"\000com"),
    query("TLD that ends with NUL", frame4(dns_query(labels(SLD, b"com\0"))), tld=r"com\000"),
    query("TLD of one dot, which is not the root", frame4(dns_query(labels(SLD, b"."))), tld=r"\046"),
    query("TLD that spells ~other", frame4(dns_query(labels(SLD, b"~other"))), tld=r"\126other"),
    query("odd bytes in a lower label do not matter", frame4(dns_query(labels(b'".\\\n\0\xff', b"com")))),
    query("a label that holds what looks like a whole name", frame4(dns_query(labels(b"\3org\0\0\1\0\1", b"com")))),
    Vector("compression pointer in place of the name", frame4(dns_query(b"\xc0\x0c")), "name_compressed"),
    Vector("compression pointer after a label", frame4(dns_query(b"\7example\xc0\x0c")), "name_compressed"),
    Vector("half of a compression pointer at the end", frame4(message(b"\7example\xc0")), "name_compressed"),
    Vector("label type 0x40 (RFC 2673)", frame4(dns_query(b"\x41\x08\xff\0")), "name_reserved"),
    Vector("label type 0x80", frame4(dns_query(b"\1a\x80\0")), "name_reserved"),
    Vector("name without end", frame4(message(b"\7example\3com")), "name_truncated"),
    Vector("message ends inside a label", frame4(message(b"\7exam")), "name_truncated"),
    Vector("message ends after a length byte", frame4(message(b"\7example\3")), "name_truncated"),
    Vector("header alone, QDCOUNT 1", frame4(message()), "name_truncated"),
    Vector("name of 256 bytes", frame4(dns_query(NAME_256)), "name_too_long"),
    Vector("name of 128 labels", frame4(dns_query(NAME_128)), "name_too_long"),
    Vector("endless one-byte labels", frame4(message(b"\1a" * 240)), "name_too_long"),
    Vector("message ends before the type", frame4(message(p.name("example.com"))), "question_truncated"),
    Vector("message ends inside the type", frame4(message(p.name("example.com") + b"\0")), "question_truncated"),
    Vector("message ends inside the class", frame4(message(question("example.com")[:-1])), "question_truncated"),
    Vector("root with no type", frame4(message(b"\0")), "question_truncated"),
]  # fmt: skip

HEADERS = [
    query("CAA (257) is not A", frame4(dns_query(qtype=p.CAA)), "CAA"),
    query("TYPE65281", frame4(dns_query(qtype=65281)), "TYPE65281"),
    query("HTTPS (65)", frame4(dns_query(qtype=p.HTTPS)), "HTTPS"),
    query("type 255", frame4(dns_query(qtype=p.ANY)), "ANY"),
    query("type 0", frame4(dns_query(qtype=0)), "TYPE0"),
    query("type 256", frame4(dns_query(qtype=256)), "URI"),
    query("CHAOS TXT version.bind", frame4(dns_query("version.bind", p.TXT, p.CH)), "TXT", "bind"),
    query("AD", frame4(dns_query(ad=1)), ad=1),
    query("QR", frame4(dns_query(qr=1)), qr=1),
    query("DO", frame4(dns_query(additional=[opt(1232, do=True)])), do=1, edns="1232"),
    query("AD, QR and DO", frame6(dns_query(qr=1, ad=1, additional=[opt(1232, do=True)])), af="ipv6", qr=1, ad=1, do=1, edns="1232"),
    query("CD, TC, Z, AA and RA are not AD", frame4(dns_query(cd=1, tc=1, z=1, aa=1, ra=1))),
    query("RCODE 15", frame4(dns_query(rcode=15))),
    Vector("QDCOUNT 0", frame4(dns_query(counts=(0, 0, 0, 0))), "qdcount"),
    Vector("QDCOUNT 0 with a record", frame4(dns_query(counts=(0, 0, 0, 1))), "qdcount"),
    Vector("QDCOUNT 2", frame4(dns_query(trailing=question("example.org"), counts=(2, 0, 0, 0))), "qdcount"),
    Vector("QDCOUNT 256: the upper byte counts", frame4(dns_query(counts=(256, 0, 0, 0))), "qdcount"),
    Vector("QDCOUNT 257", frame4(dns_query(counts=(257, 0, 0, 0))), "qdcount"),
    Vector("IQUERY", frame4(dns_query(opcode=p.IQUERY)), "opcode"),
    Vector("STATUS", frame4(dns_query(opcode=p.STATUS)), "opcode"),
    Vector("NOTIFY", frame4(dns_query(qtype=p.SOA, opcode=p.NOTIFY, answers=[p.soa()])), "opcode"),
    Vector("UPDATE", frame4(dns_query(qtype=p.SOA, opcode=p.UPDATE, authority=[record("a.example.com", p.A, bytes(4))])), "opcode"),
    Vector("opcode 15", frame4(dns_query(opcode=15)), "opcode"),
    Vector("opcode is judged before QDCOUNT", frame4(dns_query(opcode=p.UPDATE, counts=(0, 0, 0, 0))), "opcode"),
    Vector("query of 12 bytes, all zero", frame4(bytes(12)), "qdcount"),
    Vector("11 bytes", frame4(message()[:11]), "dns_truncated"),
    Vector("empty UDP", frame4(b""), "dns_truncated"),
    query("question alone, nothing after it", frame4(message(question("a.example.com")))),
]  # fmt: skip

FOUR = b"\0\0\0\0"
EIGHT_RECORDS = [record("a.example", p.A, FOUR)] * 8
TINY = record(b"\xc0\x0c", p.A)

RECORDS = [
    query("OPT, DO clear", frame4(dns_query(additional=[opt(1232)])), edns="1232"),
    *(
        query(f"EDNS size {size}", frame4(dns_query(additional=[opt(size)])), edns=edns)
        for size, edns in (
            (0, "leq1231"),
            (512, "leq1231"),
            (1231, "leq1231"),
            (1233, "leq1399"),
            (1399, "leq1399"),
            (1400, "1400"),
            (1401, "leq1499"),
            (1499, "leq1499"),
            (1500, "1500"),
            (1501, "gt1500"),
            (4096, "gt1500"),
            (65535, "gt1500"),
        )
    ),
    query("EDNS version 1 with DO clear", frame4(dns_query(additional=[opt(1400, version=1)])), edns="1400"),
    query("EDNS version 1 with DO", frame4(dns_query(additional=[opt(1400, version=1, do=True)])), edns="1400", do=1),
    query("extended RCODE 0x80 with DO clear", frame4(dns_query(additional=[opt(1500, rcode=0x80)])), edns="1500"),
    query("version 255, extended RCODE 255, DO", frame4(dns_query(additional=[opt(rcode=255, version=255, do=True)])), edns="1232", do=1),
    query("OPT with a cookie", frame4(dns_query(additional=[opt(do=True, options=b"\0\x0a\0\x08" + bytes(8))])), edns="1232", do=1),
    query("OPT before TSIG", frame4(dns_query(additional=[opt(do=True), p.tsig()])), edns="1232", do=1),
    query("OPT after TSIG", frame4(dns_query(additional=[p.tsig(), opt(do=True)])), edns="1232", do=1),
    query("two OPTs: the first counts", frame4(dns_query(additional=[opt(1400, do=True), opt(4096)])), edns="1400", do=1),
    query("TSIG alone", frame4(dns_query(additional=[p.tsig()]))),
    query("IXFR: SOA in authority, then OPT", frame4(dns_query(qtype=p.IXFR, authority=[p.soa()], additional=[opt(1500)])), "IXFR", edns="1500"),
    query("OPT in the answer section", frame4(dns_query(answers=[opt(1500)])), edns="1500"),
    query("OPT in the authority section", frame4(dns_query(authority=[opt(1500, do=True)])), edns="1500", do=1),
    query("OPT with an owner name that is not the root", frame4(dns_query(additional=[opt(owner=p.name("odd.example"))])), edns="1232"),
    query("OPT with a pointer for an owner name", frame4(dns_query(additional=[opt(owner=b"\xc0\x0c")])), edns="1232"),
    query("OPT whose options run past the end", frame4(dns_query(additional=[record(".", p.OPT, rclass=1232, ttl=0x8000, rdlength=99)])), edns="1232", do=1),
    query("ARCOUNT 0 with an OPT as trailing bytes", frame4(dns_query(trailing=opt(do=True)))),
    query("ARCOUNT 0 with other trailing bytes", frame4(dns_query(trailing=b"\xff" * 40))),
    query("ARCOUNT 1, an A record, then an OPT past the counts", frame4(dns_query(additional=[record("a.example", p.A, FOUR)], trailing=opt(do=True)))),
    query("OPT as ninth record", frame4(dns_query(additional=[*EIGHT_RECORDS, opt(do=True)])), edns="1232", do=1),
    query("nine records and no OPT", frame4(dns_query(additional=[*EIGHT_RECORDS, p.tsig()]))),
    query("OPT as the walk's last step", frame4(dns_query(additional=[TINY] * (MAX_STEPS - 1) + [opt(do=True)])), edns="1232", do=1),
    query("as many records as the walk has steps, no OPT", frame4(dns_query(additional=[TINY] * MAX_STEPS))),
    query("OPT one step beyond the walk", frame4(dns_query(additional=[TINY] * MAX_STEPS + [opt(do=True)])), edns="unseen"),
    query("one record more than the walk has steps, no OPT", frame4(dns_query(additional=[TINY] * (MAX_STEPS + 1))), edns="unseen"),
    query("one answer more than the walk has steps, ARCOUNT 0", frame4(dns_query(answers=[TINY] * (MAX_STEPS + 1)))),
    query("ARCOUNT 1 but the message ends", frame4(dns_query(counts=(1, 0, 0, 1))), edns="unseen"),
    query("ARCOUNT 65535 but the message ends", frame4(dns_query(counts=(1, 0, 0, 65535))), edns="unseen"),
    query("counts that wrap round to 0 in 16 bits", frame4(dns_query(additional=[opt(do=True)], counts=(1, 0x8000, 0x7FFF, 1))), edns="1232", do=1),
    query("ANCOUNT 1 but the message ends, ARCOUNT 0", frame4(dns_query(counts=(1, 1, 0, 0)))),
    query("ARCOUNT 2, one record that is no OPT", frame4(dns_query(additional=EIGHT_RECORDS[:1], counts=(1, 0, 0, 2))), edns="unseen"),
    query("message ends inside OPT's fixed part", frame4(dns_query(trailing=opt(do=True)[:-1], counts=(1, 0, 0, 1))), edns="unseen"),
    query("the last record's data runs past the end: it was no OPT", frame4(dns_query(trailing=record("a.example", p.A, FOUR, rdlength=5), counts=(1, 0, 0, 1)))),
    query("a record's data runs past the end, another should follow", frame4(dns_query(trailing=record("a.example", p.A, FOUR, rdlength=5), counts=(1, 0, 0, 2))), edns="unseen"),
    query("a record's owner name of a reserved label type", frame4(dns_query(trailing=b"\x40" + opt(), counts=(1, 0, 0, 1))), edns="unseen"),
    query("half a pointer for an owner name", frame4(dns_query(trailing=b"\xc0", counts=(1, 0, 0, 1))), edns="unseen"),
    query("OPT after a record with an owner name of 100 labels", frame4(dns_query(additional=[record(labels(*[b"a"] * 100), p.A, FOUR), opt(do=True)])), edns="1232", do=1),
    query("OPT after a record with an owner name of 255 bytes", frame4(dns_query(additional=[record(NAME_255, p.A, FOUR), opt(do=True)])), edns="1232", do=1),
    query("OPT after a record with an owner name of 256 bytes", frame4(dns_query(additional=[record(NAME_256, p.A, FOUR), opt(do=True)])), edns="1232", do=1),
    query("OPT as the walk's last step after a long owner name", frame4(dns_query(additional=[record(labels(*[b"a"] * (MAX_STEPS - 2)), p.A, FOUR), opt(do=True)])), edns="1232", do=1),
    query("OPT one step beyond a long owner name", frame4(dns_query(additional=[record(labels(*[b"a"] * (MAX_STEPS - 1)), p.A, FOUR), opt(do=True)])), edns="unseen"),
    query("OPT and bytes after it", frame4(dns_query(additional=[opt(4096)], trailing=bytes(99))), edns="gt1500"),
    query("type 0x2900 is no OPT", frame4(dns_query(additional=[record(".", 0x2900, rclass=1232)]))),
]  # fmt: skip

VECTORS = [*NAMES, *HEADERS, *RECORDS]
