"""The rows as the program keeps them: numbered, in arrays that are memory here (bpf/rows.bpf.h).

A reading costs no system call and looks only at what is used: the counters of all rows lie at the
beginning of one map, their keys at that of another, in the order in which they were made. Rows are
never taken out, so what was once worked out of a row's key stays as it is.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from xdpdns import kernel
from xdpdns.errors import KernelError
from xdpdns.snapshot import Labels, Rows

ROWS_IN_BLOCK = 512
"""Rows whose counters for one CPU are adjacent: a page (bpf/rows.h)."""

MAPS_READ = ("counts", "keys", "numbers")
"""The maps that a RowsReader needs; the hash itself is the program's own."""

_BLOCK = 8 * ROWS_IN_BLOCK
_NUMBERS = struct.Struct("<QQ")


def entries(max_series: int, cpus: int) -> dict[str, int]:
    """How many elements `keys` and `counts` must have, where CPUs have the numbers below `cpus`.

    Beside the rows that are made, each CPU may have a number for its next one; of the counters
    there are whole blocks for every CPU.
    """
    most = max_series + cpus
    return {"keys": most, "counts": -(-most // ROWS_IN_BLOCK) * ROWS_IN_BLOCK * cpus}


class Window:
    """The beginning of an array that was made mmapable, as memory; it grows as it is asked for.

    Mapped are multiples of `step` bytes, `size` by now, and twice as many each time that they don't
    suffice, up to the `most` bytes of the map: what isn't used of a large one is no memory of this
    process.
    """

    def __init__(self, fd: int, step: int, most: int) -> None:
        self._fd = fd
        self._step = step
        self._most = -(-most // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map: mmap.mmap | None = None
        self.size = 0

    def view(self, size: int) -> memoryview:
        """So many bytes from the start on; they change as the program counts.

        Let go of the view before the next one is asked for.

        Raises:
            KernelError: there is no descriptor or no memory left.
        """
        if self._map is None or size > self.size:
            size = max(size, 2 * self.size)
            self.close()
            self.size = min(-(-size // self._step) * self._step, self._most)
            try:
                self._map = mmap.mmap(self._fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ)
            except OSError as error:
                raise KernelError(f"map counters: {error.strerror}.", error.errno or 0) from error
        return memoryview(self._map)

    def close(self) -> None:
        """Unmap it; may be called again."""
        if self._map is not None:
            self._map.close()
        self._map, self.size = None, 0


@dataclass(frozen=True)
class _Block:
    """The rows whose numbers, counted from the block's start, are `places`, and their labels.

    A number without a row is one that a CPU keeps for its next row.
    """

    places: tuple[int, ...] = ()
    labels: tuple[Labels, ...] = ()

    @cached_property
    def _is_dense(self) -> bool:
        return self.places == tuple(range(len(self.places)))

    def chosen(self, counts: array[int]) -> array[int]:
        """The rows' counters, of those of all numbers from the block's start on."""
        if self._is_dense:
            return counts[: len(self.places)]
        return array("Q", map(counts.__getitem__, self.places))


class RowsReader:
    """Reads the rows of one program; `labels_of` makes a key's label values.

    `windows` are on the maps that it reads, by name; they are let go of by close(), or with it.
    """

    def __init__(
        self, key_size: int, max_series: int, labels_of: Callable[[bytes], Labels]
    ) -> None:
        self._cpus = kernel.cpu_numbers()
        self._key_size = key_size
        self._room = entries(max_series, self._cpus)
        self._labels_of = labels_of
        self._blocks: list[_Block] = []
        self.windows: dict[str, Window] = {}

    def read(self, maps: Mapping[str, int]) -> Rows:
        """All rows by now, from the maps given by their fds, which are the same every time.

        A row that is made meanwhile may be in or not.
        """
        if not self.windows:
            page, room = mmap.PAGESIZE, self._room
            self.windows = {
                "counts": Window(
                    maps["counts"], max(page, _BLOCK * self._cpus), 8 * room["counts"]
                ),
                "keys": Window(maps["keys"], page, self._key_size * room["keys"]),
                "numbers": Window(maps["numbers"], page, page),
            }
        with self.windows["numbers"].view(_NUMBERS.size) as view:
            given, rows = _NUMBERS.unpack_from(view)
        counts = self._counts(min(given, self._room["keys"]))
        if sum(len(block.places) for block in self._blocks) < rows:
            self._look(counts)
        return Rows(
            [
                (block.labels, block.chosen(one))
                for block, one in zip(self._blocks, counts, strict=False)
                if block.places
            ]
        )

    def _counts(self, given: int) -> list[array[int]]:
        """The counters of the rows with numbers below `given`, summed, a block at a time."""
        blocks = -(-given // ROWS_IN_BLOCK)
        if not blocks:
            return []
        size = self._cpus * _BLOCK
        with self.windows["counts"].view(blocks * size) as view:
            return [
                added(
                    view[at * size : (at + 1) * size].tobytes(),
                    min(given - at * ROWS_IN_BLOCK, ROWS_IN_BLOCK),
                )
                for at in range(blocks)
            ]

    def _look(self, counts: list[array[int]]) -> None:
        """Learn of the rows that have come: those whose counters, read before, are above 0."""
        self._blocks += [_Block()] * (len(counts) - len(self._blocks))
        for at, (block, sums) in enumerate(zip(self._blocks, counts, strict=True)):
            if len(block.places) < len(sums):
                have = set(block.places)
                new = [place for place, n in enumerate(sums) if n and place not in have]
                if new:
                    labels = self._labels(at * ROWS_IN_BLOCK, new)
                    self._blocks[at] = _Block((*block.places, *new), (*block.labels, *labels))

    def _labels(self, first: int, places: list[int]) -> list[Labels]:
        size = self._key_size
        with self.windows["keys"].view((first + places[-1] + 1) * size) as view:
            starts = [(first + place) * size for place in places]
            return [self._labels_of(view[at : at + size].tobytes()) for at in starts]

    def close(self) -> None:
        """Unmap the maps; may be called again, and read() maps them again."""
        for window in self.windows.values():
            window.close()
        self.windows = {}


def added(raw: bytes, used: int) -> array[int]:
    """The first `used` counters of a block, those of a CPU added as one long integer each.

    No sum reaches 2**64, so nothing is carried into a neighbour.
    """
    total = sum(
        int.from_bytes(raw[at : at + 8 * used], "little") for at in range(0, len(raw), _BLOCK)
    )
    return array("Q", total.to_bytes(8 * used, "little"))
