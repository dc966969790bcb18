"""How cost grows: with rows, the labels of a name, interfaces, and CPUs that this machine lacks.

Memory is what the kernel charges for such maps (xdpdns.plan).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tests import packets as p
from tests.bench.figures import Cell, Sample, Table, cpu_seconds, take_turns
from tests.bench.per_packet import require_quiet_kernel, timer
from tests.bench.rows import fill
from xdpdns import kernel
from xdpdns.families import InterfaceState
from xdpdns.loader import LoadedProgram
from xdpdns.plan import plan
from xdpdns.program import Compiled, compile_program
from xdpdns.rows import ROWS_IN_BLOCK, added, entries
from xdpdns.scrape import Scraper, Variant
from xdpdns.settings import ProgramSettings

ROWS = (1, 100, 10_000, 100_000, 1_000_000)
LABELS = (1, 2, 4, 8, 16, 34, 64, 127)
INTERFACES = (1, 2, 4, 8, 16, 32)
CPUS = (1, 2, 4, 8, 16, 32, 64, 128)
ROWS_EACH = 1000
"""Rows of an interface, where interfaces are what grows."""
ROWS_MANY = 100_000
"""Rows where CPUs are what grows."""


def snapshot_time(program: LoadedProgram) -> float:
    return 1e3 * cpu_seconds(program.snapshot)


def by_rows() -> Table:
    """The same map's rows, more and more of them, and what its room takes."""
    cpus = kernel.possible_cpus()
    settings = ProgramSettings(max_series=max(ROWS))
    program = LoadedProgram(compile_program(settings), settings)
    made: list[tuple[Cell, ...]] = []
    filled = 0
    for rows in ROWS:
        fill(program.fd, rows, filled)
        filled = rows
        assert len(program.snapshot().queries) == rows
        spent = take_turns({"read": partial(snapshot_time, program)}, 5, "ms")["read"]
        kernel_mb = plan(replace(settings, max_series=rows), cpus).memory[cpus] / 1e6
        made.append((rows, spent, round(kernel_mb, 1)))
    program.close()
    note = f"In a map for {max(ROWS):,}; the memory is that of a map for so many rows."
    return Table("Rows", ("rows", "read", "kernel MB"), tuple(made), note)


def by_interfaces(compiled: Compiled) -> Table:
    """Interfaces have a program and maps of their own; the source is compiled once."""
    settings = ProgramSettings(max_series=10 * ROWS_EACH)
    each_mb = plan(settings, kernel.possible_cpus()).memory[kernel.possible_cpus()] / 1e6
    programs: list[LoadedProgram] = []
    made: list[tuple[Cell, ...]] = []
    started = 0.0
    gzipped = Variant(gzip=True)
    for count in INTERFACES:
        before = time.perf_counter()
        while len(programs) < count:
            programs.append(LoadedProgram(compiled, settings))
        started += time.perf_counter() - before
        for program in programs[len(programs) // 2 :]:
            fill(program.fd, ROWS_EACH)
        scraper = Scraper(partial(states, programs))
        scrape = partial(scraper.scrape, (gzipped,))
        size = len(scrape()[gzipped])
        measure = {"scrape": lambda scrape=scrape: 1e3 * cpu_seconds(scrape)}
        spent = take_turns(measure, 9, "ms")["scrape"]
        made.append((count, spent, size, round(1e3 * started, 1), round(count * each_mb, 1)))
    for program in programs:
        program.close()
    columns = ("interfaces", "scrape", "gzipped bytes", "load, ms", "kernel MB")
    note = f"Each with {ROWS_EACH:,} rows, in maps with room for ten times as many."
    return Table("Interfaces", columns, tuple(made), note)


def states(programs: Sequence[LoadedProgram]) -> Iterator[InterfaceState]:
    for number, program in enumerate(programs):
        snapshot = program.snapshot()
        yield InterfaceState(f"eth{number}", True, mode="native", program_id=1, snapshot=snapshot)


def by_cpus() -> Table:
    """For CPUs that this machine lacks: memory by the plan, time by reading bytes of that shape."""
    settings = ProgramSettings(max_series=ROWS_MANY)
    memory = plan(settings, kernel.possible_cpus(), CPUS).memory
    made: list[tuple[Cell, ...]] = [
        (cpus, reading(ROWS_MANY, cpus), round(memory[cpus] / 1e6, 1)) for cpus in CPUS
    ]
    note = f"{ROWS_MANY:,} rows: their counters copied, and added over the CPUs."
    return Table("CPUs", ("CPUs", "read", "kernel MB"), tuple(made), note)


def reading(rows: int, cpus: int) -> Sample:
    """Copying and adding the counters of so many CPUs, a block of rows at a time."""
    counters = entries(rows, cpus)["counts"]
    one = memoryview((1_000_003).to_bytes(8, "little") * (ROWS_IN_BLOCK * cpus))
    blocks = counters // len(one.cast("Q"))

    def read() -> None:
        for _ in range(blocks):
            added(one.tobytes(), ROWS_IN_BLOCK)

    return take_turns({"read": lambda: 1e3 * cpu_seconds(read)}, 5, "ms")["read"]


def by_labels(compiled: Compiled, settings: ProgramSettings) -> Table:
    """Names of one-byte labels: the longest has 127 of them and 255 bytes (RFC 1035 3.1)."""
    program = LoadedProgram(compiled, settings)
    frames = {count: p.frame4(p.dns_query(p.labels(*[b"a"] * count), p.A)) for count in LABELS}
    require_quiet_kernel(program.fd, frames[1])
    timers: Any = {str(count): timer(program.fd, frame) for count, frame in frames.items()}
    taken = take_turns(timers, 9, "ns")
    first = taken[str(LABELS[0])]
    made = tuple((count, taken[str(count)], taken[str(count)] / first) for count in LABELS)
    program.close()
    return Table("Labels of a name", ("labels", "a packet", "/ one label"), made)


def tables() -> list[Table]:
    settings = ProgramSettings()
    compiled = compile_program(settings)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        return [
            by_labels(compiled, settings),
            by_rows(),
            by_interfaces(compiled),
            by_cpus(),
        ]
    finally:
        os.sched_setaffinity(0, allowed)
