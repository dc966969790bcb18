"""Loads configurations of the programs: does the kernel's verifier follow them all?

    tests/bpf/sweep [--count N] [--seed S] [--all] [--side queries|responses]

Clang compiles each to other code, and the verifier has to follow all of it: run this after a change
in bpf/. A configuration is a side, a hook, a subset of the labels, lists of TLDs and types or none,
responses timed or not (all, one in 16, by a capture's clock), TCP or not, exact EDNS sizes or not,
alone or before the other side's program.
A sample of them takes about two seconds each; all are tens of thousands. It ends with the
largest of each kind. The test suite loads a small sample.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, combinations, product
from typing import NamedTuple

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from xdpdns import kernel, vocab
from xdpdns.errors import XdpdnsError
from xdpdns.loader import LoadedProgram
from xdpdns.program import TAIL_TCP, compile_program
from xdpdns.settings import ProgramSettings

LIMIT = 1_000_000
"""Instructions that the verifier follows before it gives up (kernel 5.2 and later)."""

LISTS = (("iana", "registered"), ("all", "all"))
TIMINGS = ((0, False), (1, False), (16, False), (1, True))


class Verified(NamedTuple):
    """Instructions that were followed in each program; `tcp` is 0 where there is none."""

    message: int
    tcp: int


def configurations(sides: Sequence[str] = tuple(vocab.SIDES)) -> Iterator[ProgramSettings]:
    """Every one of them, in an order that stays."""
    for side in sides:
        queries = (False, True) if side == "queries" else (False,)
        for labels, (tlds, qtypes), hook, (timing, clock), tcp, sizes, hands_over in product(
            subsets(vocab.SIDES[side]),
            LISTS,
            ("xdp", "tc"),
            TIMINGS,
            (True, False),
            queries,
            queries,
        ):
            yield ProgramSettings(
                side=side,
                labels=labels,
                tlds=tlds,
                qtypes=qtypes,
                hook=hook,
                timing=timing,
                capture_clock=clock,
                tcp=tcp,
                exact_edns=sizes,
                hands_over=hands_over,
                max_series=64,
            )


def subsets(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Those that are not empty."""
    sizes = range(1, len(labels) + 1)
    return list(chain.from_iterable(combinations(labels, size) for size in sizes))


def sample(
    count: int, seed: int, sides: Sequence[str] = tuple(vocab.SIDES)
) -> list[ProgramSettings]:
    """As many of them as `count`, by a seed; as many of one side as of the other."""
    pick = random.Random(seed)
    chosen: list[ProgramSettings] = []
    for at, side in enumerate(sides):
        every = list(configurations([side]))
        share = count // len(sides) + (at < count % len(sides))
        chosen += pick.sample(every, min(share, len(every)))
    return chosen


def verify(settings: ProgramSettings) -> Verified:
    """Compile and load one.

    Raises:
        XdpdnsError: it was refused.
    """
    program = LoadedProgram(compile_program(settings), settings)
    try:
        return Verified(program.info().verified_insns, _tail(program) if settings.tcp else 0)
    finally:
        program.close()


def _tail(program: LoadedProgram) -> int:
    found = kernel.map_lookup(program.maps["tails"], TAIL_TCP.to_bytes(4, "little"), 4)
    fd = kernel.prog_fd(int.from_bytes(found, "little"))
    try:
        return kernel.prog_info(fd).verified_insns
    finally:
        os.close(fd)


def describe(settings: ProgramSettings) -> str:
    """The configuration in a line."""
    switches = [f"{settings.side} at {settings.hook}", f"--tlds {settings.tlds}"]
    if settings.timing:
        clock = " by a capture's clock" if settings.capture_clock else ""
        switches.append(f"--latency-sample {settings.timing}{clock}")
    switches += [name for name in ("tcp", "exact_edns", "hands_over") if getattr(settings, name)]
    return f"{', '.join(switches)}, labels {','.join(settings.labels)}"


def try_all(chosen: Sequence[ProgramSettings], console: Console) -> int:
    """Verify each, with a bar on a terminal; print the refused and the largest, return the refused.

    A larger one than all before is printed where it is met: a run that is broken off has told.
    """
    refused = 0
    most: dict[tuple[str, str], int] = {}
    bar = Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        for settings in bar.track(chosen, description="Verifying"):
            try:
                verified = verify(settings)
            except XdpdnsError as error:
                refused += 1
                console.print(f"REFUSED {describe(settings)}: {str(error)[-300:]}", markup=False)
                continue
            for program, followed in verified._asdict().items():
                kind = (settings.side, program)
                if followed > most.get(kind, 0):
                    most[kind] = followed
                    console.print(f"{program} program: {followed:,} in {describe(settings)}")
    console.print(f"{len(chosen):,} configurations, {refused} refused; of {LIMIT:,} instructions:")
    for (side, program), followed in most.items():
        console.print(f"  {side}, {program} program: {followed:,} at most ({followed / LIMIT:.0%})")
    return refused


@click.command()
@click.option("--count", default=150, show_default=True, help="Configurations to try.")
@click.option("--seed", default=352, show_default=True, help="Which ones.")
@click.option("--all", "every", is_flag=True, help="Try all of them: half a day.")
@click.option("--side", type=click.Choice(list(vocab.SIDES)), help="Only programs of this side.")
def main(count: int, seed: int, every: bool, side: str | None) -> None:
    """Load configurations of the programs; exit code 1 if the verifier refused one."""
    sides = [side] if side else list(vocab.SIDES)
    chosen = list(configurations(sides)) if every else sample(count, seed, sides)
    console = Console(soft_wrap=True, highlight=False)
    sys.exit(int(try_all(chosen, console) > 0))


if __name__ == "__main__":
    main()
