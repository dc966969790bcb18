"""Every vector cut at every length, natively under sanitizers, and the same in the kernel."""

from __future__ import annotations

import os
import struct
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.native.build import ENVIRONMENT, Kind, build, seeds, stream
from tests.native.test_fuzz import native_outcomes
from tests.truth.compare import FLAG_BITS
from tests.truth.loading import EXACT as EXACT_CONFIG
from tests.truth.loading import EXACT_RESPONSES, loaded
from tests.truth.loading import settings as settings_of
from tests.truth.runner import Runner
from xdpdns import kernel, vocab
from xdpdns.loader import LoadedProgram
from xdpdns.rows import RowsReader
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import Snapshot

KINDS = [Kind("cc"), Kind("clang"), Kind("clang", "memory")]
EXACT = settings_of(EXACT_CONFIG)
CONFIGURATIONS = {
    "exact": EXACT,
    "default": ProgramSettings(),
    "no tld": ProgramSettings(labels=tuple(n for n in vocab.DIMENSIONS if n != "tld")),
    "tld alone": ProgramSettings(labels=("tld",)),
    "timed": replace(EXACT, timing=1),
    "responses": replace(settings_of(EXACT_RESPONSES), timing=1),
    "rcode alone": ProgramSettings(side="responses", labels=("rcode",)),
    "edns and qtype": ProgramSettings(labels=("edns", "qtype"), edns_edges=(512, 1232)),
}
SHORTEST = 14
"""Bytes of the shortest frame that the kernel runs."""

NAMES = list(vocab.outcomes())

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
    usual: int


def observe(program: Path, frames: list[bytes]) -> list[Observation]:
    """What a built harness makes of the frames."""
    done = subprocess.run(
        [program], input=stream(frames), capture_output=True, env=os.environ | ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    size, rest = divmod(len(done.stdout), len(frames))
    assert rest == 0
    unpack = struct.Struct(f"<4B2HQ2I{size - 32}sQ").iter_unpack
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
    named = Counter(NAMES[observation.outcome] for observation in seen)
    # the vectors end in every way that there is
    assert named.keys() == native_outcomes(settings)
    # and both ways to read a query were taken, of which the harness compares what they find
    assert {o.usual for o in seen} == ({0, 1} if settings.side == "queries" else {0})


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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_natively_and_in_the_kernel_the_same(tmp_path: Path) -> None:
    """Of each outcome all frames together: the kernel counts them there, and there alone."""
    seen = observe(harness(EXACT, KINDS[0], tmp_path), FRAMES)
    by_outcome: dict[str, list[tuple[bytes, Observation]]] = {name: [] for name in NAMES}
    for frame, observation in zip(FRAMES, seen, strict=True):
        if len(frame) >= SHORTEST:
            by_outcome[NAMES[observation.outcome]].append((frame, observation))
    with loaded(EXACT_CONFIG) as program:
        runner = Runner(program, EXACT_CONFIG)
        for name, pairs in by_outcome.items():
            counted = runner.run(frame for frame, _ in pairs)
            assert counted.outcomes == ({name: len(pairs)} if pairs else {})
            assert_marginals(name, [observation for _, observation in pairs], counted)
        assert rows(program) == Counter(o.key for _, o in by_outcome["query"])


def assert_marginals(name: str, seen: list[Observation], counted: Snapshot) -> None:
    """Headers and queries as the harness saw them."""
    found = counted.marginals
    queries = seen if name == "query" else []
    headers = seen if name == "query" or name in NAMES[NAMES.index("opcode") :] else []
    assert sum(found.opcodes.values()) == len(headers)
    for flag, count in found.flags.items():
        bit = 1 << FLAG_BITS[flag]
        assert count == sum(bool((o.header2 << 8 | o.header3) & bit) for o in headers)
    assert found.name_length.sum == sum(o.name_len for o in queries)
    assert found.name_labels.sum == sum(o.labels for o in queries)
    assert found.size.sum == sum(o.size for o in queries)
    assert found.size.count == len(queries)
    assert found.classes.get("IN", 0) == sum(o.qclass == 1 for o in queries)


def test_what_the_kernel_does_not_run_is_eth_truncated(tmp_path: Path) -> None:
    short = [frame for frame in FRAMES if len(frame) < SHORTEST]
    seen = observe(harness(EXACT, KINDS[0], tmp_path), short)
    assert {NAMES[o.outcome] for o in seen} == {"eth_truncated"}


def rows(program: LoadedProgram) -> Counter[bytes]:
    """The raw keys of the queries and their counts."""
    info = kernel.map_info(program.maps["queries"])
    reader = RowsReader(info.key_size, info.max_entries, lambda key: (key.hex(),))
    found = reader.read(program.maps)
    reader.close()
    return Counter({bytes.fromhex(key): count for (key,), count in found.items()})
