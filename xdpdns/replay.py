"""Captures through the compiled programs: every packet by BPF_PROG_TEST_RUN, then a snapshot.

Each packet goes through the program that counts queries and, if wanted, the one that counts
responses: whichever way it went past the capturing machine. Where responses are timed, packets go
in the order of time through both, and the time is that of the capture.

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
import heapq
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from xdpdns import report_json
from xdpdns.capture import Batch, Capture
from xdpdns.errors import CaptureError, KernelError
from xdpdns.kernel import XDP_PASS, TestRun
from xdpdns.snapshot import Snapshot
from xdpdns.timing import BOUNDS, CaptureClock

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
    its end; what was readable of it is counted. `snapshot` is of the program that counts queries,
    `responses` of the other one, if there was one; each saw every packet.
    """

    files: tuple[str, ...]
    packets: int
    first_ns: int | None
    last_ns: int | None
    snapshot: Snapshot
    warnings: tuple[CaptureError, ...]
    responses: Snapshot | None = None


def replay(
    paths: Sequence[str | PathLike[str]],
    program: Program,
    progress: Progress | None = None,
    responses: Program | None = None,
    clock: CaptureClock | None = None,
) -> ReplayResult:
    """Run every packet of the captures through the program and read its counters.

    And through the program that counts `responses`, if it is given. With a `clock`, which both read
    (ProgramSettings.capture_clock), the packets of all files go through them in the order of time.

    Frames under 14 bytes, which the kernel refuses to run, are counted here as `eth_truncated`.
    Frames over :data:`LONGEST_FRAME` are seen as far as a program can see them.

    Raises:
        CaptureError: before anything is run, when a file can't be opened, is no capture, or is a
            pcap file of a link type that can't be made Ethernet.
        KernelError: a frame could not be run.
    """
    reading = Reading([Path(path) for path in paths], progress)
    programs = [program] if responses is None else [program, responses]
    runner = Runner(*(one.fd for one in programs))
    with ExitStack() as stack:
        if clock is None:
            for path in reading.files:
                with Capture(path) as capture:
                    for batch in reading.batches(capture):
                        runner.run(batch)
        else:
            captures = [stack.enter_context(Capture(path)) for path in reading.files]
            runner.run_in_order(map(reading.batches, captures), clock)
    snapshots = [_with_too_short(one.snapshot(), runner.too_short) for one in programs]
    return ReplayResult(
        tuple(map(str, reading.files)),
        runner.packets,
        runner.first,
        runner.last,
        snapshots[0],
        tuple(reading.warnings),
        snapshots[1] if responses else None,
    )


class Reading:
    """The files of one replay: how far reading has come, and what was not readable."""

    def __init__(self, files: list[Path], progress: Progress | None) -> None:
        self.files = files
        self.warnings: list[CaptureError] = []
        self._progress = progress
        self._done = self._total = 0
        for path in files:
            if not path.is_fifo():  # a pipe can be opened only once
                with Capture(path) as capture:
                    capture.frames()
                    self._total += capture.size

    def batches(self, capture: Capture) -> Iterator[Batch]:
        """The file's packets, up to where it is damaged; each batch is progress."""
        before = 0
        try:
            for batch in capture.frames():
                yield batch
                self._done += capture.position - before
                before = capture.position
                if self._progress:
                    self._progress(self._done, self._total)
        except CaptureError as error:
            self.warnings.append(error)
        self._done += capture.size - before


def _with_too_short(snapshot: Snapshot, frames: int) -> Snapshot:
    """The counters and these frames, which the program was never given."""
    outcomes = dict(snapshot.outcomes)
    outcomes["eth_truncated"] += frames
    return replace(snapshot, outcomes=outcomes)


