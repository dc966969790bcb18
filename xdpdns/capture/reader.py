"""One capture file: what it is, its packets, and how far reading has come."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Self

from xdpdns.capture import pcap, pcapng
from xdpdns.capture.batch import Batch
from xdpdns.capture.rewrap import check_linktype, rewrap
from xdpdns.capture.streams import Window
from xdpdns.errors import CaptureError


class Packet(NamedTuple):
    """One packet with its link header; time in ns since 1970 UTC, 0 where the file has none."""

    timestamp: int
    wire_length: int
    linktype: int
    data: bytes


class Capture:
    """An open capture file, or a pipe; read once, from the first packet to the last.

    `linktype` is the LINKTYPE_ number of a pcap file, None for pcapng (each interface has its own).

    Raises:
        CaptureError: the file can't be opened, or is no capture.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.linktype: int | None = None
        self._window = Window(self.path)
        try:
            self._batches = self._open()
        except BaseException:
            self._window.close()
            raise

    def _open(self) -> Iterator[Batch]:
        window = self._window
        window.fill()
        magic = bytes(window.buffer[window.start : min(window.end, window.start + 4)])
        if magic in pcap.FLAVOURS:
            flavour, self.linktype = pcap.read_header(window)
            return pcap.batches(window, flavour, self.linktype)
        if magic == pcapng.MAGIC:
            return pcapng.batches(window)
        if not magic:
            window.finish("file header")
        begins = f"it begins with {magic.hex(' ')}" if magic else "it is empty"
        raise CaptureError(
            f"{self.path} is no capture ({begins}): "
            "name a pcap or pcapng file, plain or compressed with gzip, xz or zstd."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._window.close()

    @property
    def size(self) -> int:
        """Bytes of the file on disk, compressed as it is (0 for a pipe)."""
        return self._window.size

    @property
    def position(self) -> int:
        """How many of :attr:`size` bytes have been read."""
        return self._window.position

    def batches(self) -> Iterator[Batch]:
        """The packets as they were captured, a window at a time.

        Raises:
            CaptureError: after the last readable packet of a damaged file; `offset` is the byte in
                the uncompressed file up to which it made sense.
        """
        return self._batches

    def frames(self) -> Iterator[Batch]:
        """The packets as Ethernet frames, a window at a time.

        Raises:
            CaptureError: at once when a pcap file's link type can't be made Ethernet, on the way
                when a pcapng interface's can't, and as in :meth:`batches`.
        """
        if self.linktype is not None:
            check_linktype(self.linktype, self.path)
        return (rewrap(batch, self.path) for batch in self._batches)

    def packets(self) -> Iterator[Packet]:
        """The packets as they were captured, one by one, copied.

        Raises:
            CaptureError: as in :meth:`batches`.
        """
        for batch in self._batches:
            for offset, length, wire_length, timestamp in zip(
                batch.offsets, batch.lengths, batch.wire_lengths, batch.timestamps, strict=True
            ):
                data = bytes(batch.buffer[offset : offset + length])
                yield Packet(timestamp, wire_length, batch.linktype, data)
