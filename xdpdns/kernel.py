"""The bpf(2) system call, without a library: one function for each command that xdpdns uses.

File descriptors are plain ints and belong to the caller. Keys and values are bytes in the kernel's
layout. Every failure is a :class:`~xdpdns.errors.KernelError` that carries the errno. Sources:
``include/uapi/linux/bpf.h``; the kernel version that brought a command stands with it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xdpdns.errors import CompileError, KernelError, MissingNeedError

# enum bpf_cmd
_MAP_CREATE, _MAP_LOOKUP_ELEM, _MAP_UPDATE_ELEM = 0, 1, 2
_PROG_LOAD, _OBJ_PIN, _OBJ_GET = 5, 6, 7
_PROG_TEST_RUN, _PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID, _MAP_GET_FD_BY_ID = 10, 11, 13, 14
_OBJ_GET_INFO_BY_FD, _MAP_FREEZE, _MAP_LOOKUP_BATCH, _ENABLE_STATS = 15, 22, 24, 32
_PROG_BIND_MAP = 35

PROG_TYPE_SCHED_CLS, PROG_TYPE_XDP = 3, 6
MAP_TYPE_HASH, MAP_TYPE_ARRAY, MAP_TYPE_PROG_ARRAY = 1, 2, 3
MAP_TYPE_PERCPU_HASH, MAP_TYPE_PERCPU_ARRAY = 5, 6
MAP_ANY, MAP_NOEXIST, MAP_EXIST = 0, 1, 2
PSEUDO_MAP_FD = 1
XDP_PASS = 2
TCX_NEXT = -1  # TC_ACT_UNSPEC to clsact
_TEST_XDP_LIVE_FRAMES = 2
_F_MMAPABLE = 1 << 10

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_ATTR_SIZE = 144
_LOG_SIZE = 1 << 24

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def syscall_number() -> int:
    """The number of bpf(2) on this architecture.

    Raises:
        MissingNeedError: on an architecture that xdpdns does not know.
    """
    try:
        return _SYSCALL[platform.machine()]
    except KeyError:
        raise MissingNeedError(
            f"xdpdns does not know the bpf system call of {platform.machine()}: "
            f"it runs on {', '.join(_SYSCALL)}."
        ) from None


def _bpf(command: int, attr: bytes | ctypes.Array[ctypes.c_char], what: str) -> int:
    """Call bpf(2); `what` names the call in the error. Interrupted calls are made again."""
    buffer = ctypes.create_string_buffer(attr, _ATTR_SIZE) if isinstance(attr, bytes) else attr
    while True:
        result = int(_syscall(syscall_number(), command, buffer, _ATTR_SIZE))
        if result >= 0:
            return result
        number = ctypes.get_errno()
        if number not in (errno.EINTR, errno.EAGAIN):
            raise _error(number, what)


def _error(number: int, what: str) -> KernelError:
    if number == errno.EPERM:
        return MissingNeedError(
            f"the kernel does not permit to {what}: run as root, or with CAP_BPF, CAP_NET_ADMIN "
            "and CAP_PERFMON.",
            number,
        )
    return KernelError(f"could not {what}: {os.strerror(number)}.", number)


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _in(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, max(len(data), 1))


_CAP_NET_ADMIN, _CAP_PERFMON, _CAP_BPF, _CAP_SYS_ADMIN = 12, 38, 39, 21


def capabilities(which: str = "CapEff") -> int:
    """A set of this process's capabilities as a bit mask (capabilities(7)), CapEff: the effective.

    The others are named as in /proc/self/status: CapBnd bounds what root can have.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1], 16)
    return 0


def missing_capabilities(which: str = "CapEff") -> list[str]:
    """What this process lacks to load and attach; CAP_SYS_ADMIN stands for BPF and PERFMON."""
    have = capabilities(which)
    needs = {"CAP_NET_ADMIN": _CAP_NET_ADMIN, "CAP_PERFMON": _CAP_PERFMON, "CAP_BPF": _CAP_BPF}
    return [
        name
        for name, bit in needs.items()
        if not have & 1 << bit and (name == "CAP_NET_ADMIN" or not have & 1 << _CAP_SYS_ADMIN)
    ]


def require_root() -> None:
    """Fail early where loading and attaching would be refused.

    Raises:
        MissingNeedError: naming the capabilities that are missing.
    """
    missing = missing_capabilities()
    if missing:
        raise MissingNeedError(
            f"not permitted, {' and '.join(missing)} missing: run as root (`sudo xdpdns ...`), or "
            "with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.",
            errno.EPERM,
        )


