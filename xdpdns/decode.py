"""From the maps' bytes to a Snapshot: sums over the CPUs, and numbers to words.

The rows are read by rows.py, as memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xdpdns import kernel, rows, vocab
from xdpdns.counters import OVERFLOWS, Counters, Element
from xdpdns.layout import Layout
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import EdnsSizes, Rows, Snapshot, Tcp
from xdpdns.timing import READ, TimingReader

# enum counters_index of bpf/counters.h
_PACKETS, _TCP = 0, 1

# bpf/edns_sizes.h: counters in an element, elements, where the sizes end; their counters are at
# size * 2 + DO.
_EDNS_COUNTERS, _EDNS_ELEMENTS = 512, 257
_EDNS_NO_OPT, _EDNS_UNSEEN = 65536 * 2, 65536 * 2 + 1

# BIT_... of bpf/stats_key.h, TLD_LEN_... and QTYPE_...
_BITS = {"qr": 0x80, "do": 0x40, "ad": 0x20, "aa": 0x04, "tc": 0x02}
_BIT_NO_QUESTION = 0x01
_TLD_LEN_OTHER, _TLD_LEN_NONE = 255, 254
_QTYPE_OTHER = 65535


def maps_read(settings: ProgramSettings) -> tuple[str, ...]:
    """The maps that a Decoder reads; the others are the program's own."""
    names = [*rows.MAPS_READ, "counters"]
    if settings.exact_edns:
        names.append("edns_sizes")
    if settings.tcp:
        names.append("tcp")
    if settings.timing and settings.side == "responses":
        names += READ
    return tuple(names)


class Decoder:
    """Reads the maps of one program whose structs lie as `key` and `counters` say."""

    def __init__(self, key: Layout, counters: Layout, settings: ProgramSettings) -> None:
        self._counters = counters
        self._settings = settings
        self._cpus = kernel.possible_cpus()
        timed = settings.timing and settings.side == "responses"
        self._timing = TimingReader(settings.timing) if timed else None
        self._rows = rows.RowsReader(key.size, settings.max_series, _key_decoder(key, settings))
        self._elements = [Element(at, counters.size, self._cpus) for at in (_PACKETS, _TCP)]
        self._before: dict[int, Counters] = {}
        self._segments = Element(0, 8 * (len(vocab.tcp_segments()) + 2), self._cpus)

    def snapshot(self, maps: Mapping[str, int]) -> Snapshot:
        """Read the maps, given by their fds.

        The rows are read first: a query that arrives meanwhile may be in the outcomes and not yet
        in its row, never the other way round.
        """
        queries = self._rows.read(maps)
        sizes = self._edns_sizes(maps["edns_sizes"]) if self._settings.exact_edns else None
        return self._with_counters(queries, sizes, maps)

    def close(self) -> None:
        """Let go of the maps' memory; may be called again."""
        self._rows.close()

    def _edns_sizes(self, fd: int) -> EdnsSizes:
        found: dict[int, int] = {}
        for index in range(_EDNS_ELEMENTS):
            counts = Element(index, 8 * _EDNS_COUNTERS, self._cpus).read(fd)
            if any(counts):
                first = index * _EDNS_COUNTERS
                found.update((first + i, count) for i, count in enumerate(counts) if count)
        no_edns, unseen = found.pop(_EDNS_NO_OPT, 0), found.pop(_EDNS_UNSEEN, 0)
        sizes = {(index // 2, index % 2 == 1): count for index, count in found.items()}
        return EdnsSizes(sizes, no_edns, unseen)

    def _with_counters(
        self, queries: Rows, sizes: EdnsSizes | None, maps: Mapping[str, int]
    ) -> Snapshot:
        settings, side = self._settings, self._settings.side
        packets = self._counted(maps, _PACKETS)
        outcomes = packets.outcomes
        tcp = None
        if settings.tcp:
            messages = self._counted(maps, _TCP)
            tcp = self._tcp(maps["tcp"], messages)
            packets = packets + messages
        return Snapshot(
            dimensions=settings.labels,
            queries=queries,
            outcomes=outcomes,
            marginals=packets.marginals,
            overflow=dict(zip(OVERFLOWS, packets["overflow"], strict=True)),
            folded=packets["folded"][0],
            map_entries={side: len(queries)},
            map_max_entries={side: settings.max_series},
            edns_sizes=sizes,
            timing=self._timing.read(maps) if self._timing else None,
            tcp=tcp,
        )

    def _counted(self, maps: Mapping[str, int], index: int) -> Counters:
        """An element of the map `counters`: what was worked out of it before, if it is the same."""
        words = self._elements[index].read(maps["counters"])
        before = self._before.get(index)
        if before is None or before.words is not words:
            settings = self._settings
            encrypted = settings.encrypted if index == _PACKETS else ()
            before = Counters(words, self._counters, settings.side, encrypted)
            self._before[index] = before
        return before

    def _tcp(self, fd: int, messages: Counters) -> Tcp:
        *segments, split, unread = self._segments.read(fd)
        outcomes = messages.outcomes
        return Tcp(
            segments=dict(zip(vocab.tcp_segments(), segments, strict=True)),
            messages=outcomes,
            split=split,
            unread=unread,
            sizes=messages.sizes if outcomes[vocab.COUNTED[self._settings.side]] else None,
        )


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
