"""The kernel by bpf(2), without a library: one function for each command that xdpdns uses.

File descriptors are plain ints and belong to the caller. Keys and values are bytes in the kernel's
layout. Every failure is a :class:`~xdpdns.errors.KernelError` that carries the errno. Sources:
``include/uapi/linux/bpf.h``; the kernel version that brought a command stands with it.

``syscall`` has the call itself, ``maps`` and ``programs`` what is made by it, ``machine`` what it
asks of the process and of the CPUs. What hangs on interfaces is in ``xdpdns/bpf_link.py``.
"""

from xdpdns.kernel.machine import (
    capabilities,
    cpu_numbers,
    missing_capabilities,
    possible_cpus,
    require_root,
)
from xdpdns.kernel.maps import (
    MAP_ANY,
    MAP_EXIST,
    MAP_NOEXIST,
    MAP_TYPE_ARRAY,
    MAP_TYPE_HASH,
    MAP_TYPE_PERCPU_ARRAY,
    MAP_TYPE_PERCPU_HASH,
    MAP_TYPE_PROG_ARRAY,
    MapInfo,
    MapSpec,
    map_create,
    map_fd,
    map_freeze,
    map_info,
    map_lookup,
    map_lookup_batch,
    map_update,
)
from xdpdns.kernel.programs import (
    PROG_TYPE_SCHED_CLS,
    PROG_TYPE_XDP,
    PSEUDO_MAP_FD,
    TCX_NEXT,
    XDP_PASS,
    ProgInfo,
    TestRun,
    enable_stats,
    prog_bind_map,
    prog_fd,
    prog_info,
    prog_load,
    stats_enabled,
)
from xdpdns.kernel.syscall import pin, pinned, refusal, refused_by_filter, syscall_number

__all__ = [
    "MAP_ANY",
    "MAP_EXIST",
    "MAP_NOEXIST",
    "MAP_TYPE_ARRAY",
    "MAP_TYPE_HASH",
    "MAP_TYPE_PERCPU_ARRAY",
    "MAP_TYPE_PERCPU_HASH",
    "MAP_TYPE_PROG_ARRAY",
    "PROG_TYPE_SCHED_CLS",
    "PROG_TYPE_XDP",
    "PSEUDO_MAP_FD",
    "TCX_NEXT",
    "XDP_PASS",
    "MapInfo",
    "MapSpec",
    "ProgInfo",
    "TestRun",
    "capabilities",
    "cpu_numbers",
    "enable_stats",
    "map_create",
    "map_fd",
    "map_freeze",
    "map_info",
    "map_lookup",
    "map_lookup_batch",
    "map_update",
    "missing_capabilities",
    "pin",
    "pinned",
    "possible_cpus",
    "prog_bind_map",
    "prog_fd",
    "prog_info",
    "prog_load",
    "refusal",
    "refused_by_filter",
    "require_root",
    "stats_enabled",
    "syscall_number",
]
