"""On both sides of each bound of the straight code (bpf/parse_usual.h), the reference agrees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.truth.loading import DEFAULT, EXACT, loaded
from tests.truth.reference import Config
from tests.truth.runner import Runner

COOKIE = b"\0\x0a\0\x08" + bytes(8)

NAMES = [
    *(p.labels(*[b"a"] * count, b"com") for count in range(9)),
    *(p.labels(b"a" * length, b"com") for length in (56, 57, 58, 59, 60, 63)),
    *(p.labels(b"w" * 63, b"e" * length, b"com") for length in (1, 62, 63)),
    *(p.labels(b"www", b"t" * length) for length in range(1, 27)),
    *(p.labels(b"www", tld) for tld in (b"COM", b"cOm", b"_x", b"\xff\0", b"ABCDEFGH", b"@[`{")),
    p.name("."),
    b"\x03www\xc0\x0c",
    b"\x03www\x40com\0",
]

RECORDS: list[dict[str, Any]] = [
    {},
    {"additional": [p.opt(1232, do=True)]},
    {"additional": [p.opt(4096, options=COOKIE)]},
    {"additional": [p.opt(512, version=1)]},
    {"additional": [p.opt(1400, rcode=1)]},
    {"additional": [p.opt(1500, owner=b"\x01a\0")]},
    {"additional": [p.record(".", p.A, bytes(4))]},
    {"additional": [p.opt()], "trailing": b"\0"},
    {"additional": [p.opt()], "counts": (1, 0, 0, 0)},
    {"additional": [], "counts": (1, 0, 0, 1)},
    {"additional": [p.opt(), p.opt()]},
    {"answers": [p.opt()]},
    {"trailing": b"\0"},
]

HEADERS: list[dict[str, Any]] = [
    *({bit: 1} for bit in ("qr", "opcode", "aa", "tc", "ra", "z", "ad", "cd", "rcode")),
    {"rd": 0},
    {"qclass": p.CH},
    {"qtype": 65535},
]


def messages() -> Iterator[bytes]:
    """Names and records in all combinations, headers with few of them."""
    for owner, records in product(NAMES, RECORDS):
        yield p.dns_query(owner, **records)
    # behind the root's name, what would be the class IN if its zero were a label's length
    yield p.dns_query(".", p.NS, 0, trailing=b"\1")
    yield p.dns_query(".", p.CAA, trailing=b"\x55\0\1")
    yield p.dns_query(".", p.NS, 0, trailing=b"\1" + p.opt())
    for header, records in product(HEADERS, RECORDS):
        yield p.dns_query("www.example.com", **records, **header)


def frames() -> list[bytes]:
    """Each in both families, padded, and with lengths that disagree."""
    short = [p.dns_query("www.example.com", additional=[p.opt()]), p.dns_query("com")]
    whole = [frame(dns) for dns in short for frame in (p.frame4, p.frame6)]
    return [
        *(frame(dns) for dns in messages() for frame in (p.frame4, p.frame6)),
        *(frame + bytes(7) for frame in whole),
        *(frame[:length] for frame in whole for length in range(14, len(frame))),
        *(p.ethernet(p.ipv4(p.udp(dns, length=len(dns) + by))) for dns in short for by in (7, 9)),
    ]


CONFIGS = [
    EXACT,
    DEFAULT,
    replace(EXACT, edges=(1,)),
    replace(EXACT, edges=tuple(range(1225, 1241))),
]


@pytest.mark.parametrize("config", CONFIGS, ids=["exact", "default", "one edge", "sixteen edges"])
def test_the_reference_agrees(config: Config) -> None:
    require_root()
    with loaded(config) as program:
        runner = Runner(program, config)
        assert [runner.describe(frame) for frame in runner.culprits(frames())] == []