class Runner:
    """Runs batches of frames through programs, given by their fds, and keeps what they can't count.

    `packets` and `too_short` frames are counted once, whatever the number of programs.
    """

    def __init__(self, *fds: int) -> None:
        self._runs = [TestRun(fd).run_at for fd in fds]
        self.packets = self.too_short = 0
        self.first: int | None = None
        self.last: int | None = None

    def run(self, batch: Batch) -> None:
        """Run every frame of a batch; raises KernelError when one is not passed."""
        base = ctypes.addressof(ctypes.c_char.from_buffer(batch.buffer))
        for run_at in self._runs:
            too_short = 0
            for offset, length in zip(batch.offsets, batch.lengths, strict=True):
                if length < ETHERNET_HEADER:
                    too_short += 1
                    continue
                code = run_at(base + offset, length if length < LONGEST_FRAME else LONGEST_FRAME)
                if code != XDP_PASS:
                    raise _not_passed(code)
        self.too_short += too_short
        self._note(batch)

    def run_in_order(self, files: Iterable[Iterator[Batch]], clock: CaptureClock) -> None:
        """Run every frame of all files, the earliest first, each through one program after another.

        Raises:
            KernelError: a frame is not passed.
        """
        packets = [self._packets(batches) for batches in files]
        for time, address, length in heapq.merge(*packets, key=itemgetter(0)):
            clock.set(time)
            for run_at in self._runs:
                code = run_at(address, length)
                if code != XDP_PASS:
                    raise _not_passed(code)

    def _packets(self, batches: Iterator[Batch]) -> Iterator[tuple[int, int, int]]:
        """Time, address and length of a file's frames that the kernel runs, in the file's order.

        A frame without time has that of the one before, and so has one that is a little earlier:
        several CPUs or queues captured. One that is earlier by more than a query can wait begins
        another capture in the same file.
        """
        now = 0
        for batch in batches:
            base = ctypes.addressof(ctypes.c_char.from_buffer(batch.buffer))
            for time, offset, length in zip(
                batch.timestamps, batch.offsets, batch.lengths, strict=True
            ):
                if time > now or 0 < time < now - BOUNDS[-1]:
                    now = time
                if length < ETHERNET_HEADER:
                    self.too_short += 1
                    continue
                yield now, base + offset, length if length < LONGEST_FRAME else LONGEST_FRAME
            self._note(batch)

    def _note(self, batch: Batch) -> None:
        """Count a batch's packets, and keep the earliest and the latest time."""
        self.packets += len(batch)
        first, last = min(batch.timestamps), max(batch.timestamps)
        if first == 0:  # stands for "no time stamp", which pcapng's simple packets have
            first = min(filter(None, batch.timestamps), default=0)
        if first:
            self.first = first if self.first is None else min(first, self.first)
            self.last = last if self.last is None else max(last, self.last)


def _not_passed(code: int) -> KernelError:
    return KernelError(
        f"the program returned {code} where it must let the packet pass: "
        "report this packet as a bug of xdpdns."
    )


def to_json(result: ReplayResult) -> dict[str, Any]:
    """The result as values that :func:`json.dumps` takes.

    `file` is the path where there is one file, else null; `files` has all. `first` and `last` are
    seconds since 1970 UTC with nine decimals, as strings since a JSON number may be cut to 53 bits.
    `warnings` tells of files that were not readable to their end. The queries are as
    :func:`xdpdns.report_json.to_json` has them, and `tcp` what came in segments. `responses` has
    the same of the responses, their rows under `rows`, and `durations` how soon queries were
    answered: null if not counted.
    """
    responses, timing = None, None
    if result.responses is not None:
        made = report_json.to_json(result.responses)
        responses = {"outcomes": made["outcomes"], "rows": made.pop("queries")}
        responses |= {key: made[key] for key in ("overflow", "folded", "marginals")}
        responses["tcp"] = report_json.tcp(result.responses.tcp)
        timing = result.responses.timing
    return {
        "file": result.files[0] if len(result.files) == 1 else None,
        "files": list(result.files),
        "first": seconds(result.first_ns),
        "last": seconds(result.last_ns),
        "warnings": [str(warning) for warning in result.warnings],
        **report_json.to_json(result.snapshot),
        "packets": result.packets,
        "tcp": report_json.tcp(result.snapshot.tcp),
        "responses": responses,
        "durations": None if timing is None else report_json.durations(timing),
    }


def seconds(nanoseconds: int | None) -> str | None:
    """A time stamp in seconds with nine decimals; as text, since a float has not room for all."""
    if nanoseconds is None:
        return None
    whole, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{whole}.{fraction:09d}"
