"""Loads the program with every subset of the labels, with a list of TLDs and without.

    tests/bpf/sweep

Clang compiles each subset to other code, and the kernel's verifier has to follow all of them: run
this after a change in bpf/ (six minutes; a dozen subsets are in the test suite).
"""

from __future__ import annotations

import sys
from itertools import chain, combinations

from xdpdns.errors import XdpdnsError
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings
from xdpdns.vocab import DIMENSIONS

LIMIT = 1_000_000
"""Instructions that the verifier follows before it gives up (kernel 5.2 and later)."""


def main() -> int:
    """Print each configuration that is refused, and the largest; the exit code is 1 if any was."""
    subsets = chain.from_iterable(
        combinations(DIMENSIONS, size) for size in range(1, len(DIMENSIONS) + 1)
    )
    tried = refused = most = 0
    for labels in subsets:
        for tlds, qtypes in (("iana", "registered"), ("all", "all")):
            settings = ProgramSettings(labels=labels, tlds=tlds, qtypes=qtypes, max_series=64)
            what = f"--labels {','.join(labels)} --tlds {tlds} --qtypes {qtypes}"
            tried += 1
            try:
                program = LoadedProgram(compile_program(settings), settings)
            except XdpdnsError as error:
                refused += 1
                print(f"{what}: {str(error)[-300:]}", flush=True)
                continue
            verified = program.info().verified_insns
            program.close()
            if verified > most:
                most = verified
                print(f"{what}: {verified} of {LIMIT} instructions followed", flush=True)
    print(f"{tried} configurations, {refused} refused, {most} instructions followed at most")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())
