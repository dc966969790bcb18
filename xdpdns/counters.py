"""What is counted without a cross product: struct counters of bpf/counters.h, added over the CPUs.

It is read at every scrape, and much of it hardly ever changes: what was worked out of an element
stays for as long as nothing in it is counted, and what nobody asks for is not worked out.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from itertools import compress
from operator import add, attrgetter, mul
from typing import Any, NamedTuple

import dns.opcode

from xdpdns import kernel, vocab
from xdpdns.layout import Layout
from xdpdns.snapshot import Histogram, Marginals

# The order of enum qclass_index, version_index and overflow_index in bpf/counters.h.
QCLASSES = ("IN", "CH", "HS", "NONE", "ANY", vocab.OTHER)
EDNS_VERSIONS = (vocab.NO_EDNS, "0", "1", vocab.OTHER, vocab.EDNS_UNSEEN)
OVERFLOWS = ("map_full", "map_error")

SIZE_STEP = 16
"""Bytes that a bucket of the query size spans (bpf/counters.h)."""

# The dimensions of USUAL_INDEX in bpf/counters.h: no OPT record or one of version 0, labels from 1
# on, and the name's bytes from 1 on.
USUAL_LABELS, USUAL_NAME_LEN = 6, 64
_USUAL_SIZES = (12 + 4 + 11, 12 + 4)
"""Bytes of such a message beside the name: header, type and class, and the OPT record or none."""

_OPCODES = tuple(dns.opcode.to_text(dns.opcode.Opcode.make(opcode)) for opcode in range(16))

# Flags by their bit in HEADER_INDEX of bpf/counters.h: the header's third byte, and above it three
# bits of the fourth (RFC 1035 4.1.1, RFC 4035 3.1.6).
HEADER2_FLAGS = {"qr": 0x80, "aa": 0x04, "tc": 0x02, "rd": 0x01}
HEADER_FLAGS = {**HEADER2_FLAGS, "z": 0x400, "ad": 0x200, "cd": 0x100}


class Element:
    """One element of a per-CPU array: `size` bytes of u64, read again and again."""

    def __init__(self, index: int, size: int, cpus: int) -> None:
        self._key = index.to_bytes(4, "little")
        self._size = (size + 7) // 8 * 8
        self._cpus = cpus
        self._raw = b""
        self._words = array("Q")

    def read(self, fd: int) -> array[int]:
        """Added over the CPUs, as one long integer each: no sum reaches 2**64.

        The same object as before if nothing was counted meanwhile; nobody may change it.
        """
        raw = kernel.map_lookup(fd, self._key, self._size * self._cpus)
        if raw != self._raw:
            starts = range(0, len(raw), self._size)
            total = sum(int.from_bytes(raw[at : at + self._size], "little") for at in starts)
            self._raw, self._words = raw, array("Q", total.to_bytes(self._size, "little"))
        return self._words


class Counters:
    """An element of the map `counters`: its members by name, and what they say.

    `side` is that of the program, `encrypted` what it tells by the port (vocab.outcomes_of()).
    """

    def __init__(
        self, words: array[int], layout: Layout, side: str, encrypted: tuple[str, ...] = ()
    ) -> None:
        self.words = words
        self._layout = layout
        self._side = side
        self._encrypted = encrypted

    def __getitem__(self, name: str) -> list[int]:
        """The counts of a member, with those of `usual` that belong to it."""
        counts = self._stored(name)
        place = _USUAL_PLACES.get(name)
        if place:
            for index, count in self._usual:
                counts[place(index)] += count
        return counts

    def _stored(self, name: str) -> list[int]:
        field = self._layout.fields[name]
        return self.words[field.offset // 8 : field.offset // 8 + field.count].tolist()

    @cached_property
    def _usual(self) -> list[tuple[Usual, int]]:
        """Queries in no other member but `header`: of the many shapes those few that came."""
        return [(usual(at), count) for at, count in _those(self._stored("usual"))]

    def __add__(self, other: Counters) -> Counters:
        if not other:
            return self
        total = sum(int.from_bytes(one.words.tobytes(), "little") for one in (self, other))
        words = array("Q", total.to_bytes(len(self.words) * 8, "little"))
        return Counters(words, self._layout, self._side, self._encrypted)

    def __bool__(self) -> bool:
        return self._any

    @cached_property
    def _any(self) -> bool:
        return any(self.words)

    @cached_property
    def outcomes(self) -> dict[str, int]:
        """Packets, or messages, by outcome."""
        counts = self["outcome"]
        outcomes = {name: counts[at] for name, at in _places(self._side, self._encrypted)}
        # The program spares itself a counter: a counted message is in exactly one of name_len.
        outcomes[vocab.COUNTED[self._side]] += sum(self["name_len"])
        return outcomes

    @cached_property
    def marginals(self) -> Marginals:
        """Everything that has no rows of its own."""
        return _Marginals.of(self)

    @cached_property
    def sizes(self) -> Histogram:
        """Message sizes in steps of SIZE_STEP, from the exact small ones and the large in steps."""
        exact, large = self["size"], self["large"]
        steps = [sum(exact[at : at + SIZE_STEP]) for at in range(0, len(exact), SIZE_STEP)]
        counts = [*map(add, large, steps), *large[len(steps) :]]
        return Histogram(
            bounds=_bounds(SIZE_STEP - 1, SIZE_STEP * (len(counts) - 1), SIZE_STEP),
            counts=tuple(counts),
            sum=self["large_sum"][0] + sum(map(mul, range(len(exact)), exact)),
        )

    @cached_property
    def header(self) -> list[tuple[int, int]]:
        """Messages by HEADER_INDEX: of the 2048 values those few that traffic has."""
        return _those(self["header"])


class Usual(NamedTuple):
    """What all queries at an index of `usual` have in common."""

    version: int
    labels: int
    name_len: int
    size: int


@cache
def usual(index: int) -> Usual:
    """What is at an index of it."""
    rest, name_len = divmod(index, USUAL_NAME_LEN)
    no_edns, labels = divmod(rest, USUAL_LABELS)
    version = EDNS_VERSIONS.index(vocab.NO_EDNS if no_edns else "0")
    return Usual(version, labels + 1, name_len + 1, name_len + 1 + _USUAL_SIZES[no_edns])


_USUAL_PLACES: Mapping[str, Callable[[Usual], int]] = {
    "question": attrgetter("version"),  # of class IN, the first
    "name_len": attrgetter("name_len"),
    "name_labels": attrgetter("labels"),
    "size": attrgetter("size"),
}
"""Where in a member a usual query has its place."""


def _those(counts: list[int]) -> list[tuple[int, int]]:
    """Those that are not 0, each with its index."""
    return list(zip(compress(range(len(counts)), counts), filter(None, counts), strict=True))


class _Marginals(Marginals):
    """Each is worked out when it is asked for: who scrapes responses asks for their sizes only."""

    @classmethod
    def of(cls, counters: Counters) -> _Marginals:
        """Without any of the fields yet."""
        made = cls.__new__(cls)
        object.__setattr__(made, "_counters", counters)
        return made

    def __getattr__(self, name: str) -> Any:
        if name not in _MARGINALS:
            raise AttributeError(name)
        value = _MARGINALS[name](self._counters)
        object.__setattr__(self, name, value)
        return value


def _flags(counters: Counters) -> dict[str, int]:
    return {
        flag: sum(count for value, count in counters.header if value & bit)
        for flag, bit in HEADER_FLAGS.items()
    }


def _opcodes(counters: Counters) -> dict[str, int]:
    """Messages by opcode, bits 3 to 6 of the header's third byte."""
    counts = [0] * 16
    for value, count in counters.header:
        counts[value >> 3 & 15] += count
    return dict(zip(_OPCODES, counts, strict=True))


