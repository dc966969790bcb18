"""Reads how soon queries were answered: the maps that the programs of both sides share.

The numbers are those of ``bpf/timing.h``; tests/native/test_mirrors.py compares them.
"""

from __future__ import annotations

import mmap
import struct
import time
from array import array
from collections.abc import Mapping
from itertools import repeat
from operator import sub

from xdpdns import kernel
from xdpdns.snapshot import Histogram, Timing

TIMED = ("pending", "timing", "clock")
"""The maps by name: the table of waiting queries, the counters, and a capture's time."""

READ = TIMED[:2]
"""Those that a TimingReader reads of a running program."""

SLOTS = 65536
"""Queries that can wait at a time."""

SHIFT, FIRST, BUCKETS = 10, 4, 20
"""The clock's unit is 2**SHIFT ns; the first bucket ends at 2**FIRST units, each next at twice."""

GROUPS = (("ipv4", "udp"), ("ipv4", "tcp"), ("ipv6", "udp"), ("ipv6", "tcp"))
"""enum timing_index."""

_COUNTS = ("tracked", "duplicate", "expired", "displaced", "orphan")
_WORDS = len(_COUNTS) + len(GROUPS) * (BUCKETS + 1)
TIMING_BYTES = 8 * _WORDS
"""Of struct timing."""

_TIMEOUT = 1 << (FIRST + BUCKETS - 1)
_CLOCK_MASK = (1 << 32) - 1

BOUNDS = tuple(1 << (SHIFT + FIRST + bucket) for bucket in range(BUCKETS))
"""Upper edges of the buckets in nanoseconds: 16.384 us to 8.59 s."""


class TimingReader:
    """Reads the two maps, given by their fds, for as long as they are the same."""

    def __init__(self, sample: int) -> None:
        self._sample = sample
        self._cpus = kernel.possible_cpus()
        self._expired = 0

    def read(self, maps: Mapping[str, int]) -> Timing:
        """The counts by now.

        The table is read first: a query that leaves it meanwhile may be counted twice, never lost.
        """
        waiting, stale = self._waiting(maps["pending"], self._now(maps.get("clock")))
        raw = kernel.map_lookup(maps["timing"], bytes(4), 8 * _WORDS * self._cpus)
        words = list(struct.unpack(f"<{_WORDS * self._cpus}Q", raw))
        total = [sum(words[at::_WORDS]) for at in range(_WORDS)]
        counts = dict(zip(_COUNTS, total, strict=False))
        buckets = total[len(_COUNTS) :]
        units = buckets[len(GROUPS) * BUCKETS :]
        # Who waits too long is counted by the kernel once another takes its slot, and here until
        # then. After 73 minutes its age begins anew: what was said to have expired stays so.
        self._expired = max(self._expired, counts["expired"] + stale)
        return Timing(
            sample=self._sample,
            tracked=counts["tracked"],
            expired=self._expired,
            displaced=counts["displaced"],
            waiting=waiting,
            duplicate=counts["duplicate"],
            orphan=counts["orphan"],
            durations={
                group: Histogram(
                    bounds=BOUNDS,
                    counts=(*buckets[at * BUCKETS : (at + 1) * BUCKETS], 0),
                    sum=units[at] << SHIFT,
                )
                for at, group in enumerate(GROUPS)
            },
        )

    @staticmethod
    def _now(clock: int | None) -> int:
        """The kernel's time, or that of a capture's last packet (ProgramSettings.capture_clock)."""
        if clock is None:
            return time.monotonic_ns()
        return int.from_bytes(kernel.map_lookup(clock, bytes(4), 8), "little")

    @staticmethod
    def _waiting(fd: int, now_ns: int) -> tuple[int, int]:
        """How many queries wait, and how many have done so for too long."""
        with mmap.mmap(fd, 8 * SLOTS, mmap.MAP_SHARED, mmap.PROT_READ) as table:
            words = array("Q", table[:])
        now = now_ns >> SHIFT & _CLOCK_MASK
        times = [word >> 32 for word in words if word]
        ages = map(_CLOCK_MASK.__and__, map(sub, repeat(now), times))
        stale = sum(map(_TIMEOUT.__le__, ages))
        return len(times) - stale, stale


class CaptureClock:
    """Sets the time of the packets that are replayed, in the map `clock`; a context manager.

    The map is a page of memory here: to set it costs no system call.
    """

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._time = memoryview(self._page).cast("Q")

    def set(self, nanoseconds: int) -> None:
        """The time of the packets that follow, in nanoseconds since some moment in the past."""
        self._time[0] = nanoseconds

    def __enter__(self) -> CaptureClock:
        return self

    def __exit__(self, *_: object) -> None:
        self._time.release()
        self._page.close()
