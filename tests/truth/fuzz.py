"""Differential fuzzing: the BPF program against the reference, batch by batch.

    tests/truth/fuzz --count 1000000 --seed 1 [--side responses]

Each batch goes through the program twice, with every TLD and type in rows and as by default, with
fresh maps. A frame that is counted differently is shrunk and printed as a test vector.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tests.bpf.vectors import VECTORS
from tests.bpf.vectors_framing import FRAMING
from tests.bpf.vectors_responses import RESPONSES
from tests.truth import captures
from tests.truth.framing import Side
from tests.truth.generator import MAX_FRAME, frames
from tests.truth.loading import (
    DEFAULT,
    DEFAULT_RESPONSES,
    EXACT,
    EXACT_RESPONSES,
    loaded,
)
from tests.truth.reference import Config, classify
from tests.truth.runner import NotPassedError, Runner
from tests.truth.shrink import as_vector, shrink
from tests.truth.table import tabulate

BATCH = 25_000

CONFIGS = {"queries": (EXACT, DEFAULT), "responses": (EXACT_RESPONSES, DEFAULT_RESPONSES)}
"""What each side is compared with: every TLD and type in rows, and as by default."""


@dataclass
class Result:
    """What a run found: vectors of disagreements (as text), and how many frames it tried.

    `counted` of them were queries, or responses.
    """

    packets: int = 0
    counted: int = 0
    vectors: list[str] = field(default_factory=list)


def corpus(folder: Path | None) -> list[bytes]:
    """The vectors' frames of both sides, and those in `folder` that are not too long to run."""
    found = [vector.frame for vector in VECTORS + FRAMING + RESPONSES]
    for path in sorted(folder.glob("*.pcap*")) if folder else ():
        try:
            found += [frame for frame in captures.read(path) if len(frame) <= MAX_FRAME]
        except ValueError:
            continue  # a link type that carries no IP
    return found


def fuzz(
    seed: int,
    count: int,
    material: Sequence[bytes],
    side: Side = "queries",
    progress: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Run `count` frames and compare; `progress` is called after each batch."""
    result = Result()
    made = frames(seed, count, material, side)
    while batch := list(islice(made, BATCH)):
        for config in CONFIGS[side]:
            result.vectors += disagreements(config, batch)
        result.packets += len(batch)
        outcomes = tabulate(batch, CONFIGS[side][0]).outcomes
        result.counted += outcomes["query"] + outcomes["response"]
        progress(result)
    return result


def disagreements(config: Config, batch: Sequence[bytes]) -> list[str]:
    """A shrunk vector for each of the first few frames that are counted differently.

    A batch also disagrees if the outcomes do not sum up to its packets.
    """
    with loaded(config) as program:
        try:
            culprits = Runner(program, config).culprits(batch)
        except NotPassedError as error:
            return [str(error)]
    if not culprits:
        return []
    # Shrinking takes many looks at the counters: a program with few rows is read fast.
    with loaded(config) as program:
        return [_shrunk(frame, Runner(program, config)) for frame in culprits]


def _shrunk(frame: bytes, runner: Runner) -> str:
    small = shrink(frame, runner.disagrees)
    return f"{as_vector(small, classify(small, runner.config))}\n    {runner.describe(small)}"


def main() -> int:
    """Run by hand; the exit code is 1 if anything disagreed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="how many packets")
    parser.add_argument("--seed", type=int, default=1, help="of the generator")
    parser.add_argument("--side", choices=CONFIGS, default="queries", help="what is counted")
    parser.add_argument("--captures", type=Path, help="folder of captures to mutate")
    options = parser.parse_args()
    material = corpus(options.captures)
    start = time.monotonic()

    def show(result: Result) -> None:
        rate = result.packets / (time.monotonic() - start)
        line = f"{result.packets} of {options.count} packets, {result.counted} {options.side}"
        print(f"\r{line}, {rate:.0f} packets/s", end="", file=sys.stderr, flush=True)

    result = fuzz(options.seed, options.count, material, options.side, show)
    rate = result.packets / (time.monotonic() - start)
    print(file=sys.stderr)
    for vector in result.vectors:
        print(vector)
    print(
        f"{result.packets} packets (seed {options.seed}, {len(material)} frames to mutate): "
        f"{result.counted} {options.side}, {len(result.vectors)} disagreements, "
        f"{rate:.0f} packets/s"
    )
    return 1 if result.vectors else 0


if __name__ == "__main__":
    sys.exit(main())