def _header2(counters: Counters) -> tuple[int, ...]:
    """Messages by the header's third byte."""
    counts = [0] * 256
    for value, count in counters.header:
        counts[value & 255] += count
    return tuple(counts)


def _classes(counters: Counters) -> dict[str, int]:
    question, versions = counters["question"], len(EDNS_VERSIONS)
    return {
        name: sum(question[at * versions : (at + 1) * versions]) for at, name in enumerate(QCLASSES)
    }


def _edns_versions(counters: Counters) -> dict[str, int]:
    question = counters["question"]
    return {name: sum(question[at :: len(EDNS_VERSIONS)]) for at, name in enumerate(EDNS_VERSIONS)}


def _exact(counts: list[int]) -> Histogram:
    """A histogram of counts by value: one bucket for each of 0, 1, 2, ..."""
    return Histogram(
        bounds=_bounds(0, len(counts) - 1, 1),
        counts=tuple(counts),
        sum=sum(map(mul, range(len(counts)), counts)),
    )


_MARGINALS: Mapping[str, Callable[[Counters], Any]] = {
    "opcodes": _opcodes,
    "flags": _flags,
    "classes": _classes,
    "edns_versions": _edns_versions,
    "size": lambda counters: counters.sizes,
    "name_length": lambda counters: _exact(counters["name_len"]),
    "name_labels": lambda counters: _exact(counters["name_labels"]),
    "header2": _header2,
}


@cache
def _bounds(start: int, stop: int, step: int) -> tuple[int, ...]:
    return tuple(range(start, stop, step))


@cache
def _places(side: str, encrypted: Iterable[str]) -> list[tuple[str, int]]:
    """The outcomes of a side, each with its number."""
    names = list(vocab.outcomes())
    return [(name, names.index(name)) for name in vocab.outcomes_of(side, encrypted)]
