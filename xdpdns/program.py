"""Compiles the BPF program: the only place that imports bcc, in a process that ends right after.

Importing BCC costs some 75 MB and compiling 125 MB more, and LLVM is a lot of code; none of it
stays in the agent. What comes back is plain: instructions, the maps they want, and the layouts of
the structs. The caller creates the maps and loads the program itself (loader.py).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pickle
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from xdpdns import kernel, vocab
from xdpdns.errors import CompileError, MissingNeedError, XdpdnsError
from xdpdns.kernel import PSEUDO_MAP_FD, MapSpec
from xdpdns.layout import Field, Layout
from xdpdns.privileges import seem_unprivileged
from xdpdns.rows import MAPS_READ as READ_AS_MEMORY
from xdpdns.rows import entries as row_entries
from xdpdns.settings import ProgramSettings

ENTRY = "xdpdns_count"
"""The program's function in bpf/."""

NAMES = {"queries": "xdpdns_query", "responses": "xdpdns_response"}
"""Its name in the kernel (bpf_prog_info.name), by what it counts."""

TCP_ENTRY = "xdpdns_tcp"
"""The function for TCP segments, and its name in the kernel."""

TAIL_TCP, TAIL_AGAIN, TAIL_OTHER = 0, 1, 2
"""Places in the map `tails`: of both functions, and of the other side's (bpf/xdpdns.bpf.c)."""

_MAPS = (
    *("rows", "counts", "keys", "numbers", "spare"),
    *("counters", "tlds", "edns_sizes", "pending", "timing", "clock"),
    *("tcp", "walk", "flows", "tails"),
)
_MMAPABLE = (*READ_AS_MEMORY, "pending", "clock")
_LOAD_IMM64 = 0x18

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Code:
    """A function.

    `insns` are struct bpf_insn; `relocations` says which map the 64-bit load at an index of theirs
    refers to.
    """

    insns: bytes
    relocations: dict[int, str]

    def linked(self, maps: Mapping[str, int]) -> bytes:
        """The instructions with the fds of these maps in place, ready to load."""
        code = bytearray(self.insns)
        for index, name in self.relocations.items():
            at = index * 8
            code[at + 4 : at + 8] = maps[name].to_bytes(4, "little")
        return bytes(code)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The program as bytes, before any map exists.

    `main` is the function that is attached, `tcp` the one that it calls for TCP segments, if they
    are counted. `key` is struct stats_key, `counters` struct counters. `seconds` is the compiler's
    time, its import included.
    """

    main: Code
    tcp: Code | None
    maps: dict[str, MapSpec]
    key: Layout
    counters: Layout
    seconds: float


class InChild(Generic[Made]):
    """What BCC makes, in a child, while the caller does something else.

    `make` is called in the child. `result()` waits for it. The child is gone after that; `close()`
    is for a caller who never asks.
    """

    def __init__(self, make: Callable[[], Made]) -> None:
        require_bcc()
        reader, writer = os.pipe()
        # What was buffered would be written by both.
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reader)
            _child(make, writer)
        os.close(writer)
        self._reader: int | None = reader

    def result(self) -> Made:
        """What was made, such as the compiled program.

        Raises:
            CompileError: clang's or BCC's complaint.
            MissingNeedError: no permission, or a bcc that is not BCC.
        """
        if self._reader is None:
            raise ValueError("the result was taken already")
        with os.fdopen(self._reader, "rb") as pipe:
            self._reader = None
            data = pipe.read()
        _, status = os.waitpid(self._pid, 0)
        if not data:
            raise CompileError(
                f"the compiler process ended with status {os.waitstatus_to_exitcode(status)}: "
                "is there enough memory (about 200 MB for half a second)?"
            )
        answer: Made | XdpdnsError = pickle.loads(data)  # noqa: S301  our own child wrote it
        if isinstance(answer, XdpdnsError):
            raise answer
        return answer

    def fileno(self) -> int:
        """The descriptor to poll: readable when result() will not have to wait."""
        if self._reader is None:
            raise ValueError("the result was taken already")
        return self._reader

    def close(self) -> None:
        """Give up on the result."""
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


class Compilation(InChild[Compiled]):
    """A compilation of the program that counts, see InChild."""

    def __init__(self, settings: ProgramSettings) -> None:
        super().__init__(partial(_compile, settings))


def compile_program(settings: ProgramSettings) -> Compiled:
    """Compile and wait; see Compilation."""
    return Compilation(settings).result()


def require_bcc() -> None:
    """Fail early, and without importing it, where BCC's Python module is not.

    Raises:
        MissingNeedError: there is no module bcc.
    """
    if importlib.util.find_spec("bcc") is None:
        raise MissingNeedError(
            "BCC's Python module is missing: `apt-get install python3-bpfcc`, and run xdpdns with "
            "the system's Python or a virtual environment made with --system-site-packages "
            "(`bcc` on PyPI is an unrelated library)."
        )


def _child(make: Callable[[], Made], writer: int) -> None:
    """Call it, write the pickled answer, and end without running anybody's exit handlers."""
    said_reader, said_writer = os.pipe()
    os.set_blocking(said_writer, False)
    os.dup2(said_writer, 1)
    os.dup2(said_writer, 2)
    answer: Made | XdpdnsError
    try:
        answer = make()
    except XdpdnsError as error:
        answer = error
    except BaseException as error:
        os.set_blocking(said_reader, False)
        answer = _explain(error, said_reader)
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
    os._exit(0)


