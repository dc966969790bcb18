"""What xdpdns costs NSD at saturation, with nothing changed but the program.

One dnsperf runs all the time. Below it, several times a second, an empty program takes the place of
xdpdns, and xdpdns its: in one step of the kernel's, so that no packet finds the hook without one.
Answers are counted by the server's own interface. A run of dnsperf of its own for each, as in
nameserver.py, differs from the next by more than what is to be measured: by the scheduler's choice
of who shares a CPU with whom, and by the cache.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.figures import Cell, Sample, Table, verdict
from tests.bench.nameserver import Programs, busy, dnsperf, write_queries
from tests.netns.actors import start_nsd
from tests.netns.lab import Lab
from xdpdns.hooks import Attachment, Direction, Hook, Hooks

ROUNDS = 15
TURNS = 20
"""So many times in a round each of the two has its turn."""
TURN = 0.2
SETTLE = 0.01
"""Seconds: of a turn, and between the change and its beginning."""
GOAL = 0.98


@dataclass(frozen=True, slots=True)
class Place:
    """A hook, and the fds of the two programs that take turns on it."""

    hook: Hook
    direction: Direction
    mode: str
    empty: int
    ours: int


@dataclass(slots=True)
class Sum:
    """What was answered, in what time, with how much CPU of the whole machine."""

    answers: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        return self.answers / self.seconds

    @property
    def cost(self) -> float:
        return self.cpu / self.answers


def sent() -> int:
    """The packets that eth0 of this thread's namespace has sent."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "eth0":
            return int(numbers.split()[9])
    raise RuntimeError("there is no eth0")


def turn(hooks: Hooks, attached: Sequence[tuple[Attachment, int]], into: Sum) -> None:
    """Put programs where they belong, and see what is answered then."""
    for attachment, program in attached:
        hooks.replace(attachment, program)
    time.sleep(SETTLE)
    answers, cpu, start = sent(), busy(), time.perf_counter()
    time.sleep(TURN)
    into.answers += sent() - answers
    into.cpu += busy() - cpu
    into.seconds += time.perf_counter() - start


def take_turns(places: Sequence[Place]) -> list[tuple[Sum, Sum]]:
    """Empty and ours, for each round: to be called in the server's namespace."""
    rounds = []
    with Hooks() as hooks, ExitStack() as stack:
        made = []
        for place in places:
            attachment = hooks.attach(
                "eth0", place.empty, place.hook, place.direction, mode=place.mode
            )
            stack.callback(attachment.close)
            stack.callback(hooks.detach, attachment)
            made.append(attachment)
        sides = [
            list(zip(made, fds, strict=True))
            for fds in ([place.empty for place in places], [place.ours for place in places])
        ]
        for _ in range(ROUNDS):
            sums = Sum(), Sum()
            for _ in range(TURNS):
                for side in random.sample((0, 1), 2):
                    turn(hooks, sides[side], sums[side])
            rounds.append(sums)
    return rounds


def row_of(name: str, rounds: Sequence[tuple[Sum, Sum]], goal: float | None) -> tuple[Cell, ...]:
    rate = Sample(tuple(ours.rate / empty.rate for empty, ours in rounds), "x")
    cost = Sample(tuple(ours.cost / empty.cost for empty, ours in rounds), "x")
    empty = Sample(tuple(empty.rate for empty, _ in rounds))
    said = verdict(rate, goal, at_least=True) if goal else ""
    return (name, empty, rate, error_of(rate), said, cost, error_of(cost))


def error_of(sample: Sample) -> str:
    """The median's standard error, as a normal distribution with these quartiles would have it."""
    sigma = sample.spread * sample.median / 0.6745
    return f"±{1.2533 * sigma / len(sample.rounds) ** 0.5:.4f}"


def tables() -> list[Table]:
    programs = Programs()
    cases = {
        "xdpdns, native": (Place("xdp", "ingress", "native", *programs.pair("native")),),
        "xdpdns, generic": (Place("xdp", "ingress", "generic", *programs.pair("generic")),),
        "xdpdns, TCX": (Place("tcx", "ingress", "auto", *programs.pair("tcx")),),
        "as `attach` does: native, and responses at TCX": (
            Place("xdp", "ingress", "native", *programs.pair("native")),
            Place("tcx", "egress", "auto", *programs.pair("responses")),
        ),
    }
    rows: list[tuple[Cell, ...]] = []
    with Lab() as lab:
        start_nsd(lab)
        queries = lab.tmp / "queries"
        write_queries(queries)
        lab.start(lab.client, dnsperf(queries, 3600), "dnsperf")
        time.sleep(1.0)
        for name, places in cases.items():
            taken = lab.server.inside(partial(take_turns, places))
            rows.append(row_of(name, taken, GOAL if name == "xdpdns, native" else None))
    programs.close()
    columns = (
        *("NSD under dnsperf, with", "answers/s with empty ones", "answers/s, ours / empty"),
        *("error", "goal", "CPU/answer, ours / empty", "error"),
    )
    note = (
        f"Each round is {TURNS} turns of {TURN} s for the empty program and as many for ours. "
        "Error: the median's standard error. CPU is the whole machine's."
    )
    return [Table("NSD, the program changed under the load", columns, tuple(rows), note)]
