"""Bytes from a file, compressed or not, through one window of fixed size."""

from __future__ import annotations

import gzip
import lzma
import os
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from xdpdns.errors import CaptureError

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\x00"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

WINDOW = 1 << 20
"""Bytes held at once: a few thousand packets, small enough for a CPU's cache."""

MARGIN = 16
"""Writable bytes kept in front of the window, for the Ethernet header of its first packet."""

MAX_CAPTURED = 256 * 1024
"""The longest packet believed; tcpdump and Wireshark draw the line at the same place."""

_DECODING_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)


def os_error(path: Path, error: OSError) -> CaptureError:
    """One sentence for a file that the system would not give."""
    mend = {
        FileNotFoundError: "check the path",
        PermissionError: "make it readable, or run as a user that may read it",
        IsADirectoryError: "name the files in it",
    }.get(type(error), "check the file and its disk")
    return CaptureError(f"{path} can't be read ({error.strerror or error}): {mend}.")


class Window:
    """A sliding view of a capture's uncompressed bytes.

    Unread bytes are `buffer[start:end]`; the byte `buffer[start]` has the offset `offset` in the
    uncompressed file. Compression is known by its magic number, never by the file's name.

    Raises:
        CaptureError: the file can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.buffer = bytearray(MARGIN + WINDOW)
        self._view = memoryview(self.buffer)
        self.start = self.end = MARGIN
        self._filled = 0
        self._failure: Exception | None = None
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise os_error(path, error) from error
        try:
            self._seekable = self._file.seekable()
            self.size = os.fstat(self._file.fileno()).st_size if self._seekable else 0
            self._stream = _decompressed(self._file)
        except OSError as error:
            self._file.close()
            raise os_error(path, error) from error

    def close(self) -> None:
        """Close the file; the window's bytes stay."""
        self._stream.close()
        self._file.close()

    @property
    def position(self) -> int:
        """Bytes read of the file on disk, before decompression (0 for a pipe)."""
        return self._file.tell() if self._seekable and not self._file.closed else 0

    @property
    def offset(self) -> int:
        """The offset of `buffer[start]` in the uncompressed file."""
        return self._filled - (self.end - self.start)

    def fill(self) -> bool:
        """Move what is unread to the front and read behind it until the window is full.

        Returns whether there is anything new. The end of the file and a failure to read or to
        decompress both end the bytes; :meth:`finish` tells them apart.
        """
        rest = self.end - self.start
        self._view[MARGIN : MARGIN + rest] = self._view[self.start : self.end]
        self.start, self.end = MARGIN, MARGIN + rest
        while self.end < len(self.buffer) and self._failure is None:
            try:
                count = self._stream.readinto1(self._view[self.end :])  # type: ignore[attr-defined]
            except _DECODING_ERRORS as error:
                self._failure = error
                break
            if not count:
                break
            self.end += count
            self._filled += count
        return self.end - self.start > rest

    def skip(self, count: int, what: str) -> None:
        """Step over a `what` of `count` bytes, however many windows it fills.

        Raises:
            CaptureError: the file ends inside it.
        """
        cut_off = self.error(f"the {what} that begins there is cut off; copy the file again")
        while count > self.end - self.start:
            count -= self.end - self.start
            self.start = self.end
            if not self.fill():
                raise cut_off
        self.start += count

    def finish(self, what: str) -> None:
        """Say that no whole `what` is left, at the end of the file.

        Raises:
            CaptureError: bytes are left over, or the file could not be read to its end.
        """
        if isinstance(self._failure, EOFError):
            raise self.error("the compressed data ends early; copy the file again")
        if self._failure is not None:
            reason = str(self._failure) or type(self._failure).__name__
            raise self.error(f"reading on failed ({reason}); copy the file again")
        if self.end > self.start:
            raise self.error(f"the {what} that begins there is cut off; copy the file again")

    def error(self, reason: str) -> CaptureError:
        """An error at the present offset."""
        return CaptureError(
            f"{self.path} is readable only up to byte {self.offset}: {reason}.", self.offset
        )


def _decompressed(file: BinaryIO) -> BinaryIO:
    # peek() consumes nothing, so that a pipe works as well as a file.
    magic = file.peek(6)[:6]  # type: ignore[attr-defined]
    if magic.startswith(GZIP_MAGIC):
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if magic.startswith(XZ_MAGIC):
        return cast(BinaryIO, lzma.LZMAFile(file))
    if magic.startswith(ZSTD_MAGIC):
        return cast(BinaryIO, zstd.ZstdFile(file))
    return file
