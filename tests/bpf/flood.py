"""A process pinned to one CPU that runs a program on frames, at the same time as another one.

::

    python -m tests.bpf.flood CPU MODE TARGET ARGUMENT FILE

    repeat PROG_FD TIMES     the program on the first frame, so often, in the kernel's own loop
    live IFINDEX TIMES       the first frame out of an interface, so often
    race PROG_FD PLACE       the program on each frame once, in step with the other process

FILE holds frames, each after its length in 32 bits. It says `ready`, waits for a line, runs, and
says when it began and ended (seconds of CLOCK_MONOTONIC).
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from xdpdns import kernel

STEPS = 16
"""Bytes of the file PLACE: how far each of the two processes is, as u64."""

_BPF_REDIRECT = 23


def frames_of(data: bytes) -> list[bytes]:
    """The frames of a FILE."""
    frames, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        frames.append(data[at + 4 : end])
        at = end
    return frames


def redirecting(ifindex: int) -> int:
    """A program that sends every frame out of an interface: `return bpf_redirect(ifindex, 0)`."""
    code = b"".join(
        struct.pack("<BBhi", op, dst, 0, value)
        for op, dst, value in (
            (0xB7, 1, ifindex),
            (0xB7, 2, 0),
            (0x85, 0, _BPF_REDIRECT),
            (0x95, 0, 0),
        )
    )
    return kernel.prog_load(kernel.PROG_TYPE_XDP, "redirecting", code)


def repeat(target: int, times: str, frames: Sequence[bytes]) -> Callable[[], object]:
    run = kernel.TestRun(target, repeat=int(times))
    return lambda: run.run(frames[0])


def live(target: int, times: str, frames: Sequence[bytes]) -> Callable[[], object]:
    run = kernel.TestRun(redirecting(target), repeat=int(times), live=True)
    return lambda: run.run(frames[0])


def race(target: int, place: str, frames: Sequence[bytes]) -> Callable[[], object]:
    """Both processes begin each frame at the same moment, or as near as they can.

    PLACE is a file of STEPS bytes and a digit, 0 or 1: which of the two counters is this process's.
    """
    path, _, own = place.rpartition(":")
    run = kernel.TestRun(target).run

    def go() -> None:
        with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), STEPS) as shared:
            steps = memoryview(shared).cast("Q")
            mine, other = int(own), 1 - int(own)
            for step, frame in enumerate(frames, 1):
                steps[mine] = step
                while steps[other] < step:
                    pass
                run(frame)
            steps.release()

    return go


def main() -> None:
    cpu, mode, target, argument, file = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    frames = frames_of(Path(file).read_bytes())
    go = {"repeat": repeat, "live": live, "race": race}[mode](int(target), argument, frames)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    go()
    print(began, time.monotonic(), flush=True)


if __name__ == "__main__":
    main()
