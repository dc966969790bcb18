"""Rows as memory, from files of memory in place of the kernel's maps."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from xdpdns import kernel, vocab
from xdpdns.rows import ROWS_IN_BLOCK, RowsReader, entries

CPUS = 3
KEY = 8
ROOM = 2300


class Maps:
    """The three maps, and what the program does with them."""

    def __init__(self) -> None:
        room = entries(ROOM, CPUS)
        sizes = {"counts": 8 * room["counts"], "keys": KEY * room["keys"], "numbers": 16}
        self.fds = {name: os.memfd_create(name) for name in sizes}
        for name, size in sizes.items():
            os.ftruncate(self.fds[name], -(-size // 4096) * 4096)

    def numbers(self, given: int, rows: int) -> None:
        os.pwrite(self.fds["numbers"], struct.pack("<QQ", given, rows), 0)

    def row(self, number: int, name: str, *counts: int) -> None:
        """Write a row with its count on each CPU."""
        os.pwrite(self.fds["keys"], name.encode().ljust(KEY, b"\0"), KEY * number)
        block, place = divmod(number, ROWS_IN_BLOCK)
        for cpu, count in enumerate(counts):
            at = (block * CPUS + cpu) * ROWS_IN_BLOCK + place
            os.pwrite(self.fds["counts"], struct.pack("<Q", count), 8 * at)


@pytest.fixture
def maps() -> Iterator[Maps]:
    made = Maps()
    yield made
    for fd in made.fds.values():
        os.close(fd)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[RowsReader]:
    monkeypatch.setattr(kernel, "cpu_numbers", lambda: CPUS)
    with closing(RowsReader(KEY, ROOM, lambda key: (key.rstrip(b"\0").decode(),))) as made:
        yield made


def test_nothing_is_there(maps: Maps, reader: RowsReader) -> None:
    assert not reader.read(maps.fds)
    assert not reader.read(maps.fds)


def test_counts_of_all_cpus_over_several_blocks(maps: Maps, reader: RowsReader) -> None:
    for number in range(1300):
        maps.row(number, f"k{number}", number, 0, 1)
    maps.numbers(1300, 1300)
    assert reader.read(maps.fds) == {(f"k{n}",): n + 1 for n in range(1300)}
    maps.row(1299, "k1299", 2**62, 2**62, 5)
    assert reader.read(maps.fds)["k1299",] == 2**63 + 5


def test_a_number_without_a_row_is_none(maps: Maps, reader: RowsReader) -> None:
    """A CPU keeps the number for its next row, which comes out of turn."""
    maps.row(0, "first", 1, 0, 0)
    maps.row(1, "was second to make first", 0, 0, 0)
    maps.row(2, "third", 0, 0, 7)
    maps.numbers(3, 2)
    assert reader.read(maps.fds) == {("first",): 1, ("third",): 7}
    maps.row(1, "second", 0, 3, 0)
    maps.numbers(3, 3)
    assert list(reader.read(maps.fds).items()) == [
        (("first",), 1),
        (("third",), 7),
        (("second",), 3),
    ]


def test_a_row_that_is_being_made_comes_with_its_count(maps: Maps, reader: RowsReader) -> None:
    maps.row(0, "first", 1, 0, 0)
    maps.numbers(2, 2)  # the second one's counter is not yet 1
    assert reader.read(maps.fds) == {("first",): 1}
    maps.row(1, "second", 1, 0, 0)
    assert reader.read(maps.fds) == {("first",): 1, ("second",): 1}


def test_labels_are_the_same_objects_until_a_row_comes(maps: Maps, reader: RowsReader) -> None:
    for number in range(600):
        maps.row(number, f"k{number}", 1, 1, 1)
    maps.numbers(600, 600)
    before = reader.read(maps.fds).chunks
    maps.row(599, "k599", 5, 5, 5)
    again = reader.read(maps.fds).chunks
    assert [one is other for (one, _), (other, _) in zip(before, again, strict=True)] == [True] * 2
    maps.row(600, "k600", 1, 0, 0)
    maps.numbers(601, 601)
    after = reader.read(maps.fds).chunks
    assert [one is other for (one, _), (other, _) in zip(before, after, strict=True)] == [
        True,
        False,
    ]
    assert after[1][0][-1] == ("k600",)


def test_all_room_is_used(maps: Maps, reader: RowsReader) -> None:
    """Every CPU may keep one number more than there can be rows."""
    for number in range(ROOM):
        maps.row(number, f"k{number}", 1, 0, 0)
    maps.numbers(ROOM + CPUS, ROOM)
    assert len(reader.read(maps.fds)) == ROOM


def test_only_what_is_used_is_mapped(maps: Maps, reader: RowsReader) -> None:
    maps.row(0, "first", 1, 0, 0)
    maps.numbers(1, 1)
    reader.read(maps.fds)
    sizes = {name: window.size for name, window in reader.windows.items()}
    assert sizes == {"counts": 4096 * CPUS, "keys": 4096, "numbers": 4096}
    reader.close()
    assert not reader.windows
    assert reader.read(maps.fds) == {("first",): 1}


def test_windows_grow_to_the_end_of_the_maps(maps: Maps, reader: RowsReader) -> None:
    room = entries(ROOM, CPUS)
    for number in range(ROOM):
        maps.row(number, f"k{number}", 1, 0, 0)
        if number % 100 == 99:
            maps.numbers(number + 1, number + 1)
            assert len(reader.read(maps.fds)) == number + 1
            assert reader.windows["counts"].size <= 8 * room["counts"]
            assert reader.windows["keys"].size < KEY * room["keys"] + 4096


def test_the_program_has_as_many_rows_in_a_block() -> None:
    text = (vocab.bpf_folder() / "rows.h").read_text()
    [found] = re.findall(r"#define ROWS_IN_BLOCK (\d+)", text)
    assert int(found) == ROWS_IN_BLOCK
