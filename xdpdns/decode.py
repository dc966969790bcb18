"""From the maps' bytes to a Snapshot: sums over the CPUs, and numbers to words.

A key that was decoded once is remembered with its labels: keys are never deleted, so there are
never more than the map has entries. Nor do they change places until a row is added, and then a
whole chunk of them is known by its bytes: a scrape without new rows looks up nothing.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from itertools import compress
from operator import add, mul

import dns.opcode

from xdpdns import kernel, vocab
from xdpdns.layout import Field, Layout
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import EdnsSizes, Histogram, Marginals, Rows, Snapshot, Tcp
from xdpdns.timing import TimingReader

# The order of enum qclass_index, version_index and overflow_index in bpf/counters.h.
QCLASSES = ("IN", "CH", "HS", "NONE", "ANY", vocab.OTHER)
EDNS_VERSIONS = (vocab.NO_EDNS, "0", "1", vocab.OTHER, vocab.EDNS_UNSEEN)
OVERFLOWS = ("map_full", "map_error")

# enum counters_index of bpf/counters.h
_PACKETS, _TCP = 0, 1

SIZE_STEP = 16
"""Bytes that a bucket of the query size spans (bpf/counters.h)."""

# bpf/edns_sizes.h: counters in an element, elements, where the sizes end; their counters are at
# size * 2 + DO.
_EDNS_COUNTERS, _EDNS_ELEMENTS = 512, 257
_EDNS_NO_OPT, _EDNS_UNSEEN = 65536 * 2, 65536 * 2 + 1

_OPCODES = tuple(dns.opcode.to_text(dns.opcode.Opcode.make(opcode)) for opcode in range(16))

# Flags by their bit in HEADER_INDEX of bpf/counters.h: the header's third byte, and above it three
# bits of the fourth (RFC 1035 4.1.1, RFC 4035 3.1.6).
_HEADER2_FLAGS = {"qr": 0x80, "aa": 0x04, "tc": 0x02, "rd": 0x01}
_HEADER_FLAGS = {**_HEADER2_FLAGS, "z": 0x400, "ad": 0x200, "cd": 0x100}

# BIT_... of bpf/stats_key.h, TLD_LEN_... and QTYPE_...
_BITS = {"qr": 0x80, "do": 0x40, "ad": 0x20, "aa": 0x04, "tc": 0x02}
_BIT_NO_QUESTION = 0x01
_TLD_LEN_OTHER, _TLD_LEN_NONE = 255, 254
_QTYPE_OTHER = 65535


def sum_cpus(values: memoryview, cpus: int) -> array[int]:
    """Add the CPUs' values of each key.

    `values` holds `cpus` u64 for each key, the key's together. All values of one CPU are added at
    once, as one long integer: no sum reaches 2**64, so nothing is carried into a neighbour.
    """
    columns = values.cast("Q")
    keys = len(columns) // cpus
    total = 0
    for cpu in range(cpus):
        total += int.from_bytes(columns[cpu::cpus].tobytes(), "little")
    return array("Q", total.to_bytes(keys * 8, "little"))


class Decoder:
    """Reads the maps of one program whose structs lie as `key` and `counters` say."""

    def __init__(self, key: Layout, counters: Layout, settings: ProgramSettings) -> None:
        self._key_size = key.size
        self._counters = counters
        self._settings = settings
        self._cpus = kernel.possible_cpus()
        timed = settings.timing and settings.side == "responses"
        self._timing = TimingReader(settings.timing) if timed else None
        self._seen = _Seen(_key_decoder(key, settings))
        self._chunks: dict[int, tuple[bytes, list[tuple[str, ...]]]] = {}

    def snapshot(self, maps: Mapping[str, int]) -> Snapshot:
        """Read the maps, given by their fds.

        The rows are read first: a query that arrives meanwhile may be in the outcomes and not yet
        in its row, never the other way round.
        """
        queries = self._rows(maps[self._settings.side])
        sizes = self._edns_sizes(maps["edns_sizes"]) if self._settings.exact_edns else None
        return replace(
            self._with_counters(queries, maps),
            edns_sizes=sizes,
            timing=self._timing.read(maps) if self._timing else None,
        )

    def _rows(self, fd: int) -> Rows:
        known = sum(len(labels) for _, labels in self._chunks.values())
        chunk = min(max(512, 1 << known.bit_length()), 8192)
        chunks = kernel.map_lookup_batch(fd, self._key_size, 8 * self._cpus, chunk)
        return Rows(
            [
                (self._labels(at, bytes(keys)), sum_cpus(values, self._cpus))
                for at, (keys, values) in enumerate(chunks)
            ]
        )

    def _labels(self, at: int, keys: bytes) -> list[tuple[str, ...]]:
        """The labels of the keys in the chunk that is read as number `at`."""
        before, labels = self._chunks.get(at, (b"", []))
        if keys != before:
            each = struct.unpack(f"{self._key_size}s" * (len(keys) // self._key_size), keys)
            labels = list(map(self._seen.__getitem__, each))
            self._chunks[at] = keys, labels
        return labels

    def _edns_sizes(self, fd: int) -> EdnsSizes:
        found: dict[int, int] = {}
        for element in range(_EDNS_ELEMENTS):
            counts = self._sum_element(fd, element, 8 * _EDNS_COUNTERS)
            if any(counts):
                first = element * _EDNS_COUNTERS
                found.update((first + i, count) for i, count in enumerate(counts) if count)
        no_edns, unseen = found.pop(_EDNS_NO_OPT, 0), found.pop(_EDNS_UNSEEN, 0)
        sizes = {(index // 2, index % 2 == 1): count for index, count in found.items()}
        return EdnsSizes(sizes, no_edns, unseen)

    def _sum_element(self, fd: int, index: int, size: int) -> array[int]:
        """One element of a per-CPU array, `size` bytes of u64, added over the CPUs."""
        size = (size + 7) // 8 * 8
        raw = kernel.map_lookup(fd, index.to_bytes(4, "little"), size * self._cpus)
        total = sum(
            int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size)
        )
        return array("Q", total.to_bytes(size, "little"))

    def _with_counters(self, queries: Rows, maps: Mapping[str, int]) -> Snapshot:
        settings, side = self._settings, self._settings.side
        packets = _Members(self._element(maps, _PACKETS), self._counters)
        outcomes = _outcomes(packets, side, settings.encrypted)
        tcp = None
        if settings.tcp:
            messages = _Members(self._element(maps, _TCP), self._counters)
            tcp = self._tcp(maps["tcp"], messages)
            packets = packets + messages
        return Snapshot(
            dimensions=settings.labels,
            queries=queries,
            outcomes=outcomes,
            marginals=_marginals(packets),
            overflow=dict(zip(OVERFLOWS, packets["overflow"], strict=True)),
            folded=packets["folded"][0],
            map_entries={side: len(queries)},
            map_max_entries={side: settings.max_series},
            tcp=tcp,
        )

    def _element(self, maps: Mapping[str, int], index: int) -> array[int]:
        return self._sum_element(maps["counters"], index, self._counters.size)

    def _tcp(self, fd: int, messages: _Members) -> Tcp:
        names = vocab.tcp_segments()
        *segments, split, unread = self._sum_element(fd, 0, 8 * (len(names) + 2))
        outcomes = _outcomes(messages, self._settings.side)
        return Tcp(
            segments=dict(zip(names, segments, strict=True)),
            messages=outcomes,
            split=split,
            unread=unread,
            sizes=_sizes(messages) if outcomes[vocab.COUNTED[self._settings.side]] else None,
        )


class _Members:
    """An element of the map `counters`: its members by name."""

    def __init__(self, words: array[int], layout: Layout) -> None:
        self._words = words
        self._layout = layout

    def __getitem__(self, name: str) -> list[int]:
        field: Field = self._layout.fields[name]
        return self._words[field.offset // 8 : field.offset // 8 + field.count].tolist()

    def __add__(self, other: _Members) -> _Members:
        # As one long integer, like the values of the CPUs in sum_cpus().
        total = sum(int.from_bytes(one.tobytes(), "little") for one in (self._words, other._words))
        size = len(self._words) * self._words.itemsize
        return _Members(array("Q", total.to_bytes(size, "little")), self._layout)


def _outcomes(counters: _Members, side: str, encrypted: Iterable[str] = ()) -> dict[str, int]:
    found = dict(zip(vocab.outcomes(), counters["outcome"], strict=True))
    outcomes = {name: found[name] for name in vocab.outcomes_of(side, encrypted)}
    # The program spares itself a counter: a counted message is in exactly one of name_len.
    outcomes[vocab.COUNTED[side]] += sum(counters["name_len"])
    return outcomes


def _marginals(counters: _Members) -> Marginals:
    # Of the 2048 values traffic has but a few, and this runs at every scrape.
    counts = counters["header"]
    header = list(zip(compress(range(len(counts)), counts), filter(None, counts), strict=True))
    question = counters["question"]
    versions = len(EDNS_VERSIONS)
    return Marginals(
        opcodes=_opcodes(header),
        flags={
            flag: sum(count for value, count in header if value & bit)
            for flag, bit in _HEADER_FLAGS.items()
        },
        classes={
            name: sum(question[at * versions : (at + 1) * versions])
            for at, name in enumerate(QCLASSES)
        },
        edns_versions={name: sum(question[at::versions]) for at, name in enumerate(EDNS_VERSIONS)},
        size=_sizes(counters),
        name_length=_exact(counters["name_len"]),
        name_labels=_exact(counters["name_labels"]),
        header2=tuple(_header2(header)),
    )


class _Seen(dict[bytes, tuple[str, ...]]):
    """The labels of every key that was seen; a new one is decoded where it is looked up."""

    def __init__(self, labels_of: Callable[[bytes], tuple[str, ...]]) -> None:
        super().__init__()
        self._labels_of = labels_of

    def __missing__(self, key: bytes) -> tuple[str, ...]:
        labels = self[key] = self._labels_of(key)
        return labels


@cache
def _bounds(start: int, stop: int, step: int) -> tuple[int, ...]:
    return tuple(range(start, stop, step))


def _exact(counts: list[int]) -> Histogram:
    """A histogram of counts by value: one bucket for each of 0, 1, 2, ..."""
    return Histogram(
        bounds=_bounds(0, len(counts) - 1, 1),
        counts=tuple(counts),
        sum=sum(map(mul, range(len(counts)), counts)),
    )


def _sizes(counters: _Members) -> Histogram:
    """Message sizes in steps of SIZE_STEP, from the exact small ones and the large in steps."""
    exact, large = counters["size"], counters["large"]
    steps = [sum(exact[at : at + SIZE_STEP]) for at in range(0, len(exact), SIZE_STEP)]
    counts = [*map(add, large, steps), *large[len(steps) :]]
    return Histogram(
        bounds=_bounds(SIZE_STEP - 1, SIZE_STEP * (len(counts) - 1), SIZE_STEP),
        counts=tuple(counts),
        sum=counters["large_sum"][0] + sum(map(mul, range(len(exact)), exact)),
    )


def _header2(header: list[tuple[int, int]]) -> list[int]:
    """Messages by the header's third byte."""
    counts = [0] * 256
    for value, count in header:
        counts[value & 255] += count
    return counts


