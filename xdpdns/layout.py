"""How a C struct lies in memory, as BCC reports it: the Python side has no copy of its own."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True, slots=True)
class Field:
    """A member: `count` elements of `size` bytes each, the first at `offset`."""

    offset: int
    size: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """A struct of `size` bytes with its members by name, in ascending order of offset."""

    size: int
    fields: dict[str, Field]

    def unpacker(self, names: tuple[str, ...]) -> struct.Struct:
        """A little-endian Struct that unpacks the named members, arrays of bytes as bytes.

        The names must be in the order of the members; all others are skipped.
        """
        parts, at = ["<"], 0
        for name in names:
            field = self.fields[name]
            parts.append(f"{field.offset - at}x")
            parts.append(_FORMATS[field.size] if field.count == 1 else f"{field.count}s")
            at = field.offset + field.size * field.count
        parts.append(f"{self.size - at}x")
        return struct.Struct("".join(parts))
