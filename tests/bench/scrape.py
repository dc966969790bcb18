"""A scrape in its parts, against prometheus_client's generate_latest for the same rows."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from functools import partial
from typing import Any

import prometheus_client

from tests.bench.figures import Sample, Table, cpu_seconds, take_turns, verdict
from tests.bench.rows import fill
from xdpdns import kernel
from xdpdns.decode import Decoder
from xdpdns.exposition import compress, render
from xdpdns.families import InterfaceState, families
from xdpdns.loader import LoadedProgram
from xdpdns.program import Compiled, compile_program
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import Snapshot

SIZES = {1: 15, 10_000: 11, 100_000: 7}
"""Rows, and how many rounds: each of the larger takes seconds."""


def library(rows: Mapping[tuple[str, ...], int], labels: tuple[str, ...]) -> Any:
    """A registry of prometheus_client's own with these rows, and no others."""
    registry = prometheus_client.CollectorRegistry()
    names = ("interface", *labels)
    counter = prometheus_client.Counter("xdpdns_queries", "queries", names, registry=registry)
    for row, count in rows.items():
        counter.labels("eth0", *row).inc(count)
    return registry


class Stages:
    """One program that has rows, and the steps of a scrape of it."""

    def __init__(
        self, program: LoadedProgram, compiled: Compiled, settings: ProgramSettings
    ) -> None:
        self._program = program
        self._decoder = partial(Decoder, compiled.key, compiled.counters, settings)
        self._key_size = compiled.key.size
        self.snapshot: Snapshot = program.snapshot()
        self.text = self.write()
        self.zipped = compress(self.text)
        self.registry = library(self.snapshot.queries, self.snapshot.dimensions)

    def walk(self) -> None:
        """What it would take to read as many bytes by BPF_MAP_LOOKUP_BATCH."""
        for _ in kernel.map_lookup_batch(self._program.maps["queries"], self._key_size, 4):
            pass

    def first(self) -> None:
        """Read by an agent that has not seen the rows: all keys are decoded."""
        decoder = self._decoder()
        decoder.snapshot(self._program.maps)
        decoder.close()

    def read(self) -> None:
        """Read as in all scrapes but the first."""
        self.snapshot = self._program.snapshot()

    def write(self) -> bytes:
        state = InterfaceState("eth0", up=True, mode="native", program_id=1, snapshot=self.snapshot)
        return render(families([state], fail), False, fail)

    def render(self) -> None:
        self.text = self.write()

    def gzip(self) -> None:
        self.zipped = compress(self.text)

    def generate_latest(self) -> None:
        prometheus_client.generate_latest(self.registry)


def fail(collector: str, error: Exception) -> None:
    raise error


def measure(stages: Stages, rounds: int) -> dict[str, Sample]:
    steps = ("walk", "first", "read", "render", "gzip", "generate_latest")
    works = {name: getattr(stages, name) for name in steps}
    timers = {name: lambda work=work: 1e3 * cpu_seconds(work) for name, work in works.items()}
    return take_turns(timers, rounds, "ms")


def tables() -> list[Table]:
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    settings = ProgramSettings(max_series=max(SIZES))
    compiled = compile_program(settings)
    program = LoadedProgram(compiled, settings)
    parts: list[tuple[Any, ...]] = []
    against: list[tuple[Any, ...]] = []
    filled = 0
    for size, rounds in SIZES.items():
        fill(program.fd, size, filled)
        filled = size
        stages = Stages(program, compiled, settings)
        assert len(stages.snapshot.queries) == size
        gc.collect()
        times = measure(stages, rounds)
        decode = Sample(
            tuple(a - b for a, b in zip(times["first"].rounds, times["read"].rounds, strict=True)),
            "ms",
        )
        ours = times["read"] + times["render"]
        ratio = times["generate_latest"] / ours
        steps = (times["walk"], times["read"], decode, times["render"], times["gzip"])
        parts.append((size, *steps, len(stages.text), len(stages.zipped)))
        goals = ("", "")
        if size == max(SIZES):
            goals = (verdict(ours, 200.0), verdict(ratio, 8.0, at_least=True))
        against.append((size, ours, goals[0], times["generate_latest"], ratio, goals[1]))
    program.close()
    note = (
        "CPU time of the thread. Keys are decoded in the first scrape that has them. walk: the "
        "same rows by BPF_MAP_LOOKUP_BATCH, which no scrape needs. The text has all of xdpdns's "
        "families, generate_latest's only these rows."
    )
    return [
        Table(
            "A scrape's parts",
            ("rows", "walk", "read", "decode", "render", "gzip", "bytes", "gzipped"),
            tuple(parts),
        ),
        Table(
            "A scrape against prometheus_client",
            ("rows", "read+render", "goal, ms", "generate_latest", "times faster", "goal"),
            tuple(against),
            note,
        ),
    ]
