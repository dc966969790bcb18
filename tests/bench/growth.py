"""How cost grows: with rows, the labels of a name, interfaces, and CPUs that this machine lacks.

A walk's time for other CPUs is computed: this machine's, times what has to be copied there against
what is copied here. Memory is what the kernel charges for such maps (xdpdns.plan).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from tests import packets as p
from tests.bench.figures import Cell, Sample, Table, cpu_seconds, take_turns
from tests.bench.per_packet import require_quiet_kernel, timer
from tests.bench.rows import fill
from xdpdns import kernel
from xdpdns.decode import sum_cpus
from xdpdns.families import InterfaceState
from xdpdns.loader import LoadedProgram
from xdpdns.plan import plan
from xdpdns.program import Compiled, compile_program
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


def walk_time(fd: int, key_size: int, cpus: int) -> float:
    def walk() -> None:
        for _keys, _values in kernel.map_lookup_batch(fd, key_size, 8 * cpus):
            pass

    return 1e3 * cpu_seconds(walk)


def snapshot_time(program: LoadedProgram) -> float:
    return 1e3 * cpu_seconds(program.snapshot)


def by_rows(compiled: Compiled) -> Table:
    """One map for each number of rows, since a walk visits empty buckets too."""
    cpus = kernel.possible_cpus()
    key = compiled.key.size
    made: list[tuple[Cell, ...]] = []
    for rows in ROWS:
        settings = ProgramSettings(max_series=rows)
        program = LoadedProgram(compile_program(settings), settings)
        fd = program.maps["queries"]
        fill(fd, compiled.key, rows)
        program.snapshot()
        measures = {
            "walk": partial(walk_time, fd, key, cpus),
            "all": partial(snapshot_time, program),
        }
        times = take_turns(measures, 5, "ms")
        kernel_mb = plan(settings, cpus).memory[cpus] / 1e6
        made.append((rows, times["walk"], times["all"], round(kernel_mb, 1)))
        program.close()
    columns = ("rows", "walk", "walk+decode", "kernel MB")
    return Table("Rows", columns, tuple(made))


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
            fill(program.maps["queries"], compiled.key, ROWS_EACH)
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


def by_cpus(compiled: Compiled) -> Table:
    """What this machine has no CPUs for, from what it measures with its own."""
    cpus = kernel.possible_cpus()
    settings = ProgramSettings(max_series=ROWS_MANY)
    program = LoadedProgram(compiled, settings)
    fd = program.maps["queries"]
    fill(fd, compiled.key, ROWS_MANY)
    walk = take_turns({"walk": partial(walk_time, fd, compiled.key.size, cpus)}, 7, "ms")["walk"]
    program.close()
    memory = plan(settings, cpus, CPUS).memory
    made: list[tuple[Cell, ...]] = []
    for number in CPUS:
        share = (compiled.key.size + 8 * number) / (compiled.key.size + 8 * cpus)
        far = Sample(tuple(share * one for one in walk.rounds), "ms")
        made.append((number, far, summing(ROWS_MANY, number), round(memory[number] / 1e6, 1)))
    columns = ("CPUs", "walk", "sum", "kernel MB")
    note = (
        f"{ROWS_MANY:,} rows. walk: measured with {cpus}, otherwise computed from the bytes that "
        "are copied. sum: adding the CPUs' values of each row, measured on bytes of that shape."
    )
    return Table("CPUs", columns, tuple(made), note)


def summing(rows: int, cpus: int) -> Sample:
    """Adding the values of so many CPUs, a chunk of 8192 rows at a time."""
    chunk = min(rows, 8192)
    values = memoryview((1_000_003).to_bytes(8, "little") * (chunk * cpus))
    measures = {"sum": lambda: 1e3 * rows / chunk * cpu_seconds(lambda: sum_cpus(values, cpus))}
    return take_turns(measures, 5, "ms")["sum"]


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
            by_rows(compiled),
            by_interfaces(compiled),
            by_cpus(compiled),
        ]
    finally:
        os.sched_setaffinity(0, allowed)
