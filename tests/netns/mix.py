"""Queries of known features: the messages to send, and beside each the row it must be counted in.

The labels are worked out here from the choices that made a message, never by decoding it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import dns.flags
import dns.message

DIMENSIONS = ("af", "proto", "qr", "do", "ad", "edns", "qtype", "tld")

# Text of a type for dnspython, and its label.
QTYPES = {
    **{name: name for name in ("A", "NS", "CNAME", "SOA", "PTR", "MX", "TXT", "AAAA", "SRV")},
    **{name: name for name in ("DS", "DNSKEY", "TLSA", "SVCB", "HTTPS", "CAA", "NAPTR")},
    "TYPE65281": "~other",
    "TYPE4711": "~other",
}

# Names, and the label of their TLD: any case, real ones up to the longest, a leaked one, unknown.
NAMES = {
    ".": ".",
    "com.": "com",
    "www.example.com.": "com",
    "WwW.ExAmPlE.CoM.": "com",
    "example.museum.": "museum",
    "a.b.c.d.e.f.example.DE.": "de",
    "example.international.": "international",
    "example.xn--vermgensberatung-pwb.": "xn--vermgensberatung-pwb",
    "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.": "arpa",
    "printer.local.": "local",
    "router.home.": "home",
    "host.not-a-tld-at-all.": "~other",
    "com.0.": "~other",
}

# The OPT record's class field (None: no OPT record), and the bucket of DESIGN's definitions.
EDNS = {
    None: "no_edns",
    0: "leq1231",
    512: "leq1231",
    1231: "leq1231",
    1232: "1232",
    1233: "leq1399",
    1399: "leq1399",
    1400: "1400",
    1401: "leq1499",
    1499: "leq1499",
    1500: "1500",
    1501: "gt1500",
    4096: "gt1500",
    65535: "gt1500",
}


@dataclass(frozen=True)
class Query:
    """A message in wire format, and the labels of its row but for the interface."""

    wire: bytes
    labels: tuple[str, ...]

    def over(self, af: str) -> Query:
        """The same message, sent over "ipv4" or "ipv6"."""
        return replace(self, labels=(af, *self.labels[1:]))

    def label(self, dimension: str) -> str:
        """The value of one dimension."""
        return self.labels[DIMENSIONS.index(dimension)]


def query(
    name: str, qtype: str, edns: int | None = None, *, do: bool = False, ad: bool = False
) -> Query:
    """A query over IPv4, made by dnspython; `do` needs `edns`."""
    message = dns.message.make_query(name, qtype, use_edns=False, id=0)
    if edns is not None:
        message.use_edns(0, dns.flags.DO if do else 0, edns)
    if ad:
        message.flags |= dns.flags.AD
    labels = ("ipv4", "udp", "0", str(int(do)), str(int(ad)), EDNS[edns])
    return Query(message.to_wire(), (*labels, QTYPES[qtype], NAMES[name]))


def known_mix(count: int, seed: int = 53) -> Sequence[Query]:
    """So many queries over IPv4 that take every value of every dimension, in uneven shares."""
    choose = random.Random(seed)
    picks = [
        (name, qtype, edns, do, ad)
        for name in NAMES
        for qtype in QTYPES
        for edns in EDNS
        for do in ((False, True) if edns is not None else (False,))
        for ad in (False, True)
    ]
    weights = [choose.paretovariate(1) for _ in picks]
    return [
        query(name, qtype, edns, do=do, ad=ad)
        for name, qtype, edns, do, ad in choose.choices(picks, weights, k=count)
    ]


def labelled(*labels: bytes) -> bytes:
    """A query for type A whose name has these labels, whatever their bytes; no OPT record."""
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return bytes.fromhex("0000 0100 0001 0000 0000 0000") + name + bytes.fromhex("0001 0001")
