"""How cost grows: with rows, with the labels of a name, and with CPUs that this machine lacks.

A walk's time for 128 CPUs is computed: this machine's, times what has to be copied there against
what is copied here. Memory is what the kernel charges for such maps (xdpdns.plan).
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from tests import packets as p
from tests.bench.figures import Cell, Sample, Table, cpu_seconds, take_turns
from tests.bench.per_packet import require_quiet_kernel, timer
from tests.bench.rows import fill
from xdpdns import kernel
from xdpdns.decode import sum_cpus
from xdpdns.loader import LoadedProgram
from xdpdns.plan import plan
from xdpdns.program import Compiled, compile_program
from xdpdns.settings import ProgramSettings

ROWS = (1, 100, 10_000, 100_000, 1_000_000)
LABELS = (1, 2, 4, 8, 16, 34, 64, 127)
MANY = 128


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
        memory = plan(settings, cpus, (MANY,)).memory
        share = (key + 8 * MANY) / (key + 8 * cpus)
        far = Sample(tuple(share * one for one in times["walk"].rounds), "ms")
        mega = [round(memory[number] / 1e6, 1) for number in (cpus, MANY)]
        made.append((rows, times["walk"], times["all"], mega[0], far, summing(rows), mega[1]))
        program.close()
    columns = ("rows", "walk", "walk+decode", "MB", "walk, 128 CPUs", "sum, 128 CPUs", "MB, 128")
    note = (
        "walk, 128 CPUs: computed from the bytes that are copied. sum: adding 128 values for each "
        "row, measured on bytes of that shape."
    )
    return Table("Rows", columns, tuple(made), note)


def summing(rows: int) -> Sample:
    """Adding the values of so many CPUs, a chunk of 8192 rows at a time."""
    chunk = min(rows, 8192)
    values = memoryview((1_000_003).to_bytes(8, "little") * (chunk * MANY))
    measures = {"sum": lambda: 1e3 * rows / chunk * cpu_seconds(lambda: sum_cpus(values, MANY))}
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
        return [by_labels(compiled, settings), by_rows(compiled)]
    finally:
        os.sched_setaffinity(0, allowed)
