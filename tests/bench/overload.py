"""How much is counted of what reaches an interface faster than any server could answer it.

BPF_PROG_TEST_RUN sends live frames out of the client's interface, on all CPUs at once; what the
server's interface says that it received is what there was to count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests import packets as p
from tests.bench.figures import Cell, Sample, Table
from tests.bench.nameserver import attached
from tests.netns.lab import Lab
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings

ROUNDS = 5
FRAMES = 2_000_000
"""Frames that each CPU sends in a round."""

FRAME = p.ethernet(
    p.ipv4(p.udp(p.dns_query("www.example.com", p.A, additional=[p.opt(1232, do=True)]))),
    dst=b"\x02\0\0\0\0\x99",  # not the receiver's: the stack drops it as soon as it was counted
)


@contextmanager
def senders(lab: Lab) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A process on each CPU that waits for a line to start."""
    file = lab.tmp / "frame"
    file.write_bytes(len(FRAME).to_bytes(4, "little") + FRAME)
    target = str(lab.client.link()["ifindex"])
    made = []
    try:
        for cpu in sorted(os.sched_getaffinity(0)):
            argv = [sys.executable, "-m", "tests.bpf.flood", str(cpu), "live", target, str(FRAMES)]
            made.append(
                subprocess.Popen(
                    lab.client.command([*argv, str(file)]),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
        for process in made:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        yield made
    finally:
        for process in made:
            process.kill()
            process.communicate()


def flood(lab: Lab) -> tuple[int, float]:
    """The frames that the server's interface received, and the seconds until all were sent."""
    before = lab.quiet()
    with senders(lab) as processes:
        start = time.perf_counter()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        for process in processes:
            process.wait(60)
        seconds = time.perf_counter() - start
    return lab.quiet() - before, seconds


def tables() -> list[Table]:
    """Native mode only: veth takes no redirected frames for a peer without a native program."""
    settings = ProgramSettings()
    compiled = compile_program(settings)
    received, rates = 0, []
    with Lab(queues=len(os.sched_getaffinity(0))) as lab:
        program = LoadedProgram(compiled, settings)
        with attached(lab, program.fd, "native"):
            for _ in range(ROUNDS):
                frames, seconds = flood(lab)
                received += frames
                rates.append(frames / seconds / 1e6)
        snapshot = program.snapshot()
        program.close()
    counted = snapshot.outcomes["query"]
    if sum(snapshot.queries.values()) != counted:
        raise RuntimeError("the rows do not add up to the queries")
    share = f"{counted / received:.6f}"
    row: tuple[Cell, ...] = (
        "xdpdns, native",
        Sample(tuple(rates), "M/s"),
        received,
        counted,
        share,
    )
    columns = ("tool", "frames", "received", "counted", "share")
    note = (
        "Received: by the interface's own account. Counted: queries, and so many are in the rows."
    )
    return [Table("Under overload", columns, (row,), note)]
