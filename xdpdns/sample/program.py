"""bpf/sample.bpf.c: compiled, loaded with maps of its own, opened, shut and read.

Its maps' names don't begin as those of the program that counts for good, so that nobody takes it
for one: an agent may come and go while a sample is taken.
"""

from __future__ import annotations

import os
from array import array
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from xdpdns import kernel
from xdpdns.hooks import Direction
from xdpdns.layout import Layout
from xdpdns.program import Code, InChild, code_of, layout_of, leaf_of, open_module
from xdpdns.sample.counts import Address, Counts, Exchange, Side, Way, address, ranked
from xdpdns.settings import ProgramSettings

NAME = "xdpdns_sample"
"""The programs' name in the kernel."""

_FUNCTIONS: dict[Direction, str] = {"ingress": "sample_in", "egress": "sample_out"}
_MAPS = ("gate", "counts", "peers")
# bpf/sample.bpf.c
_LIMIT, _TAKEN, _ENDED = range(3)
_NO_LIMIT = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Compiled:
    """A function for each direction, and how structs sample_counts, peer and peer_counts lie."""

    functions: dict[Direction, Code]
    maps: dict[str, kernel.MapSpec]
    counts: Layout
    peer: Layout
    peer_counts: Layout


class SampleCompilation(InChild[Compiled]):
    """A compilation for these watched ports, see InChild."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        super().__init__(partial(_compile, ports))


def _compile(ports: tuple[int, ...]) -> Compiled:
    module = open_module("sample.bpf.c", ProgramSettings(ports=ports, hook="tc").cflags())
    tables = {name: module[name] for name in _MAPS}
    layouts = {name: layout_of(leaf_of(tables[name])) for name in ("counts", "peers")}
    peer = layout_of(tables["peers"].Key)
    sizes = {"gate": (4, 8), "counts": (4, layouts["counts"].size)}
    sizes["peers"] = (peer.size, layouts["peers"].size)
    names = {table.map_fd: name for name, table in tables.items()}
    return Compiled(
        {direction: code_of(module, name, names) for direction, name in _FUNCTIONS.items()},
        {
            name: kernel.MapSpec(f"sample_{name}", table.ttype, *sizes[name], table.max_entries)
            for name, table in tables.items()
        },
        layouts["counts"],
        peer,
        layouts["peers"],
    )


class SampleProgram:
    """The program of both directions in the kernel, and its maps, until it is closed.

    `fds` are the programs', for whoever attaches them. Nothing is counted before open(), nor after
    shut().
    """

    def __init__(self, compiled: Compiled, max_addresses: int) -> None:
        self._compiled = compiled
        self._maps: dict[str, int] = {}
        self.fds: dict[Direction, int] = {}
        with ExitStack() as stack:
            for name, spec in compiled.maps.items():
                entries = max_addresses if name == "peers" else spec.max_entries
                sizes = spec.key_size, spec.value_size, entries
                self._maps[name] = kernel.map_create(kernel.MapSpec(spec.name, spec.kind, *sizes))
                stack.callback(os.close, self._maps[name])
            for direction, code in compiled.functions.items():
                insns = code.linked(self._maps)
                self.fds[direction] = kernel.prog_load(kernel.PROG_TYPE_SCHED_CLS, NAME, insns)
                stack.callback(os.close, self.fds[direction])
            self._stack = stack.pop_all()

    def open(self, packets: int | None) -> None:
        """Begin to count, both ways at once: so many packets, or until shut()."""
        self._set(_LIMIT, _NO_LIMIT if packets is None else packets)

    def shut(self) -> None:
        """Count no more. A packet that is in the program at this moment is still counted."""
        self._set(_LIMIT, 0)

    @property
    def taken(self) -> int:
        """Of the packets that open() was told how many have come, and as many as came after."""
        return self._gate(_TAKEN)

    @property
    def ended_ns(self) -> int:
        """When the last of them came, in nanoseconds of CLOCK_MONOTONIC."""
        return self._gate(_ENDED)

    def read(self) -> Counts:
        """What was counted. All of it, if the programs have been detached."""
        layout = self._compiled.counts
        cpus = kernel.possible_cpus()
        words = array("Q", kernel.map_lookup(self._maps["counts"], bytes(4), layout.size * cpus))
        step = layout.size // 8

        def both(name: str) -> tuple[int, int]:
            at = layout.fields[name].offset // 8
            return sum(words[at::step]), sum(words[at + 1 :: step])

        packets, queries, answers = both("packets"), both("queries"), both("answers")
        ways = zip(
            packets,
            queries,
            answers,
            both("other_dns"),
            both("tcp_segments"),
            both("any_queries"),
            both("truncated"),
            strict=True,
        )
        incoming, outgoing = (Way(*one) for one in ways)
        totals = Exchange(queries[0], answers[1]), Exchange(queries[1], answers[0])
        unlisted = zip(both("unlisted_queries"), both("unlisted_answers"), strict=True)
        peers = self._peers()
        server, client = (
            Side(total, ranked(found), Exchange(*rest))
            for total, found, rest in zip(totals, peers, unlisted, strict=True)
        )
        return Counts(incoming, outgoing, server, client)

    def _peers(self) -> tuple[list[tuple[Address, Exchange]], list[tuple[Address, Exchange]]]:
        """The addresses by side."""
        compiled = self._compiled
        key = compiled.peer.unpacker(("side", "addr"))
        value = compiled.peer_counts.unpacker(("queries", "answers"))
        found: tuple[list[tuple[Address, Exchange]], list[tuple[Address, Exchange]]] = ([], [])
        for keys, values in kernel.map_lookup_batch(self._maps["peers"], key.size, value.size):
            for (side, packed), pair in zip(
                key.iter_unpack(keys), value.iter_unpack(values), strict=True
            ):
                found[side].append((address(packed), Exchange(*pair)))
        return found

    def _gate(self, at: int) -> int:
        return int.from_bytes(
            kernel.map_lookup(self._maps["gate"], at.to_bytes(4, "little"), 8), "little"
        )

    def _set(self, at: int, value: int) -> None:
        key = at.to_bytes(4, "little")
        kernel.map_update(self._maps["gate"], key, value.to_bytes(8, "little"))

    def close(self) -> None:
        """Close all fds: maps and programs are gone as soon as no hook has them."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
