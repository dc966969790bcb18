"""Nanoseconds for a packet that arrives, where one program counts and where two do (--role both).

The queries' program is first on the hook, as alone; what isn't its own it leaves to the other.
"""

from __future__ import annotations

import os

from tests import packets as p
from tests.bench.exchange import frames
from tests.bench.figures import Cell, Table, take_turns
from tests.bench.per_packet import ROUNDS, require_quiet_kernel, timer
from xdpdns import roles
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings

PACKETS = {
    "query": frames()[0],
    "response": frames()[1],
    "UDP elsewhere": p.frame4(bytes(40), dport=5353),
    "TCP elsewhere": p.ethernet(p.ipv4(p.tcp(b"", dport=80), proto=p.TCP)),
}


def arriving(role: str) -> list[LoadedProgram]:
    """The programs of the ingress; the first is on the hook."""
    chosen = roles.programs(role, ProgramSettings())
    loaded = [
        LoadedProgram(compile_program(settings), settings)
        for way, settings in chosen.items()
        if way.direction == "ingress"
    ]
    for other in loaded[1:]:
        loaded[0].hand_over(other)
    return loaded


def tables() -> list[Table]:
    """All figures."""
    programs = {role: arriving(role) for role in roles.ROLES}
    first = {role: loaded[0].fd for role, loaded in programs.items()}
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    rows: list[tuple[Cell, ...]] = []
    try:
        for name, frame in PACKETS.items():
            require_quiet_kernel(first["both"], frame)
            alone = "client" if name == "response" else "server"
            timers = {role: timer(first[role], frame) for role in (alone, "both")}
            taken = take_turns(timers, ROUNDS, "ns")
            rows.append((name, taken[alone], taken["both"], taken["both"] / taken[alone]))
    finally:
        os.sched_setaffinity(0, allowed)
        for loaded in programs.values():
            for program in loaded:
                program.close()
    columns = ("packet", "its program alone", "--role both", "ratio")
    return [Table("A packet that arrives", columns, tuple(rows))]