def possible_cpus() -> int:
    """How many values a per-CPU map holds for a key: one for each CPU that may ever come up."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    runs = (part.split("-") for part in text.split(","))  # such as 0-3,8-11
    return sum(int(run[-1]) - int(run[0]) + 1 for run in runs)


def unlimit_memlock() -> None:
    """Lift RLIMIT_MEMLOCK, which kernels before 5.11 charge maps to; a refusal shows later."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    soft = resource.RLIM_INFINITY if os.geteuid() == 0 else hard
    limits = (soft, resource.RLIM_INFINITY if os.geteuid() == 0 else hard)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)
    except (ValueError, PermissionError):
        # Without CAP_SYS_RESOURCE; on 5.11 and later the limit is not asked.
        return


# --- maps ---------------------------------------------------------------------------------------


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
    return _bpf(_MAP_CREATE, attr, f"create the map {spec.name} of {spec.max_entries} entries")


def map_update(fd: int, key: bytes, value: bytes, flags: int = MAP_ANY) -> None:
    """Write one element."""
    k, v = _in(key), _in(value)
    attr = struct.pack("<I4xQQQ", fd, _address(k), _address(v), flags)
    _bpf(_MAP_UPDATE_ELEM, attr, "write to a map")


def map_freeze(fd: int) -> None:
    """Let nobody write to a map from user space any more (5.2)."""
    _bpf(_MAP_FREEZE, struct.pack("<I", fd), "freeze a map")


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes:
    """Read one element; for a per-CPU map `value_size` is that of all CPUs' values together."""
    k, v = _in(key), ctypes.create_string_buffer(value_size)
    _bpf(_MAP_LOOKUP_ELEM, struct.pack("<I4xQQ", fd, _address(k), _address(v)), "read a map")
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
                0 if first else _address(batch),
                _address(batch),
                _address(keys),
                _address(values),
                chunk,
                fd,
                0,
                0,
            ),
            _ATTR_SIZE,
        )
        done = False
        try:
            _bpf(_MAP_LOOKUP_BATCH, attr, "read a map in batches")
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


def map_info(fd: int) -> MapInfo:
    """Describe a map."""
    raw = _object_info(fd, 88)
    kind, ident, key, value, entries, _flags, name = struct.unpack_from("<6I16s", raw)
    return MapInfo(kind, ident, key, value, entries, name.split(b"\0")[0].decode())


# --- programs -----------------------------------------------------------------------------------


def prog_load(kind: int, name: str, insns: bytes) -> int:
    """Load a program and return its fd; the license is Dual MIT/GPL for the kernel's eyes.

    Raises:
        CompileError: the verifier refused it; the text ends with its last lines.
    """
    license_ = _in(b"GPL\0")
    code = _in(insns)
    log: ctypes.Array[ctypes.c_char] | None = None
    while True:
        attr = struct.pack(
            "<IIQQIIQII16sII",
            kind,
            len(insns) // 8,
            _address(code),
            _address(license_),
            1 if log else 0,
            _LOG_SIZE if log else 0,
            _address(log) if log else 0,
            0,
            0,
            name.encode()[:15],
            0,
            0,
        )
        try:
            return _bpf(_PROG_LOAD, attr, f"load the program {name}")
        except MissingNeedError:
            raise
        except KernelError as error:
            if log is not None:
                tail = log.value.decode(errors="replace").strip().splitlines()[-12:]
                raise CompileError(
                    f"the kernel's verifier refused {name}: " + " | ".join(tail), error.errno
                ) from error
        # Only a failure is worth the time that a log costs.
        log = ctypes.create_string_buffer(_LOG_SIZE)


@dataclass(frozen=True, slots=True)
class ProgInfo:
    """struct bpf_prog_info, as far as it is used.

    `load_time_ns` is since boot (CLOCK_BOOTTIME); `run_time_ns` and `run_count` stay where they are
    while the kernel's BPF statistics are off.
    """

    kind: int
    id: int
    tag: str
    name: str
    load_time_ns: int
    map_ids: tuple[int, ...]
    run_time_ns: int
    run_count: int
    verified_insns: int


def _object_info(fd: int, size: int, prepared: bytes = b"") -> bytes:
    info = ctypes.create_string_buffer(prepared, size)
    attr = struct.pack("<IIQ", fd, size, _address(info))
    _bpf(_OBJ_GET_INFO_BY_FD, attr, "describe a BPF object")
    return info.raw


