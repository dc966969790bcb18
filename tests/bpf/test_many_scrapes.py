"""Scrape after scrape: rows come in between, counts grow, and nothing is read from the last one."""

from __future__ import annotations

import dns.rdatatype

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.truth.loading import load
from xdpdns import kernel
from xdpdns.loader import LoadedProgram
from xdpdns.settings import ProgramSettings


def ask(program: LoadedProgram, types: range) -> None:
    """One query of each type."""
    run = kernel.TestRun(program.fd)
    for number in types:
        assert run.run(p.frame4(p.dns_query("example", number))) == kernel.XDP_PASS


def test_rows_and_counts_between_scrapes() -> None:
    """Rows are read in blocks, which fill up, end within a page, or are full when others come."""
    require_root()
    settings = ProgramSettings(labels=("qtype",), qtypes="all")
    with load(settings) as program:
        assert not program.snapshot().queries
        for turn, types in enumerate((1, 511, 512, 513, 8000, 8001, 8001), 1):
            numbers = range(1000, 1000 + types)
            ask(program, numbers)
            found = program.snapshot().queries
            assert len(found) == types
            assert found["TYPE1000",] == turn
            assert found[dns.rdatatype.to_text(dns.rdatatype.RdataType.make(999 + types)),] > 0
        names = [dns.rdatatype.to_text(dns.rdatatype.RdataType.make(n)) for n in numbers]
        assert list(found) == [(name,) for name in names]
        assert sum(found.values()) == 1 + 511 + 512 + 513 + 8000 + 8001 + 8001
