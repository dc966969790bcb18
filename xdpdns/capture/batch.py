"""A run of packets of one link type, still lying in the window that the file was read into."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Batch:
    """Packets `i` of a capture in file order: `buffer[offsets[i]:offsets[i] + lengths[i]]`.

    The buffer is the reader's own and is used again: a batch is valid until the next one is asked
    for. At least 16 bytes in front of the first packet, and the record header in front of each
    other one, may be overwritten (that is how :func:`~xdpdns.capture.rewrap.rewrap` works).

    `linktype` is the LINKTYPE_ number. `wire_lengths` are the lengths before the snapshot length
    cut the packets. `timestamps` are nanoseconds since 1970 UTC, 0 where the file has none
    (pcapng Simple Packet Blocks).
    """

    buffer: bytearray
    linktype: int
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    wire_lengths: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)
