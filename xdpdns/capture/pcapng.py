"""The packets of a pcapng file (draft-ietf-opsawg-pcapng): sections, interfaces, packet blocks."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from xdpdns.capture.batch import Batch
from xdpdns.capture.streams import MAX_CAPTURED, WINDOW, Window

SECTION_HEADER = 0x0A0D0D0A  # reads the same in both byte orders
INTERFACE = 1
OLD_PACKET = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6

MAGIC = struct.pack("<I", SECTION_HEADER)
BYTE_ORDER_MAGIC = 0x1A2B3C4D
MAX_BLOCK = 16 * 1024 * 1024
"""The longest block believed; Wireshark draws the line at the same place."""

_OPTION_END = 0
_OPTION_TSRESOL = 9
_OPTION_TSOFFSET = 14


@dataclass(frozen=True, slots=True)
class Interface:
    """One Interface Description Block; a time is `ticks * multiply // divide + offset` ns."""

    linktype: int
    snaplen: int
    multiply: int
    divide: int
    offset: int


class _Damage(Exception):  # noqa: N818
    """The bytes are there and make no sense; becomes a CaptureError with the offset."""


def batches(window: Window) -> Iterator[Batch]:
    """All whole packets, batched by window and by link type.

    Raises:
        CaptureError: after the last whole block, when the file does not end there.
    """
    section = _Section(window.buffer)
    batch = Batch(window.buffer, -1)
    more = True
    while more:
        batch = Batch(window.buffer, batch.linktype)
        damage, too_long = None, 0
        while window.end - window.start >= 12:
            try:
                kind, total = section.block(window.start, window.end)
                if total > window.end - window.start:
                    too_long = total if total > WINDOW else 0
                    break
                if kind not in _PACKETS:
                    if kind == INTERFACE:
                        section.describe(window.start, total)
                    window.start += total
                    continue
                linktype, packet, captured, wire, time = _PACKETS[kind](
                    section, window.start, total
                )
            except _Damage as error:
                damage = error
                break
            window.start += total
            if linktype != batch.linktype:
                if batch.offsets:
                    yield batch
                batch = Batch(window.buffer, linktype)
            batch.offsets.append(packet)
            batch.lengths.append(captured)
            batch.wire_lengths.append(wire)
            batch.timestamps.append(time)
        if batch.offsets:
            yield batch
        if damage:
            raise window.error(f"{damage}; the file is damaged, copy it again")
        if too_long:
            window.skip(too_long, "block")
        more = window.fill() or bool(too_long)
    window.finish("block")


class _Section:
    """Byte order and interfaces of the present section."""

    def __init__(self, buffer: bytearray) -> None:
        self.buffer = buffer
        self.interfaces: list[Interface] = []
        self._set_order("<")

    def _set_order(self, order: str) -> None:
        self.order = order
        self._two = struct.Struct(order + "II").unpack_from
        self._five = struct.Struct(order + "IIIII").unpack_from

    def block(self, offset: int, end: int) -> tuple[int, int]:
        """Type and total length of the block at `offset`; a section header begins a new section."""
        kind, total = self._two(self.buffer, offset)
        if kind == SECTION_HEADER:
            mark = bytes(self.buffer[offset + 8 : offset + 12])
            if mark not in _ORDERS:
                raise _Damage("the section header there has no byte order mark")
            self._set_order(_ORDERS[mark])
            kind, total = self._two(self.buffer, offset)
            self.interfaces = []
        if total < 12 or total & 3 or total > MAX_BLOCK:
            raise _Damage(f"the block there claims {total} bytes, which no block has")
        if total > WINDOW and kind in _PACKETS:
            raise _Damage(f"the packet block there claims {total} bytes, more than any packet has")
        return kind, total

    def describe(self, offset: int, total: int) -> None:
        """Add the interface that the Interface Description Block at `offset` describes."""
        if total < 20:
            raise _Damage(f"the interface description there has only {total} bytes")
        linktype, _, snaplen = struct.unpack_from(self.order + "HHI", self.buffer, offset + 8)
        per_second, offset_s = 10**6, 0
        at, end = offset + 16, offset + total - 4
        while at + 4 <= end:
            code, length = struct.unpack_from(self.order + "HH", self.buffer, at)
            at += 4
            if code == _OPTION_END or at + length > end:
                break
            if code == _OPTION_TSRESOL and length == 1:
                exponent = self.buffer[at]
                per_second = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
            elif code == _OPTION_TSOFFSET and length == 8:
                (offset_s,) = struct.unpack_from(self.order + "q", self.buffer, at)
            at += (length + 3) & ~3
        multiply, divide = (
            (10**9 // per_second, 1) if 10**9 % per_second == 0 else (10**9, per_second)
        )
        self.interfaces.append(
            Interface(linktype, snaplen, multiply, divide, offset_s * 1_000_000_000)
        )

    def enhanced(self, offset: int, total: int) -> tuple[int, int, int, int, int]:
        """An Enhanced Packet Block: link type, packet's offset, captured, wire length, time."""
        number, high, low, captured, wire = self._five(self.buffer, offset + 8)
        return self._timed(number, high << 32 | low, offset, captured, wire, total)

    def old(self, offset: int, total: int) -> tuple[int, int, int, int, int]:
        """A Packet Block (obsolete): its interface number has 16 bits, a drop count the others."""
        _, high, low, captured, wire = self._five(self.buffer, offset + 8)
        (number,) = struct.unpack_from(self.order + "H", self.buffer, offset + 8)
        return self._timed(number, high << 32 | low, offset, captured, wire, total)

    def _timed(
        self, number: int, ticks: int, offset: int, captured: int, wire: int, total: int
    ) -> tuple[int, int, int, int, int]:
        if captured > total - 32 or captured > MAX_CAPTURED:
            raise _Damage(f"the packet there claims {captured} bytes in a block of {total}")
        if number >= len(self.interfaces):
            raise _Damage(f"the packet block there names interface {number}, never described")
        interface = self.interfaces[number]
        time = ticks * interface.multiply // interface.divide + interface.offset
        return interface.linktype, offset + 28, captured, wire, time

    def simple(self, offset: int, total: int) -> tuple[int, int, int, int, int]:
        """A Simple Packet Block: the section's first interface, no time stamp."""
        if not self.interfaces:
            raise _Damage("the simple packet block there has no interface")
        interface = self.interfaces[0]
        (wire,) = struct.unpack_from(self.order + "I", self.buffer, offset + 8)
        captured = min(wire, interface.snaplen or wire)
        if captured > total - 16 or captured > MAX_CAPTURED:
            raise _Damage(f"the packet there claims {captured} bytes in a block of {total}")
        return interface.linktype, offset + 12, captured, wire, 0


_ORDERS = {struct.pack(order + "I", BYTE_ORDER_MAGIC): order for order in "<>"}
_PACKETS = {
    ENHANCED_PACKET: _Section.enhanced,
    OLD_PACKET: _Section.old,
    SIMPLE_PACKET: _Section.simple,
}
