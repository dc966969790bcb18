"""Captures through the compiled program: every packet by BPF_PROG_TEST_RUN, then one snapshot.

A packet takes about 1.2 us on a 2.5 GHz Xeon (tests/bench/replay_rate.py): 0.17 to read, 0.12 to
classify, and the rest is the system call, of which some 0.6 are the kernel's: it makes and clears a
page, copies the frame into it, and frees it. What was tried, as a ratio to this plain loop: boxing
the arguments once and writing the attribute through a memoryview, 1.2; keeping the interpreter's
lock during the call, 1.07; a shorter attribute, or not looking at the return code, 1.0; two
processes or two threads that take turns with the windows, 0.8 on two CPUs. TEST_RUN can repeat one
frame but not run a batch of different ones, and its live-frame mode is for programs that redirect.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from xdpdns import report_json
from xdpdns.capture import Batch, Capture
from xdpdns.errors import CaptureError, KernelError
from xdpdns.kernel import XDP_PASS, TestRun
from xdpdns.snapshot import Snapshot

ETHERNET_HEADER = 14

LONGEST_FRAME = mmap.PAGESIZE
"""More of a frame is never given to the kernel.

A program sees the linear part of a frame: on x86-64 its first 3520 bytes (a page less headroom and
struct skb_shared_info; measured on 6.18). The kernel would copy the rest into fragments that no
program here looks at, and has no memory for frames over 73,152 bytes.
"""

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes of all files (0 where they are pipes)."""


class Program(Protocol):
    """A loaded program whose counters are zero."""

    @property
    def fd(self) -> int:
        """The program's file descriptor."""

    def snapshot(self) -> Snapshot:
        """What the program has counted."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What the captures hold; all of them are one traffic.

    `first_ns` and `last_ns` are the earliest and the latest time stamp in nanoseconds since 1970
    UTC, None where there is none. `warnings` has an error for each file that was not readable to
    its end; what was readable of it is counted.
    """

    files: tuple[str, ...]
    packets: int
    first_ns: int | None
    last_ns: int | None
    snapshot: Snapshot
    warnings: tuple[CaptureError, ...]


def replay(
    paths: Sequence[str | PathLike[str]], program: Program, progress: Progress | None = None
) -> ReplayResult:
    """Run every packet of the captures through the program and read its counters.

    Frames under 14 bytes, which the kernel refuses to run, are counted here as `eth_truncated`.
    Frames over :data:`LONGEST_FRAME` are seen as far as a program can see them.

    Raises:
        CaptureError: before anything is run, when a file can't be opened, is no capture, or is a
            pcap file of a link type that can't be made Ethernet.
        KernelError: a frame could not be run.
    """
    files = [Path(path) for path in paths]
    total = 0
    for path in files:
        if not path.is_fifo():  # a pipe can be opened only once
            with Capture(path) as capture:
                capture.frames()
                total += capture.size
    runner = Runner(program.fd)
    warnings: list[CaptureError] = []
    done = 0
    for path in files:
        with Capture(path) as capture:
            try:
                for batch in capture.frames():
                    runner.run(batch)
                    if progress:
                        progress(done + capture.position, total)
            except CaptureError as error:
                warnings.append(error)
            done += capture.size
    snapshot = program.snapshot()
    outcomes = dict(snapshot.outcomes)
    outcomes["eth_truncated"] += runner.too_short
    return ReplayResult(
        tuple(map(str, files)),
        runner.packets,
        runner.first,
        runner.last,
        replace(snapshot, outcomes=outcomes),
        tuple(warnings),
    )


class Runner:
    """Runs batches of frames and keeps what the program can't count."""

    def __init__(self, fd: int) -> None:
        self._run = TestRun(fd)
        self.packets = self.too_short = 0
        self.first: int | None = None
        self.last: int | None = None

    def run(self, batch: Batch) -> None:
        """Run every frame of a batch; raises KernelError when one is not passed."""
        base = ctypes.addressof(ctypes.c_char.from_buffer(batch.buffer))
        run_at = self._run.run_at
        for offset, length in zip(batch.offsets, batch.lengths, strict=True):
            if length < ETHERNET_HEADER:
                self.too_short += 1
                continue
            code = run_at(base + offset, length if length < LONGEST_FRAME else LONGEST_FRAME)
            if code != XDP_PASS:
                raise KernelError(
                    f"the program returned {code} where it must let the packet pass: "
                    "report this packet as a bug of xdpdns."
                )
        self.packets += len(batch)
        first, last = min(batch.timestamps), max(batch.timestamps)
        if first == 0:  # stands for "no time stamp", which pcapng's simple packets have
            first = min(filter(None, batch.timestamps), default=0)
        if first:
            self.first = first if self.first is None else min(first, self.first)
            self.last = last if self.last is None else max(last, self.last)


def to_json(result: ReplayResult) -> dict[str, Any]:
    """The result as values that :func:`json.dumps` takes.

    `file` is the path where there is one file, else null; `files` has all. `first` and `last` are
    seconds since 1970 UTC with nine decimals, as strings since a JSON number may be cut to 53 bits.
    `warnings` tells of files that were not readable to their end. The rest is as
    :func:`xdpdns.report_json.to_json` has it.
    """
    return {
        "file": result.files[0] if len(result.files) == 1 else None,
        "files": list(result.files),
        "first": seconds(result.first_ns),
        "last": seconds(result.last_ns),
        "warnings": [str(warning) for warning in result.warnings],
        **report_json.to_json(result.snapshot),
        "packets": result.packets,
    }


def seconds(nanoseconds: int | None) -> str | None:
    """A time stamp in seconds with nine decimals; as text, since a float has not room for all."""
    if nanoseconds is None:
        return None
    whole, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{whole}.{fraction:09d}"
