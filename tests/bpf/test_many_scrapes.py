"""Scrape after scrape: rows come in between, counts grow, and nothing is read from the last one."""

from __future__ import annotations

import struct

import dns.rdatatype

from tests.bpf.conftest import require_root
from tests.truth.loading import load
from xdpdns import kernel
from xdpdns.loader import LoadedProgram
from xdpdns.settings import ProgramSettings


def write(program: LoadedProgram, types: range, count: int) -> None:
    """One row for each type, with so many queries on every CPU."""
    cpus = kernel.possible_cpus()
    for number in types:
        key = struct.pack("<H", number).ljust(8, b"\0")
        kernel.map_update(program.maps["queries"], key, struct.pack("<Q", count) * cpus)


def test_rows_and_counts_between_scrapes() -> None:
    """30,000 rows are read in several chunks, and new ones move the others to other chunks."""
    require_root()
    cpus = kernel.possible_cpus()
    settings = ProgramSettings(labels=("qtype",), qtypes="all")
    with load(settings) as program:
        assert not program.snapshot().queries
        for turn, types in enumerate((20_000, 20_001, 20_001, 30_000, 30_000), 1):
            numbers = range(1000, 1000 + types)
            write(program, numbers, turn)
            expected = {
                (dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number)),): turn * cpus
                for number in numbers
            }
            assert program.snapshot().queries == expected
