"""What a loaded program's counters mean, kept in the kernel beside them.

Whoever finds a program on an interface finds its maps, but not how their keys and values lie in
memory, nor the options. So the loader writes both into a map of one element, as JSON, and binds it
to the program (BPF_PROG_BIND_MAP, 5.10): it lives exactly as long as the program, needs no BPF file
system and no agent, and is frozen, so that nobody changes it. running.py reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

from xdpdns import __version__, kernel, vocab
from xdpdns.layout import Field, Layout
from xdpdns.settings import ProgramSettings

MAP = "xdpdns_meta"
"""The map's name in the kernel."""

_HEADERS = (
    *("outcomes.h", "stats_key.h", "counters.h", "edns_sizes.h", "parse_rcode.h", "timing.h"),
    *("tcp.h", "rows.h", "rows.bpf.h"),
)
_COMMENT = re.compile(r"/\*.*?\*/|\s+", re.DOTALL)


@cache
def meaning() -> str:
    """16 hex digits of the headers that say what a counter stands for, comments left out.

    Of another value than this xdpdns's, the counters of a program can't be read by it.
    """
    folder = vocab.bpf_folder()
    text = [_COMMENT.sub("", (folder / name).read_text()) for name in _HEADERS]
    return hashlib.sha256(repr(text).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Meta:
    """The description of one loaded program.

    `layouts` are those of the structs in its maps, by the names that program.Compiled has for
    them; `maps` the kernel's ids of its maps by name; `version` and `meaning` are of the xdpdns
    that loaded it.
    """

    settings: ProgramSettings
    layouts: dict[str, Layout]
    maps: dict[str, int]
    version: str = __version__
    meaning: str = ""

    @property
    def readable(self) -> bool:
        """Whether this xdpdns knows what the counters stand for."""
        return self.meaning == meaning()


def describe(
    program: int, maps: Mapping[str, int], layouts: Mapping[str, Layout], settings: ProgramSettings
) -> None:
    """Bind a description to a loaded program, given like its maps by fd."""
    text = json.dumps(
        {
            "version": __version__,
            "meaning": meaning(),
            "settings": asdict(settings),
            "layouts": {name: asdict(layout) for name, layout in layouts.items()},
            "maps": {name: kernel.map_info(fd).id for name, fd in maps.items()},
        }
    ).encode()
    fd = kernel.map_create(kernel.MapSpec(MAP, kernel.MAP_TYPE_ARRAY, 4, len(text), 1))
    try:
        kernel.map_update(fd, bytes(4), text)
        kernel.map_freeze(fd)
        kernel.prog_bind_map(program, fd)
    finally:
        os.close(fd)


def read(info: kernel.ProgInfo) -> list[Meta]:
    """The descriptions of a program's counters, and of those that it hands over to; or none."""
    described = []
    for ident in info.map_ids:
        fd = kernel.map_fd(ident)
        try:
            found = kernel.map_info(fd)
            if found.name == MAP:
                described.append(_parse(kernel.map_lookup(fd, bytes(4), found.value_size)))
        finally:
            os.close(fd)
    return described


def _parse(text: bytes) -> Meta:
    found = json.loads(text)
    layouts = {
        name: Layout(one["size"], {key: Field(**field) for key, field in one["fields"].items()})
        for name, one in found["layouts"].items()
    }
    settings = _settings(found["settings"])
    return Meta(settings, layouts, found["maps"], found["version"], found["meaning"])


def _settings(stored: dict[str, Any]) -> ProgramSettings:
    """The settings as they were, unchecked: a file that they name may be gone by now."""
    settings = object.__new__(ProgramSettings)
    for field in fields(ProgramSettings):
        value = stored.get(field.name, field.default)
        object.__setattr__(settings, field.name, tuple(value) if isinstance(value, list) else value)
    return settings
