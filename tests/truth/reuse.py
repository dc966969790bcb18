"""Programs that stay loaded from test to test, their maps emptied in between.

The verifier takes a third of a second or more for a program, each time that one is loaded; to empty
its maps takes a few milliseconds.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from functools import cache
from unittest import mock

from tests.truth.loading import compiled
from xdpdns import kernel
from xdpdns.decode import Decoder
from xdpdns.kernel.syscall import address, bpf, buffer
from xdpdns.loader import LoadedProgram
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import Snapshot

_MAP_DELETE_ELEM = 3
_FILLED_BY_LOADER = ("tlds", "tails")


class Reused:
    """A loaded program; after clear() it is as one that was loaded just now.

    `shared` are maps of the program for the other side, as LoadedProgram has it: that one's
    clear() empties them.
    """

    def __init__(self, settings: ProgramSettings, shared: Mapping[str, int] | None = None) -> None:
        self._settings = settings
        with mock.patch.object(kernel, "map_freeze"):  # else nobody could empty them
            self._program = LoadedProgram(compiled(settings), settings, shared=shared)
        self.fd = self._program.fd
        self.maps = self._program.maps
        self.clear()

    def clear(self) -> None:
        """Bring every map to what the kernel made, and forget what was read of them."""
        for name, fd in self.maps.items():
            if name not in _FILLED_BY_LOADER:
                empty(fd)
        made = compiled(self._settings)
        self._decoder = Decoder(made.key, made.counters, self._settings)

    def snapshot(self) -> Snapshot:
        """What the program has counted since it was cleared."""
        return self._decoder.snapshot(self.maps)


def empty(fd: int) -> None:
    """Bring a map to how it was made: an array's elements are zero, a hash has none."""
    info = kernel.map_info(fd)
    if info.mmapable:
        size = -(-info.max_entries * (info.value_size + 7 & ~7) // mmap.PAGESIZE) * mmap.PAGESIZE
        with mmap.mmap(fd, size) as memory:
            memory.write(bytes(size))
        return
    if info.kind == kernel.MAP_TYPE_HASH:
        keys = [
            bytes(some[at : at + info.key_size])
            for some, _ in kernel.map_lookup_batch(fd, info.key_size, info.value_size)
            for at in range(0, len(some), info.key_size)
        ]
        for key in keys:
            raw = buffer(key)
            bpf(_MAP_DELETE_ELEM, struct.pack("<I4xQ", fd, address(raw)), "delete an element")
        return
    # per CPU or not: the kernel copies no more than it has
    zero = bytes((info.value_size + 7 & ~7) * kernel.possible_cpus())
    for index in range(info.max_entries):
        kernel.map_update(fd, index.to_bytes(4, "little"), zero)


@cache
def reused(settings: ProgramSettings) -> Reused:
    """The one with these settings; clear() it first."""
    return Reused(settings)


@cache
def reused_pair(asked: ProgramSettings, answered: ProgramSettings) -> tuple[Reused, Reused]:
    """Those of both sides that time responses together; clear() both first."""
    queries = Reused(asked)
    return queries, Reused(answered, shared=queries.maps)
