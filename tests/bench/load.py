"""From source to programs that the kernel would run: what the compiler and the verifier take.

They are those of `xdpdns attach IFACE`: one that counts queries and one that counts responses, each
of two functions, of which one is for TCP. The agent has both compiled side by side, and the
functions of one verified side by side.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.bench.figures import Cell, Sample, Table, verdict
from xdpdns import kernel, roles
from xdpdns.loader import LoadedProgram, program_type
from xdpdns.program import Compilation, Compiled
from xdpdns.settings import ProgramSettings

ROUNDS = 9
COMPILE, VERIFY = 0.6, 0.3
"""The goals, in seconds."""


class Job:
    """A function to be verified, with the maps that it wants."""

    def __init__(self, name: str, settings: ProgramSettings, code: bytes) -> None:
        self.name = name
        self.instructions = len(code) // 8
        self.walked = 0
        self._kind = program_type(settings)
        self._code = code

    def run(self) -> float:
        """The seconds that BPF_PROG_LOAD takes."""
        start = time.perf_counter()
        fd = kernel.prog_load(self._kind, "xdpdns_bench", self._code)
        seconds = time.perf_counter() - start
        self.walked = kernel.prog_info(fd).verified_insns
        os.close(fd)
        return seconds


def compile_all(programs: Iterable[ProgramSettings]) -> tuple[list[Compiled], float]:
    """Side by side, and the seconds until all are there."""
    start = time.perf_counter()
    compilations = [Compilation(settings) for settings in programs]
    return [one.result() for one in compilations], time.perf_counter() - start


def jobs_of(compiled: Compiled, settings: ProgramSettings, program: LoadedProgram) -> list[Job]:
    functions = [(settings.side, compiled.main), (f"{settings.side}, TCP", compiled.tcp)]
    return [Job(name, settings, code.linked(program.maps)) for name, code in functions if code]


def tables() -> list[Table]:
    programs = list(roles.programs("server", ProgramSettings()).values())
    alone: dict[str, list[float]] = {one.side: [] for one in programs}
    both: list[float] = []
    for _ in range(ROUNDS):
        for settings in programs:
            alone[settings.side].append(compile_all([settings])[1])
        compiled, seconds = compile_all(programs)
        both.append(seconds)
    started = time.perf_counter()
    loaded = [LoadedProgram(*pair) for pair in zip(compiled, programs, strict=True)]
    once = time.perf_counter() - started
    each = zip(compiled, programs, loaded, strict=True)
    jobs = [job for triple in each for job in jobs_of(*triple)]
    verified: dict[str, list[float]] = {job.name: [] for job in jobs}
    together: list[float] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in range(ROUNDS):
            for job in jobs:
                verified[job.name].append(job.run())
            start = time.perf_counter()
            list(pool.map(Job.run, jobs))
            together.append(time.perf_counter() - start)
    for program in loaded:
        program.close()
    rows: list[tuple[Cell, ...]] = [
        (f"compile: {side}", sample(taken), "") for side, taken in alone.items()
    ]
    rows.append(("compile: both side by side", sample(both), verdict(sample(both), COMPILE)))
    rows += [
        (
            f"verify: {job.name} ({job.instructions:,} instructions, {job.walked:,} walked)",
            sample(verified[job.name]),
            "",
        )
        for job in jobs
    ]
    rows.append(("verify: all, on all CPUs", sample(together), verdict(sample(together), VERIFY)))
    note = (
        "Wall-clock seconds. Compilers run in children, whose start, import of BCC and end are "
        f"included. With the maps of 100,000 rows each, both programs took {once:.2f} s to load."
    )
    return [Table("Load, as for `xdpdns attach`", ("step", "time", "goal, s"), tuple(rows), note)]


def sample(taken: list[float]) -> Sample:
    return Sample(tuple(taken), "s")