def _opcodes(header: list[tuple[int, int]]) -> dict[str, int]:
    """Messages by opcode, bits 3 to 6 of the header's third byte."""
    counts = [0] * 16
    for value, count in header:
        counts[value >> 3 & 15] += count
    return dict(zip(_OPCODES, counts, strict=True))


def _key_decoder(key: Layout, settings: ProgramSettings) -> Callable[[bytes], tuple[str, ...]]:
    """A function from a raw key to its label values, in the order of settings.labels."""
    names = tuple(name for name in key.fields if name != "zero")
    unpack = key.unpacker(names).unpack
    buckets = vocab.edns_buckets(settings.edns_edges)
    registered = settings.qtypes == "registered"

    def qtype(number: int, bits: int) -> str:
        if registered and number == _QTYPE_OTHER:
            return vocab.OTHER
        if bits & _BIT_NO_QUESTION:
            return vocab.NONE
        return vocab.qtype_text(number)

    def tld(label: bytes, length: int) -> str:
        if length == _TLD_LEN_OTHER:
            return vocab.OTHER
        if length == _TLD_LEN_NONE:
            return vocab.NONE
        return vocab.tld_text(label[len(label) - length :])

    def labels(raw: bytes) -> tuple[str, ...]:
        fields = dict(zip(names, unpack(raw), strict=True))
        bits = fields.get("bits", 0)
        words = {name: "1" if bits & bit else "0" for name, bit in _BITS.items()}
        if "af" in fields:
            words["af"] = vocab.AF_NAMES[fields["af"]]
        if "proto" in fields:
            words["proto"] = vocab.PROTO_NAMES[fields["proto"]]
        if "edns" in fields:
            words["edns"] = buckets[fields["edns"]]
        if "rcode" in fields:
            words["rcode"] = vocab.rcode_text(fields["rcode"])
        if "qtype" in fields:
            words["qtype"] = qtype(fields["qtype"], bits)
        if "tld" in fields:
            words["tld"] = tld(fields["tld"], fields["tld_len"])
        return tuple(words[name] for name in settings.labels)

    return labels
