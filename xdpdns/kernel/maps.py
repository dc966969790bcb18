"""BPF maps: made, written, read one by one or in batches, described."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from xdpdns.errors import KernelError
from xdpdns.kernel.syscall import ATTR_SIZE, address, bpf, buffer, object_info

# enum bpf_cmd
_MAP_CREATE, _MAP_LOOKUP_ELEM, _MAP_UPDATE_ELEM = 0, 1, 2
_MAP_GET_FD_BY_ID, _MAP_FREEZE, _MAP_LOOKUP_BATCH = 14, 22, 24

MAP_TYPE_HASH, MAP_TYPE_ARRAY, MAP_TYPE_PROG_ARRAY = 1, 2, 3
MAP_TYPE_PERCPU_HASH, MAP_TYPE_PERCPU_ARRAY = 5, 6
MAP_ANY, MAP_NOEXIST, MAP_EXIST = 0, 1, 2
_F_MMAPABLE = 1 << 10


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What a map is created from; sizes in bytes, `value_size` of one CPU's value.

    A `mmapable` array (5.5) can be read as memory.
    """

    name: str
    kind: int
    key_size: int
    value_size: int
    max_entries: int
    mmapable: bool = False

    @property
    def per_cpu(self) -> bool:
        """Whether each key has a value for every possible CPU."""
        return self.kind in (MAP_TYPE_PERCPU_HASH, MAP_TYPE_PERCPU_ARRAY)


def map_create(spec: MapSpec) -> int:
    """Create a map and return its fd. All memory is allocated at once (no BPF_F_NO_PREALLOC)."""
    attr = struct.pack(
        "<5I2I16s",
        spec.kind,
        spec.key_size,
        spec.value_size,
        spec.max_entries,
        _F_MMAPABLE if spec.mmapable else 0,
        0,
        0,
        spec.name.encode()[:15],
    )
    return bpf(_MAP_CREATE, attr, f"create the map {spec.name} of {spec.max_entries} entries")


def map_update(fd: int, key: bytes, value: bytes, flags: int = MAP_ANY) -> None:
    """Write one element."""
    k, v = buffer(key), buffer(value)
    attr = struct.pack("<I4xQQQ", fd, address(k), address(v), flags)
    bpf(_MAP_UPDATE_ELEM, attr, "write to a map")


def map_freeze(fd: int) -> None:
    """Let nobody write to a map from user space any more, by whatever fd (5.2).

    Programs still do. What is mapped writable must be unmapped first (EBUSY).
    """
    bpf(_MAP_FREEZE, struct.pack("<I", fd), "freeze a map")


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes:
    """Read one element; for a per-CPU map `value_size` is that of all CPUs' values together."""
    k, v = buffer(key), ctypes.create_string_buffer(value_size)
    bpf(_MAP_LOOKUP_ELEM, struct.pack("<I4xQQ", fd, address(k), address(v)), "read a map")
    return v.raw


def map_lookup_batch(
    fd: int, key_size: int, value_size: int, chunk: int = 8192
) -> Iterator[tuple[memoryview, memoryview]]:
    """Read a whole hash map, a chunk at a time: BPF_MAP_LOOKUP_BATCH (5.6).

    `value_size` is that of all CPUs' values. Yields (keys, values), views of adjacent elements that
    are valid until the next step. An element that is inserted meanwhile may be in or not; none is
    given twice. The kernel gives whole hash buckets and says ENOSPC when one does not fit: then the
    chunk grows (seen on nearly full maps).
    """
    batch = ctypes.create_string_buffer(8)
    first = True
    keys = values = None
    while True:
        if keys is None or values is None:
            keys = ctypes.create_string_buffer(chunk * key_size)
            values = ctypes.create_string_buffer(chunk * value_size)
        attr = ctypes.create_string_buffer(
            struct.pack(
                "<QQQQIIQQ",
                0 if first else address(batch),
                address(batch),
                address(keys),
                address(values),
                chunk,
                fd,
                0,
                0,
            ),
            ATTR_SIZE,
        )
        done = False
        try:
            bpf(_MAP_LOOKUP_BATCH, attr, "read a map in batches")
        except KernelError as error:
            if error.errno == errno.ENOSPC:
                chunk *= 2
                keys = values = None
                continue
            if error.errno != errno.ENOENT:
                raise
            done = True
        count = struct.unpack_from("<I", attr, 32)[0]
        if count:
            yield (
                memoryview(keys).cast("B")[: count * key_size],
                memoryview(values).cast("B")[: count * value_size],
            )
        if done:
            return
        first = False


@dataclass(frozen=True, slots=True)
class MapInfo:
    """struct bpf_map_info, as far as it is used."""

    kind: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    name: str
    mmapable: bool


def map_info(fd: int) -> MapInfo:
    """Describe a map."""
    raw = object_info(fd, 88)
    kind, ident, key, value, entries, flags, name = struct.unpack_from("<6I16s", raw)
    text = name.split(b"\0")[0].decode()
    return MapInfo(kind, ident, key, value, entries, text, bool(flags & _F_MMAPABLE))


def map_fd(ident: int) -> int:
    """Open a map by its id."""
    return bpf(_MAP_GET_FD_BY_ID, struct.pack("<III", ident, 0, 0), f"open the map {ident}")
