"""From source to a program that the kernel would run: what the compiler and the verifier take."""

from __future__ import annotations

import os
import time

from tests.bench.figures import Sample, Table, verdict
from xdpdns import kernel
from xdpdns.loader import LoadedProgram
from xdpdns.program import ENTRY, Compilation, compile_program
from xdpdns.settings import ProgramSettings

ROUNDS = 9


def tables() -> list[Table]:
    settings = ProgramSettings()
    compiled = compile_program(settings)
    whole, compiler, create, verify = [], [], [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        compiler.append(Compilation(settings).result().seconds)
        whole.append(time.perf_counter() - start)
        start = time.perf_counter()
        program = LoadedProgram(compiled, settings)
        both = time.perf_counter() - start
        code = bytearray(compiled.main.insns)
        for index, name in compiled.main.relocations.items():
            code[index * 8 + 4 : index * 8 + 8] = program.maps[name].to_bytes(4, "little")
        start = time.perf_counter()
        again = kernel.prog_load(kernel.PROG_TYPE_XDP, ENTRY, bytes(code))
        verify.append(time.perf_counter() - start)
        create.append(both - verify[-1])
        insns = program.info().verified_insns
        os.close(again)
        program.close()
    samples = {
        "compile (import of BCC included)": (Sample(tuple(compiler), "s"), 0.6),
        "compile, with the child's start and end": (Sample(tuple(whole), "s"), None),
        "verify and JIT (BPF_PROG_LOAD)": (Sample(tuple(verify), "s"), 0.3),
        "create the maps, fill the allow-list": (Sample(tuple(create), "s"), None),
    }
    rows = tuple(
        (name, sample, verdict(sample, goal) if goal else "")
        for name, (sample, goal) in samples.items()
    )
    note = (
        f"{len(compiled.main.insns) // 8} instructions; the verifier walked {insns:,}. Wall-clock "
        "seconds of the whole default program."
    )
    return [Table("Load", ("step", "time", "goal, s"), rows, note)]
