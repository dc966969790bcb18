"""BPF programs: loaded, described, timed, and run on packets that never were on a wire."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from dataclasses import dataclass

from xdpdns.errors import CompileError, KernelError, MissingNeedError
from xdpdns.kernel.syscall import (
    ATTR_SIZE,
    address,
    bpf,
    buffer,
    error_of,
    object_info,
    syscall,
    syscall_number,
)

# enum bpf_cmd
_PROG_LOAD, _PROG_TEST_RUN, _PROG_GET_FD_BY_ID = 5, 10, 13
_ENABLE_STATS, _PROG_BIND_MAP = 32, 35

PROG_TYPE_SCHED_CLS, PROG_TYPE_XDP = 3, 6
PSEUDO_MAP_FD = 1
XDP_PASS = 2
TCX_NEXT = -1  # TC_ACT_UNSPEC to clsact
_TEST_XDP_LIVE_FRAMES = 2
_LOG_SIZE = 1 << 24


def prog_load(kind: int, name: str, insns: bytes) -> int:
    """Load a program and return its fd; the license is Dual MIT/GPL for the kernel's eyes.

    Raises:
        CompileError: the verifier refused it; the text ends with its last lines.
    """
    license_ = buffer(b"GPL\0")
    code = buffer(insns)
    log: ctypes.Array[ctypes.c_char] | None = None
    while True:
        attr = struct.pack(
            "<IIQQIIQII16sII",
            kind,
            len(insns) // 8,
            address(code),
            address(license_),
            1 if log else 0,
            _LOG_SIZE if log else 0,
            address(log) if log else 0,
            0,
            0,
            name.encode()[:15],
            0,
            0,
        )
        try:
            return bpf(_PROG_LOAD, attr, f"load the program {name}")
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

    @property
    def loaded_at(self) -> float:
        """When it was loaded, as a Unix time."""
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + self.load_time_ns / 1e9


def prog_info(fd: int) -> ProgInfo:
    """Describe a program."""
    count = struct.unpack_from("<I", object_info(fd, 232), 52)[0]
    ids = (ctypes.c_uint32 * max(count, 1))()
    prepared = bytearray(64)
    struct.pack_into("<IQ", prepared, 52, count, ctypes.addressof(ids))
    raw = object_info(fd, 232, bytes(prepared))
    kind, ident, tag = struct.unpack_from("<II8s", raw)
    load_time = struct.unpack_from("<Q", raw, 40)[0]
    name = struct.unpack_from("<16s", raw, 64)[0].split(b"\0")[0].decode(errors="replace")
    run_time, run_count = struct.unpack_from("<QQ", raw, 192)
    verified = struct.unpack_from("<I", raw, 216)[0]
    maps = tuple(ids[:count])
    return ProgInfo(kind, ident, tag.hex(), name, load_time, maps, run_time, run_count, verified)


def prog_fd(ident: int) -> int:
    """Open a program by its id."""
    return bpf(_PROG_GET_FD_BY_ID, struct.pack("<I", ident), f"open the program {ident}")


def prog_bind_map(program: int, map_: int) -> None:
    """Have a map live as long as a program that does not use it (5.10)."""
    bpf(_PROG_BIND_MAP, struct.pack("<III", program, map_, 0), "bind a map to the program")


def enable_stats() -> int:
    """Have the kernel time every BPF program (5.8) until the returned fd is closed."""
    return bpf(_ENABLE_STATS, struct.pack("<I", 0), "switch on the kernel's BPF statistics")


def stats_enabled() -> bool:
    """Whether the sysctl has the kernel time every BPF program."""
    # Not by Path: this is asked at every scrape, and pathlib and codecs would take 0.2 ms of it.
    sysctl = os.open("/proc/sys/kernel/bpf_stats_enabled", os.O_RDONLY)
    try:
        return os.read(sysctl, 1) == b"1"
    finally:
        os.close(sysctl)


class TestRun:
    """Runs a program on packets: BPF_PROG_TEST_RUN (4.12), one reused attr, no packet copied out.

    The kernel refuses frames under 14 bytes (EINVAL). `duration_ns` of the last call is the
    kernel's own mean per repetition. With `live` (5.18) the program's verdict is carried out, as on
    a frame that came in by the loopback device of the caller's namespace: what is redirected leaves
    by its interface, and the return code is always 0.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, prog_fd: int, repeat: int = 1, *, live: bool = False) -> None:
        self._attr = ctypes.create_string_buffer(ATTR_SIZE)
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
        if syscall(self._number, _PROG_TEST_RUN, self._attr, ATTR_SIZE) < 0:
            raise error_of(ctypes.get_errno(), f"run the program on a frame of {length} bytes")
        return int(struct.unpack_from("<I", self._attr, 4)[0])

    @property
    def duration_ns(self) -> int:
        """Nanoseconds per repetition of the last run, measured by the kernel."""
        return int(struct.unpack_from("<I", self._attr, 36)[0])
