"""Every vector cut at every length, natively under sanitizers, and the same in the kernel."""

from __future__ import annotations

import os
import struct
import subprocess
from array import array
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.native.build import ENVIRONMENT, Kind, build, seeds, stream
from xdpdns import kernel, vocab
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings

KINDS = [Kind("cc"), Kind("clang"), Kind("clang", "memory")]
EXACT = ProgramSettings(tlds="all", qtypes="all")
CONFIGURATIONS = {
    "exact": EXACT,
    "default": ProgramSettings(),
    "no tld": ProgramSettings(labels=tuple(n for n in vocab.DIMENSIONS if n != "tld")),
    "tld alone": ProgramSettings(labels=("tld",)),
    "edns and qtype": ProgramSettings(labels=("edns", "qtype"), edns_edges=(512, 1232)),
}
SHORTEST = 14
"""Bytes of the shortest frame that the kernel runs."""

FRAMES = sorted({frame[:length] for frame in seeds() for length in range(len(frame) + 1)})
"""Each once: many vectors begin alike."""


class Observation(NamedTuple):
    """struct observation of observe.h; the key as bytes."""

    outcome: int
    header2: int
    header3: int
    version: int
    qclass: int
    edns_size: int
    size: int
    name_len: int
    labels: int
    key: bytes


def observe(program: Path, frames: list[bytes]) -> list[Observation]:
    """What a built harness makes of the frames."""
    done = subprocess.run(
        [program], input=stream(frames), capture_output=True, env=os.environ | ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    size, rest = divmod(len(done.stdout), len(frames))
    assert rest == 0
    unpack = struct.Struct(f"<4B2HQ2I{size - 24}s").iter_unpack
    return [Observation(*fields) for fields in unpack(done.stdout)]


def harness(settings: ProgramSettings, kind: Kind, into: Path) -> Path:
    """Build it, where there is such a compiler."""
    if not kind.available:
        pytest.skip(f"{kind.compiler} is not installed")
    return build("harness", settings, kind, into)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("settings", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_no_read_beyond_the_frame(settings: ProgramSettings, kind: Kind, tmp_path: Path) -> None:
    seen = observe(harness(settings, kind, tmp_path), FRAMES)
    named = Counter(list(vocab.outcomes())[observation.outcome] for observation in seen)
    # the vectors end in every way that there is
    assert named.keys() == vocab.outcomes().keys()


@pytest.mark.parametrize("end", ["over", "under"])
@pytest.mark.parametrize("kind", KINDS[:2], ids=str)
def test_a_read_beyond_the_frame_is_trapped(kind: Kind, end: str, tmp_path: Path) -> None:
    program = harness(EXACT, kind, tmp_path)
    done = subprocess.run(
        [program, end],
        input=stream([FRAMES[-1]]),
        capture_output=True,
        env=os.environ | ENVIRONMENT,
    )
    assert done.returncode != 0
    assert b"heap-buffer-overflow" in done.stderr


class Counters:
    """The raw struct counters of a program, added over the CPUs."""

    def __init__(self, program: LoadedProgram, settings: ProgramSettings) -> None:
        layout = compile_program(settings).counters
        self._fd = program.maps["counters"]
        self._words = layout.size // 8
        self._fields = layout.fields
        self._cpus = kernel.possible_cpus()

    def member(self, name: str) -> list[int]:
        """A member's counts at this moment."""
        raw = array("Q", kernel.map_lookup(self._fd, bytes(4), 8 * self._words * self._cpus))
        field = self._fields[name]
        first = field.offset // 8
        return [sum(raw[at :: self._words]) for at in range(first, first + field.count)]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_natively_and_in_the_kernel_the_same(tmp_path: Path) -> None:
    """Each frame's outcome, each row's key and count, and the marginals that the harness shows."""
    seen = observe(harness(EXACT, KINDS[0], tmp_path), FRAMES)
    program = LoadedProgram(compile_program(EXACT), EXACT)
    counters = Counters(program, EXACT)
    run = kernel.TestRun(program.fd).run
    shown = [
        (frame, observation)
        for frame, observation in zip(FRAMES, seen, strict=True)
        if len(frame) >= SHORTEST
    ]
    before = counters.member("outcome")
    for frame, observation in shown:
        assert run(frame) == kernel.XDP_PASS
        before[observation.outcome] += 1
        assert counters.member("outcome") == before, frame.hex()
    rows = Counter(o.key for _, o in shown if o.outcome == 0)
    assert rows == _rows(program)
    queries = [o for _, o in shown if o.outcome == 0]
    names = list(vocab.outcomes())
    headers = [o for _, o in shown if o.outcome == 0 or o.outcome >= names.index("opcode")]
    assert _dense(counters.member("header2")) == Counter(o.header2 for o in headers)
    assert _dense(counters.member("header3")) == Counter(o.header3 for o in headers)
    assert _dense(counters.member("name_len")) == Counter(o.name_len for o in queries)
    assert _dense(counters.member("name_labels")) == Counter(o.labels for o in queries)
    assert counters.member("size_sum") == [sum(o.size for o in queries)]
    program.close()


def test_what_the_kernel_does_not_run_is_eth_truncated(tmp_path: Path) -> None:
    short = [frame for frame in FRAMES if len(frame) < SHORTEST]
    seen = observe(harness(EXACT, KINDS[0], tmp_path), short)
    assert {list(vocab.outcomes())[o.outcome] for o in seen} == {"eth_truncated"}


def _rows(program: LoadedProgram) -> Counter[bytes]:
    """The raw keys of the queries and their counts."""
    found: Counter[bytes] = Counter()
    info = kernel.map_info(program.maps["queries"])
    cpus = kernel.possible_cpus()
    for keys, values in kernel.map_lookup_batch(program.maps["queries"], info.key_size, 8 * cpus):
        counts = values.cast("Q")
        for index in range(len(counts) // cpus):
            key = bytes(keys[index * info.key_size : (index + 1) * info.key_size])
            found[key] = sum(counts[index * cpus : (index + 1) * cpus])
    return found


def _dense(counts: list[int]) -> Counter[int]:
    return Counter({value: count for value, count in enumerate(counts) if count})
