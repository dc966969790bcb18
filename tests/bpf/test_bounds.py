"""More rows than the maps hold: every query stays counted, old rows keep counting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.truth.loading import DEFAULT, EXACT, load, settings
from tests.truth.reference import Config
from tests.truth.runner import Runner
from tests.truth.table import tabulate

MAX_SERIES = 64
COUNT = 20_000
REAL = [b"com", b"net", b"org", b"de", b"nl", b"arpa"]


def hostile(count: int) -> Iterator[bytes]:
    """Queries with random TLDs, types and EDNS sizes."""
    rng = Random(1)
    for _ in range(count):
        tld = bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randrange(2, 20)))
        size = rng.randrange(65536)
        query = p.dns_query(
            p.labels(b"x", tld),
            rng.randrange(65536),
            ad=rng.randrange(2),
            additional=[p.opt(size, do=rng.random() < 0.5)],
        )
        yield p.frame4(query)


def ordinary() -> list[bytes]:
    """One query for each real TLD."""
    return [p.frame4(p.dns_query(p.labels(b"www", tld))) for tld in REAL]


@pytest.fixture(params=[DEFAULT, EXACT], ids=["default", "all"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    require_root()
    config: Config = request.param
    with load(replace(settings(config), max_series=MAX_SERIES)) as program:
        yield Runner(program, config)


def test_a_full_map_loses_no_query(runner: Runner) -> None:
    runner.run(ordinary())
    flood = list(hostile(COUNT))
    counted = runner.run(flood)
    whole = runner.program.snapshot()
    assert len(whole.queries) <= MAX_SERIES
    assert counted.outcomes == {"query": COUNT}
    assert sum(counted.queries.values()) + sum(counted.overflow.values()) == COUNT
    assert sum(counted.overflow.values()) > 0


def test_rows_that_were_there_keep_counting(runner: Runner) -> None:
    runner.run(ordinary())
    runner.run(hostile(COUNT))
    again = runner.run(ordinary() * 10)
    rows = tabulate(ordinary() * 10, runner.config).rows
    assert again.queries == {tuple(row): count for row, count in rows.items()}
    assert not any(again.overflow.values())


def test_a_query_without_room_goes_to_the_row_of_other_tlds() -> None:
    """If the row can't be made but that of the TLD `~other` is there, it counts there."""
    require_root()
    listed = [label for label in DEFAULT.tlds or () if label.isalpha()][: MAX_SERIES + 36]
    queries = [p.frame4(p.dns_query(f"example.{tld}")) for tld in listed]
    with load(replace(settings(DEFAULT), max_series=MAX_SERIES)) as program:
        runner = Runner(program, DEFAULT)
        runner.run([p.frame4(p.dns_query("example.not-listed"))])
        counted = runner.run(queries)
    other = ("ipv4", "udp", "0", "0", "0", "no_edns", "A", "~other")
    assert len(counted.queries) == MAX_SERIES
    assert counted.queries[other] == counted.folded == len(queries) - (MAX_SERIES - 1)
    assert not any(counted.overflow.values())
