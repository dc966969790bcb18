"""The BPF maps that a program has, and the kernel memory that each takes: pure arithmetic.

Memory is what the kernel itself says of such maps in /proc/self/fdinfo (`memlock`;
kernel/bpf/hashtab.c htab_map_mem_usage() and kernel/bpf/arraymap.c array_map_mem_usage(), 6.4 and
later; earlier kernels use the same memory but say something rougher). All of it is allocated when
the program is loaded, none while packets come.
"""

from __future__ import annotations

from collections.abc import Iterable

from xdpdns import kernel, rows, vocab
from xdpdns.settings import ProgramSettings
from xdpdns.timing import SLOTS, TIMING_BYTES

# Sizes of kernel structs on 64-bit machines, 6.18: struct bpf_htab, bucket, htab_elem, bpf_array.
_HTAB, _BUCKET, _ELEMENT, _ARRAY, _POINTER = 896, 16, 48, 312, 8

_COUNTERS_BYTES = 32_768
"""No less than struct counters, for it is the most that an element of a per-CPU map can have."""
_EDNS_SIZES = (257, 4096)
"""Elements of the map of exact EDNS sizes, and bytes of one (bpf/edns_sizes.h)."""
_TCP_WALK, _TCP_FLOWS = 64, (16, 4096)
"""Bytes of struct tcp_walk; bytes of struct tcp_flow, and how many (bpf/tcp.h)."""
_PAGE = 4096


def maps(settings: ProgramSettings, cpus: int) -> Iterable[kernel.MapSpec]:
    """The maps that the program of these settings has (bpf/xdpdns.bpf.c), none smaller than it is.

    `cpus` are the possible ones, numbered from 0 on.

    BCC's structs are the truth; a test compares.
    """
    allowed = settings.allowed_tlds
    bounded = settings.tlds != "all"
    width = vocab.TLD_BYTES if bounded else vocab.TLD_BYTES_UNBOUNDED
    key = 8 + (width if "tld" in settings.labels else 0)
    room = rows.entries(settings.max_series, cpus)
    yield kernel.MapSpec(settings.side, kernel.MAP_TYPE_HASH, key, 4, settings.max_series)
    yield kernel.MapSpec("counts", kernel.MAP_TYPE_ARRAY, 4, 8, room["counts"], mmapable=True)
    yield kernel.MapSpec("keys", kernel.MAP_TYPE_ARRAY, 4, key, room["keys"], mmapable=True)
    yield kernel.MapSpec("numbers", kernel.MAP_TYPE_ARRAY, 4, 16, 1, mmapable=True)
    yield kernel.MapSpec("spare", kernel.MAP_TYPE_PERCPU_ARRAY, 4, 8, 1)
    yield kernel.MapSpec("counters", kernel.MAP_TYPE_PERCPU_ARRAY, 4, _COUNTERS_BYTES, 2)
    if allowed is not None:
        yield kernel.MapSpec("tlds", kernel.MAP_TYPE_HASH, width, 8, max(1, len(allowed)))
    if settings.exact_edns:
        elements, size = _EDNS_SIZES
        yield kernel.MapSpec("edns_sizes", kernel.MAP_TYPE_PERCPU_ARRAY, 4, size, elements)
    if settings.timing:
        yield kernel.MapSpec("pending", kernel.MAP_TYPE_ARRAY, 4, 16, SLOTS // 2, mmapable=True)
        yield kernel.MapSpec("timing", kernel.MAP_TYPE_PERCPU_ARRAY, 4, TIMING_BYTES, 1)
    if settings.tcp:
        segments = 8 * (len(vocab.tcp_segments()) + 2)
        yield kernel.MapSpec("tcp", kernel.MAP_TYPE_PERCPU_ARRAY, 4, segments, 1)
        yield kernel.MapSpec("walk", kernel.MAP_TYPE_PERCPU_ARRAY, 4, _TCP_WALK, 1)
        yield kernel.MapSpec("flows", kernel.MAP_TYPE_ARRAY, 4, *_TCP_FLOWS)
    if settings.tcp or settings.hands_over or settings.hook == "tc":
        yield kernel.MapSpec("tails", kernel.MAP_TYPE_PROG_ARRAY, 4, 4, 3)


def map_bytes(spec: kernel.MapSpec, cpus: int) -> int:
    """Kernel memory of a map with all its elements allocated, on `cpus` possible CPUs."""
    value = _round_up(spec.value_size)
    if spec.kind == kernel.MAP_TYPE_PERCPU_ARRAY:
        return _ARRAY + spec.max_entries * (_POINTER + value * cpus)
    if spec.mmapable:
        return _PAGE + _round_up(spec.max_entries * value, _PAGE)
    if spec.kind in (kernel.MAP_TYPE_ARRAY, kernel.MAP_TYPE_PROG_ARRAY):
        return _ARRAY + spec.max_entries * value
    buckets = 1 << (spec.max_entries - 1).bit_length()
    fixed = _HTAB + _BUCKET * buckets
    element = _ELEMENT + _round_up(spec.key_size)
    if spec.per_cpu:
        return fixed + spec.max_entries * (element + _POINTER + value * cpus)
    # a plain hash has a spare element and a pointer to it for each CPU
    return fixed + (spec.max_entries + cpus) * (element + value) + _POINTER * cpus


def _round_up(size: int, unit: int = 8) -> int:
    return (size + unit - 1) // unit * unit