def prog_info(fd: int) -> ProgInfo:
    """Describe a program."""
    count = struct.unpack_from("<I", _object_info(fd, 232), 52)[0]
    ids = (ctypes.c_uint32 * max(count, 1))()
    prepared = bytearray(64)
    struct.pack_into("<IQ", prepared, 52, count, ctypes.addressof(ids))
    raw = _object_info(fd, 232, bytes(prepared))
    kind, ident, tag = struct.unpack_from("<II8s", raw)
    load_time = struct.unpack_from("<Q", raw, 40)[0]
    name = struct.unpack_from("<16s", raw, 64)[0].split(b"\0")[0].decode(errors="replace")
    run_time, run_count = struct.unpack_from("<QQ", raw, 192)
    verified = struct.unpack_from("<I", raw, 216)[0]
    maps = tuple(ids[:count])
    return ProgInfo(kind, ident, tag.hex(), name, load_time, maps, run_time, run_count, verified)


def prog_fd(ident: int) -> int:
    """Open a program by its id."""
    return _bpf(_PROG_GET_FD_BY_ID, struct.pack("<I", ident), f"open the program {ident}")


def prog_bind_map(program: int, map_: int) -> None:
    """Have a map live as long as a program that does not use it (5.10)."""
    _bpf(_PROG_BIND_MAP, struct.pack("<III", program, map_, 0), "bind a map to the program")


def map_fd(ident: int) -> int:
    """Open a map by its id."""
    return _bpf(_MAP_GET_FD_BY_ID, struct.pack("<I", ident), f"open the map {ident}")


def enable_stats() -> int:
    """Have the kernel time every BPF program (5.8) until the returned fd is closed."""
    return _bpf(_ENABLE_STATS, struct.pack("<I", 0), "switch on the kernel's BPF statistics")


def stats_enabled() -> bool:
    """Whether the sysctl has the kernel time every BPF program."""
    # Not by Path: this is asked at every scrape, and pathlib and codecs would take 0.2 ms of it.
    sysctl = os.open("/proc/sys/kernel/bpf_stats_enabled", os.O_RDONLY)
    try:
        return os.read(sysctl, 1) == b"1"
    finally:
        os.close(sysctl)


def pin(fd: int, path: str) -> None:
    """Give a program, map or link a name on a BPF file system."""
    text = _in(path.encode() + b"\0")
    _bpf(_OBJ_PIN, struct.pack("<QI", _address(text), fd), f"pin to {path}")


def pinned(path: str) -> int:
    """Open what is pinned under a name."""
    text = _in(path.encode() + b"\0")
    return _bpf(_OBJ_GET, struct.pack("<QI", _address(text), 0), f"open the pin {path}")


# --- BPF_PROG_TEST_RUN --------------------------------------------------------------------------


class TestRun:
    """Runs a program on packets: BPF_PROG_TEST_RUN (4.12), one reused attr, no packet copied out.

    The kernel refuses frames under 14 bytes (EINVAL). `duration_ns` of the last call is the
    kernel's own mean per repetition. With `live` (5.18) the program's verdict is carried out, as on
    a frame that came in by the loopback device of the caller's namespace: what is redirected leaves
    by its interface, and the return code is always 0.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, prog_fd: int, repeat: int = 1, *, live: bool = False) -> None:
        self._attr = ctypes.create_string_buffer(_ATTR_SIZE)
        struct.pack_into("<IIIIQQII", self._attr, 0, prog_fd, 0, 0, 0, 0, 0, repeat, 0)
        struct.pack_into("<I", self._attr, 64, _TEST_XDP_LIVE_FRAMES if live else 0)
        self._number = syscall_number()

    def run(self, frame: bytes) -> int:
        """Run on one frame and return the program's return code (XDP_PASS is 2)."""
        # bytes are passed by their own address; ctypes copies nothing
        data = ctypes.c_char_p(frame)
        return self.run_at(ctypes.cast(data, ctypes.c_void_p).value or 0, len(frame))

    def run_at(self, address: int, length: int) -> int:
        """Run on `length` bytes of memory at `address`."""
        struct.pack_into("<IIIQ", self._attr, 4, 0, length, 0, address)
        if _syscall(self._number, _PROG_TEST_RUN, self._attr, _ATTR_SIZE) < 0:
            raise _error(ctypes.get_errno(), f"run the program on a frame of {length} bytes")
        return int(struct.unpack_from("<I", self._attr, 4)[0])

    @property
    def duration_ns(self) -> int:
        """Nanoseconds per repetition of the last run, measured by the kernel."""
        return int(struct.unpack_from("<I", self._attr, 36)[0])