def _explain(error: BaseException, said_reader: int) -> XdpdnsError:
    """What BCC raised, in one sentence; the reason is on its standard error."""
    try:
        said = os.read(said_reader, 1 << 16).decode(errors="replace")
    except BlockingIOError:
        said = ""
    if kernel.refused_by_filter():
        return kernel.refusal("create BPF maps")
    if "Operation not permitted" in said or isinstance(error, PermissionError):
        return MissingNeedError(
            "the kernel does not permit to create BPF maps: run as root, or with CAP_BPF, "
            "CAP_NET_ADMIN and CAP_PERFMON."
        )
    lines = [line for line in said.splitlines() if "error:" in line] or said.splitlines()[-3:]
    reason = " | ".join(lines[:5]) or f"{type(error).__name__}: {error}"
    return CompileError(f"the BPF program did not compile: {reason}")


def open_module(source: str, flags: list[str]) -> Any:
    """A file of bpf/ as BCC's module, with its maps made: only to be called in a child.

    Raises:
        MissingNeedError: a bcc that is not BCC.
    """
    folder = vocab.bpf_folder()
    # The few lines that stand in for kernel headers; see bpf/compat.
    os.environ["BCC_KERNEL_SOURCE"] = str(folder / "compat")
    # BCC would like bytes in place of str and says so; the caller may have made that an error.
    warnings.simplefilter("ignore")
    try:
        from bcc import BPF
    except (ImportError, OSError) as error:
        # PyPI's unrelated bcc has no BPF; BCC without its library is an OSError
        raise MissingNeedError(
            f"the Python module bcc is not BCC, or is broken ({error}): uninstall what `pip list` "
            "shows as bcc, and `apt-get install --reinstall python3-bpfcc`."
        ) from error
    # For root BCC reads all of the kernel's symbols, which only tracing needs: 70 ms.
    seem_unprivileged()
    # The code is the same without what a debugger would want (-g0), in 90 ms less.
    always = [f"-I{folder}", "-Wall", "-Werror", "-g0"]
    return BPF(text=_whole(folder / source), cflags=[*always, *flags])


def _compile(settings: ProgramSettings) -> Compiled:
    started = time.monotonic()
    cpus = kernel.cpu_numbers()
    module = open_module("xdpdns.bpf.c", [*settings.cflags(), f"-DCPUS={cpus}"])
    tables = {name: module[name] for name in _MAPS if _has_table(module, name)}
    rows = tables.pop("rows")
    tables = {settings.side: rows, **tables}
    entries = row_entries(settings.max_series, cpus)
    entries[settings.side] = settings.max_series
    maps = {
        name: MapSpec(
            name,
            table.ttype,
            ctypes.sizeof(table.Key),
            ctypes.sizeof(leaf_of(table)),
            entries.get(name, table.max_entries),
            mmapable=name in _MMAPABLE,
        )
        for name, table in tables.items()
    }
    names = {table.map_fd: name for name, table in tables.items()}
    return Compiled(
        main=code_of(module, ENTRY, names),
        tcp=code_of(module, TCP_ENTRY, names) if settings.tcp else None,
        maps=maps,
        key=layout_of(rows.Key),
        counters=layout_of(leaf_of(tables["counters"])),
        seconds=time.monotonic() - started,
    )


_PASTED = re.compile(r'^#include "([^"]*\.bpf\.h)"$', re.MULTILINE)


def _whole(path: Path) -> str:
    """A source with the files that use maps pasted in; lines keep their file and number."""
    text = path.read_text()
    parts, at = [f'#line 1 "{path}"\n'], 0
    for found in _PASTED.finditer(text):
        parts += [text[at : found.start()], _whole(path.parent / found[1])]
        parts.append(f'#line {text.count(chr(10), 0, found.end()) + 1} "{path}"')
        at = found.end()
    return "".join([*parts, text[at:]])


def _has_table(module: Any, name: str) -> bool:
    try:
        module[name]
    except KeyError:
        return False
    return True


def leaf_of(table: Any) -> Any:
    """The type of one CPU's value: BCC's Leaf of a per-CPU map is an array over the CPUs."""
    return getattr(table, "sLeaf", table.Leaf)


def layout_of(kind: Any) -> Layout:
    """A Layout of a ctypes Structure that BCC made."""
    fields = {}
    for name, member, *_bits in kind._fields_:
        at = getattr(kind, name)
        count = getattr(member, "_length_", 1)
        fields[name] = Field(at.offset, at.size // count, count)
    return Layout(ctypes.sizeof(kind), fields)


def code_of(module: Any, function: str, names: dict[int, str]) -> Code:
    """A function of a module; `names` are those of its maps by BCC's fds."""
    insns = module.dump_func(function)
    return Code(insns, _relocations(insns, names))


def _relocations(insns: bytes, names: dict[int, str]) -> dict[int, str]:
    """Find the loads of map fds: BPF_LD | BPF_IMM | BPF_DW with src_reg BPF_PSEUDO_MAP_FD."""
    found = {}
    for index in range(len(insns) // 8):
        at = index * 8
        if insns[at] == _LOAD_IMM64 and insns[at + 1] >> 4 == PSEUDO_MAP_FD:
            fd = int.from_bytes(insns[at + 4 : at + 8], "little", signed=True)
            found[index] = names[fd]
    return found
