"""Nanoseconds for a query and its answer: both programs, with response times off, sampled, on.

Each round runs queries and their responses in turn. So with times on every query finds a slot empty
and every response finds its query, and the clock is read twice a pair.
"""

from __future__ import annotations

import os
import time

import dns.message
import dns.rrset

from tests import packets as p
from tests.bench.figures import Cell, Table, take_turns
from tests.bench.per_packet import require_quiet_kernel
from xdpdns import kernel, roles
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings

PAIRS, ROUNDS = 102_400, 15
IDENTS = 1024  # different queries, of which one in N is sampled
SAMPLES = {"off": 0, "1 in 16": 16, "every query": 1}


def frames(ident: int = 0) -> tuple[bytes, bytes]:
    """A query with an OPT record, and its answer with one address."""
    query = dns.message.make_query("www.example.com", "A", use_edns=True, payload=1232)
    query.id = ident
    answer = dns.message.make_response(query)
    answer.answer.append(
        dns.rrset.from_text("www.example.com.", 300, "IN", "A", "192.0.2.80"),
    )
    return (
        p.ethernet(p.ipv4(p.udp(query.to_wire()))),
        p.ethernet(p.ipv4(p.udp(answer.to_wire(), sport=53, dport=40000), back=True)),
    )


class Exchange:
    """Both programs for one sampling rate, with maps of their own."""

    def __init__(self, sample: int) -> None:
        chosen = roles.programs("server", ProgramSettings(timing=sample))
        compiled = {way: compile_program(settings) for way, settings in chosen.items()}
        asked, answered = roles.WAYS["server"]
        self._queries = LoadedProgram(compiled[asked], chosen[asked])
        self._answers = LoadedProgram(
            compiled[answered], chosen[answered], shared=self._queries.maps
        )

    def pair(self) -> float:
        """CPU time of one round, in nanoseconds a pair: system calls included."""
        exchanges = [frames(ident) for ident in range(IDENTS)]
        ask, reply = kernel.TestRun(self._queries.fd).run, kernel.TestRun(self._answers.fd).run
        start = time.thread_time_ns()
        for _ in range(PAIRS // IDENTS):
            for query, answer in exchanges:
                ask(query)
                reply(answer)
        return (time.thread_time_ns() - start) / PAIRS

    def quiet(self) -> None:
        """See that nobody times programs; raises StatsAreOnError."""
        require_quiet_kernel(self._queries.fd, frames()[0])

    def matched(self) -> int:
        """Pairs that have met."""
        timing = self._answers.snapshot().timing
        return timing.matched if timing else 0

    def close(self) -> None:
        """Close both programs."""
        self._answers.close()
        self._queries.close()


def tables() -> list[Table]:
    """All figures."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    exchanges = {name: Exchange(sample) for name, sample in SAMPLES.items()}
    try:
        for exchange in exchanges.values():
            exchange.quiet()
        taken = take_turns({name: one.pair for name, one in exchanges.items()}, ROUNDS, "ns")
        for exchange in exchanges.values():
            exchange.quiet()
        met = {name: one.matched() for name, one in exchanges.items()}
    finally:
        os.sched_setaffinity(0, allowed)
        for exchange in exchanges.values():
            exchange.close()
    rows: list[tuple[Cell, ...]] = [
        (name, one, one / taken["off"], met[name] / (PAIRS * (ROUNDS + 1)))
        for name, one in taken.items()
    ]
    note = "Two system calls a pair are in all of them: the difference to `off` is what times cost."
    columns = ("response times", "a pair", "/ off", "pairs matched")
    return [Table("A query and its answer", columns, tuple(rows), note)]
