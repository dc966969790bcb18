"""Frames through a loaded program, and what it counted of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from tests.truth.compare import Difference, differences
from tests.truth.reference import Config, ResponseRow, Row, classify
from tests.truth.table import tabulate
from xdpdns.kernel import XDP_PASS, TestRun
from xdpdns.snapshot import Histogram, Snapshot

Key = TypeVar("Key")


class Program(Protocol):
    """A loaded program."""

    @property
    def fd(self) -> int:
        """The program's file descriptor."""

    def snapshot(self) -> Snapshot:
        """What the program has counted since it was loaded."""


class NotPassedError(AssertionError):
    """The program returned something else than XDP_PASS, or TCX_NEXT, for a frame."""


class Runner:
    """Runs frames through one program; counts are of the frames of one call."""

    def __init__(self, program: Program, config: Config, passed: int = XDP_PASS) -> None:
        self.program = program
        self.config = config
        self._passed = passed & 0xFFFFFFFF
        self._run = TestRun(program.fd).run
        self._before = program.snapshot()

    def run(self, frames: Iterable[bytes]) -> Snapshot:
        """What the program counts of these frames, each of at least 14 bytes.

        Raises:
            NotPassedError: it did not let one of them pass.
        """
        run = self._run
        for frame in frames:
            code = run(frame)
            if code != self._passed:
                raise NotPassedError(f"returned {code} for {frame.hex()}")
        after = self.program.snapshot()
        counted = subtract(after, self._before)
        self._before = after
        return counted

    def one(self, frame: bytes) -> tuple[str, Row | ResponseRow | None]:
        """The outcome and row of one frame; `<n outcomes>` if it has not exactly one."""
        counted = self.run([frame])
        outcomes = list(Counter(counted.outcomes).elements())
        rows = list(Counter(counted.queries).elements())
        outcome = outcomes[0] if len(outcomes) == 1 else f"<{len(outcomes)} outcomes>"
        kind = Row if self.config.side == "queries" else ResponseRow
        return outcome, kind(*rows[0]) if rows else None

    def check(self, frames: Sequence[bytes]) -> list[Difference]:
        """Every difference to the reference, over all these frames together."""
        return differences(tabulate(frames, self.config), self.run(frames))

    def disagrees(self, frame: bytes) -> bool:
        """Whether the program and the reference count this frame differently."""
        return bool(self.check([frame]))

    def culprits(self, frames: Sequence[bytes], limit: int = 5) -> list[bytes]:
        """Frames that are counted differently, at most `limit`, found by halving."""
        if not self.check(frames):
            return []
        if len(frames) == 1:
            return list(frames)
        half = len(frames) // 2
        first = self.culprits(frames[:half], limit)
        if len(first) >= limit:
            return first
        return first + self.culprits(frames[half:], limit - len(first))

    def describe(self, frame: bytes) -> str:
        """What the program makes of a frame, and the reference, in one line."""
        verdict = classify(frame, self.config)
        return f"program {self.one(frame)}, reference {verdict}, {self.check([frame])}"


def subtract(after: Snapshot, before: Snapshot) -> Snapshot:
    """What was counted between two snapshots of one program."""
    new, old = after.marginals, before.marginals
    return replace(
        after,
        queries=_minus(after.queries, before.queries),
        outcomes=_minus(after.outcomes, before.outcomes),
        overflow=_minus(after.overflow, before.overflow),
        folded=after.folded - before.folded,
        marginals=replace(
            new,
            opcodes=_minus(new.opcodes, old.opcodes),
            flags={flag: n - old.flags[flag] for flag, n in new.flags.items()},
            classes=_minus(new.classes, old.classes),
            edns_versions=_minus(new.edns_versions, old.edns_versions),
            size=_histogram(new.size, old.size),
            name_length=_histogram(new.name_length, old.name_length),
            name_labels=_histogram(new.name_labels, old.name_labels),
        ),
    )


def _minus(after: Mapping[Key, int], before: Mapping[Key, int]) -> dict[Key, int]:
    return {key: n - before.get(key, 0) for key, n in after.items() if n != before.get(key, 0)}


def _histogram(after: Histogram, before: Histogram) -> Histogram:
    counts = tuple(new - old for new, old in zip(after.counts, before.counts, strict=True))
    return Histogram(after.bounds, counts, after.sum - before.sum)
