"""A hostile flood against 64 rows: the sums hold, and the rows of real names stay exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from random import Random

import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.truth.compare import project
from tests.truth.loading import DEFAULT, EXACT, compiled, load, settings
from tests.truth.reference import Config
from tests.truth.runner import Runner
from tests.truth.table import tabulate
from xdpdns.program import Compiled
from xdpdns.snapshot import Snapshot
from xdpdns.vocab import DIMENSIONS

MAX_SERIES = 64
COUNT = 100_000
LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789-"


def hostile(count: int) -> Iterator[bytes]:
    """Queries with random TLDs of 1 to 63 bytes, types, classes, flags, EDNS sizes and lengths."""
    rng = Random(20_260_101)
    for _ in range(count):
        tld = bytes(rng.choices(LETTERS, k=min(63, 1 + int(rng.expovariate(0.1)))))
        extra = [p.opt(rng.randrange(65536), do=rng.random() < 0.5)] if rng.random() < 0.7 else []
        query = p.dns_query(
            p.labels(*[b"x" * rng.randrange(1, 30)] * rng.randrange(4), tld),
            rng.randrange(65536) if rng.random() < 0.5 else rng.randrange(1, 260),
            rng.choice((1, 1, 3, 255, rng.randrange(65536))),
            additional=extra,
            trailing=bytes(rng.randrange(100)),
            qr=rng.randrange(2),
            ad=rng.randrange(2),
        )
        yield (p.frame4 if rng.random() < 0.5 else p.frame6)(query)


@pytest.fixture(scope="module")
def flood() -> list[bytes]:
    """Made once: building them takes longer than running them."""
    return list(hostile(COUNT))


TLDS = ("com", "net", "org", "de", "arpa", "xn--vermgensberatung-pwb")
NAMES = [p.name(tld) for tld in TLDS]
REAL = [
    p.frame4(p.dns_query(f"www.{tld}" if tld else ".", qtype, additional=extra))
    for tld in (*TLDS, "")
    for qtype in (p.A, p.AAAA)
    for extra in ([], [p.opt(1232, do=True)])
]
"""28 queries of as many rows."""


def assert_sums(counted: Snapshot, queries: int) -> None:
    """Each query is in one row or in the overflow, and in each marginal once."""
    assert {name: n for name, n in counted.outcomes.items() if n} == {"query": queries}
    assert sum(counted.queries.values()) + sum(counted.overflow.values()) == queries
    marginals = counted.marginals
    assert sum(marginals.classes.values()) == queries
    assert sum(marginals.edns_versions.values()) == queries
    assert sum(marginals.opcodes.values()) == queries
    for histogram in (marginals.size, marginals.name_length, marginals.name_labels):
        assert histogram.count == queries


@pytest.mark.parametrize("config", [DEFAULT, EXACT], ids=["default", "all"])
def test_real_rows_are_exact_in_a_flood(config: Config, flood: list[bytes]) -> None:
    """Real queries come before, and then between every ten hostile ones."""
    require_root()
    between = [REAL[at // 10 % len(REAL)] for at in range(0, COUNT, 10)]
    mixed = chain.from_iterable(
        [*flood[at : at + 10], real] for at, real in zip(range(0, COUNT, 10), between, strict=True)
    )
    with load(replace(settings(config), max_series=MAX_SERIES)) as program:
        runner = Runner(program, config)
        assert len(runner.run(REAL).queries) == len(REAL)
        counted = runner.run(mixed)
    assert_sums(counted, COUNT + len(between))
    assert len(counted.queries) <= MAX_SERIES
    assert counted.overflow.keys() == {"map_full"}
    assert counted.overflow["map_full"] > COUNT // 10
    of_real_names = [frame for frame in flood if any(name in frame for name in NAMES)]
    expected = tabulate([*of_real_names, *between], config).rows
    for row in tabulate(REAL, config).rows:
        assert counted.queries[tuple(row)] == expected[row]


SUBSETS = [
    *(tuple(one for one in DIMENSIONS if one != off) for off in DIMENSIONS),
    ("tld",),
    ("qtype",),
    ("edns",),
    ("qtype", "tld"),
    ("af", "proto", "qr", "do", "ad"),
    ("qr", "edns", "qtype"),
]


@pytest.mark.parametrize("config", [DEFAULT, EXACT], ids=["default", "all"])
@pytest.mark.parametrize("labels", SUBSETS, ids=",".join)
def test_with_fewer_labels(labels: tuple[str, ...], config: Config, flood: list[bytes]) -> None:
    """Rows that were made before the map was full are exact; if it never is, all rows are."""
    require_root()
    some = [*REAL, *flood[: COUNT // 20]]
    chosen = replace(settings(config), labels=labels, max_series=MAX_SERIES)
    with load(chosen) as program:
        counted = Runner(program, config).run(some)
    assert_key_holds_only(labels, compiled(chosen))
    assert_sums(counted, len(some))
    assert counted.dimensions == labels
    assert len(counted.queries) <= MAX_SERIES
    rows = project(tabulate(some, config).rows, labels)
    if len(rows) <= MAX_SERIES:
        assert counted.queries == rows
        assert not any(counted.overflow.values())
    else:
        assert len(counted.queries) == MAX_SERIES
        for row, count in first(rows, labels, some, config).items():
            assert counted.queries[row] == count


BITS = {"qr", "do", "ad"}


def assert_key_holds_only(labels: tuple[str, ...], built: Compiled) -> None:
    """A dimension that is off is not in struct stats_key; without the TLD that is one word."""
    fields = set(labels) - BITS
    fields |= {"bits"} if BITS & set(labels) else set()
    fields |= {"tld_len"} if "tld" in labels else set()
    assert built.key.fields.keys() == fields | {"zero"}
    head = 8
    assert built.key.size == head + (built.key.fields["tld"].count if "tld" in labels else 0)
    assert "tld" in labels or "tlds" not in built.maps


def first(
    rows: Counter[tuple[str, ...]], labels: tuple[str, ...], frames: list[bytes], config: Config
) -> dict[tuple[str, ...], int]:
    """The rows of the first frames, but not those that take in what finds no room."""
    early = project(tabulate(frames[: len(REAL)], config).rows, labels)
    return {row: rows[row] for row in early if row[-1] != "~other"}
