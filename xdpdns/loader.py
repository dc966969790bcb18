"""Creates a compiled program's maps and loads it: one set for each interface, one compilation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from threading import Lock

from xdpdns import kernel, meta
from xdpdns.decode import Decoder
from xdpdns.program import NAMES, TAIL_AGAIN, TAIL_OTHER, TAIL_TCP, TCP_ENTRY, Compiled
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import Snapshot
from xdpdns.timing import TIMED

_CREATING = Lock()
"""The kernel takes per-CPU memory for one map at a time: whose maps are there is verified while
those of the next are made."""

_WRITTEN = ("tails", "clock")
"""The maps that are written to from here once the program is loaded. All others are frozen: nobody
but the program changes what it counted, whoever has an fd."""


class LoadedProgram:
    """A program in the kernel with maps of its own, all counters zero at first.

    Or with the maps of another one of the same layout (pins.layout()), whose fds it takes over:
    then both count in them. `shared` has the maps of the program for the other side, from which
    those are taken that time responses: what one program notes, the other must find.

    `fd` is the program's, `maps` those of its maps by name; `close()` closes them. What is attached
    or pinned stays alive in the kernel all the same.
    """

    def __init__(
        self,
        compiled: Compiled,
        settings: ProgramSettings,
        maps: dict[str, int] | None = None,
        shared: Mapping[str, int] | None = None,
    ) -> None:
        self.maps: dict[str, int] = maps or {}
        self.fd = -1
        self._decoder = Decoder(compiled.key, compiled.counters, settings)
        made: list[str] = []
        try:
            with _CREATING:
                for name, spec in compiled.maps.items():
                    if shared and name in TIMED:
                        if name in self.maps:
                            os.close(self.maps[name])
                        self.maps[name] = os.dup(shared[name])
                    elif maps is None:
                        self.maps[name] = kernel.map_create(_named(spec, settings))
                        made.append(name)
            self._load(compiled, settings)
            if "tlds" in made:
                _allow(self.maps["tlds"], compiled, settings)
            for name in made:
                if name not in _WRITTEN:
                    kernel.map_freeze(self.maps[name])
            self._layouts = {"key": compiled.key, "counters": compiled.counters}
            self._settings = settings
            meta.describe(self.fd, self.maps, self._layouts, settings)
            for map_ in self.maps.values():
                # Those too that only the TCP program uses: who finds this one must find them all.
                kernel.prog_bind_map(self.fd, map_)
        except BaseException:
            self.close()
            raise

    def _load(self, compiled: Compiled, settings: ProgramSettings) -> None:
        """Have the functions verified side by side, and join them."""
        kind = program_type(settings)
        functions = {NAMES[settings.side]: compiled.main}
        if compiled.tcp is not None:
            functions[TCP_ENTRY] = compiled.tcp
        with ThreadPoolExecutor(len(functions)) as pool:
            main, *tcp = [
                pool.submit(kernel.prog_load, kind, name, code.linked(self.maps))
                for name, code in functions.items()
            ]
        with ExitStack() as stack:
            for load in tcp:
                if load.exception() is None:
                    stack.callback(os.close, load.result())
            self.fd = main.result()
            if "tails" in self.maps:
                self._set_tail(TAIL_AGAIN, self.fd)
            for load in tcp:
                self._set_tail(TAIL_TCP, load.result())

    def hand_over(self, other: LoadedProgram) -> None:
        """Leave to the other program, from now on, what is its side's (settings.hands_over).

        Who finds this one on a hook finds the other one's maps by it, and their description.
        """
        self._set_tail(TAIL_OTHER, other.fd)
        meta.describe(self.fd, other.maps, other._layouts, other._settings)
        for fd in other.maps.values():
            kernel.prog_bind_map(self.fd, fd)

    def _set_tail(self, place: int, program: int) -> None:
        """The map keeps the program, as long as there is an fd or a pin of the map."""
        key, value = place.to_bytes(4, "little"), program.to_bytes(4, "little")
        kernel.map_update(self.maps["tails"], key, value)

    def snapshot(self) -> Snapshot:
        """Read all counters; 2 ms more for exact EDNS sizes."""
        return self._decoder.snapshot(self.maps)

    def info(self) -> kernel.ProgInfo:
        """The kernel's description of the program."""
        return kernel.prog_info(self.fd)

    def close(self) -> None:
        """Close all fds; may be called again."""
        self._decoder.close()
        for fd in (self.fd, *self.maps.values()):
            if fd >= 0:
                os.close(fd)
        self.fd = -1
        self.maps = {}


def program_type(settings: ProgramSettings) -> int:
    """The kernel's enum bpf_prog_type for the hook."""
    return kernel.PROG_TYPE_XDP if settings.hook == "xdp" else kernel.PROG_TYPE_SCHED_CLS


def _named(spec: kernel.MapSpec, settings: ProgramSettings) -> kernel.MapSpec:
    """The map as the kernel lists it, and large enough for its list."""
    entries = spec.max_entries
    if spec.name == "tlds":
        entries = max(1, len(settings.allowed_tlds or ()))
    return replace(spec, name=f"xdpdns_{spec.name}"[:15], max_entries=entries)


def _allow(fd: int, compiled: Compiled, settings: ProgramSettings) -> None:
    """Fill the allow-list; keys as stats_key has them: lower case, right-aligned in zeros."""
    allowed = settings.allowed_tlds
    if allowed is None:
        return
    width = compiled.maps["tlds"].key_size
    for label in allowed:
        kernel.map_update(fd, label.rjust(width, b"\0"), len(label).to_bytes(8, "little"))
