"""The records of a pcap file (draft-ietf-opsawg-pcap), in any byte order and either resolution."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from xdpdns.capture.batch import Batch
from xdpdns.capture.streams import MAX_CAPTURED, Window
from xdpdns.errors import CaptureError

FILE_HEADER = 24


@dataclass(frozen=True, slots=True)
class Flavour:
    """What the magic number says: byte order, unit of the fraction in ns, record header's size."""

    order: str
    fraction_ns: int
    record_header: int


# 0xa1b2cd34 is Kuznetsov's modified format (old Linux libpcaps): eight more bytes for each record.
FLAVOURS = {
    struct.pack(order + "I", magic): Flavour(order, fraction_ns, record_header)
    for order in "<>"
    for magic, fraction_ns, record_header in (
        (0xA1B2C3D4, 1000, 16),
        (0xA1B23C4D, 1, 16),
        (0xA1B2CD34, 1000, 24),
    )
}


def read_header(window: Window) -> tuple[Flavour, int]:
    """Take the file header off the window; returns the flavour and the link type.

    Raises:
        CaptureError: the header is cut off, or of a version other than 2.
    """
    buffer, start = window.buffer, window.start
    flavour = FLAVOURS[bytes(buffer[start : start + 4])]
    if window.end - start < FILE_HEADER:
        raise window.error("the file header is cut off; copy the file again")
    major, minor = struct.unpack_from(flavour.order + "HH", buffer, start + 4)
    if major != 2:
        raise CaptureError(
            f"{window.path} is pcap version {major}.{minor}, which is unknown: "
            "convert it with `editcap -F pcap`."
        )
    # The upper six bits of the field tell the length of a frame check sequence.
    linktype = struct.unpack_from(flavour.order + "I", buffer, start + 20)[0] & 0x03FFFFFF
    window.start += FILE_HEADER
    return flavour, linktype


def batches(window: Window, flavour: Flavour, linktype: int) -> Iterator[Batch]:
    """All whole records, a window at a time.

    Raises:
        CaptureError: after the last whole record, when the file does not end there.
    """
    buffer = window.buffer
    unpack = struct.Struct(flavour.order + "IIII").unpack_from
    header, fraction_ns = flavour.record_header, flavour.fraction_ns
    more = True
    while more:
        batch = Batch(buffer, linktype)
        add_offset, add_length = batch.offsets.append, batch.lengths.append
        add_wire, add_time = batch.wire_lengths.append, batch.timestamps.append
        offset, end, absurd = window.start, window.end, 0
        last_header = end - header
        while offset <= last_header:
            seconds, fraction, captured, wire = unpack(buffer, offset)
            packet = offset + header
            after = packet + captured
            if captured > MAX_CAPTURED:
                absurd = captured
                break
            if after > end:
                break
            add_offset(packet)
            add_length(captured)
            add_wire(wire)
            add_time(seconds * 1_000_000_000 + fraction * fraction_ns)
            offset = after
        window.start = offset
        if batch.offsets:
            yield batch
        if absurd:
            raise window.error(
                f"the packet record there claims {absurd} bytes, more than any packet has; "
                "the file is damaged, copy it again"
            )
        more = window.fill()
    window.finish("packet record")
