"""Rows for the map of queries: as many different keys as wanted, each with a count on every CPU."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice, product

from xdpdns import kernel, vocab
from xdpdns.layout import Layout
from xdpdns.settings import ProgramSettings


def keys(layout: Layout) -> Iterator[bytes]:
    """struct stats_key in the shape of `layout` (with all dimensions), all of them different.

    Types and TLDs change fastest, as they do in traffic; every text is one that a program can make.
    """
    tlds = sorted(ProgramSettings().allowed_tlds or ())
    width = layout.fields["tld"].count
    for edns, bits, af, qtype, tld in product(
        range(2, 9), range(0, 256, 32), (4, 6), vocab.registered_qtypes(), tlds
    ):
        head = struct.pack("<BBBBHB", af, 17, bits, edns, qtype, len(tld))
        yield head.ljust(layout.fields["tld"].offset, b"\0") + tld.rjust(width, b"\0")


def fill(fd: int, layout: Layout, count: int, start: int = 0) -> None:
    """Write rows `start` to `count` into the map."""
    cpus = kernel.possible_cpus()
    for number, key in enumerate(islice(keys(layout), start, count), start):
        each = [1 + number * 7919 % 1_000_003 + cpu for cpu in range(cpus)]
        kernel.map_update(fd, key, struct.pack(f"<{cpus}Q", *each))
