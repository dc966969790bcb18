"""Reading captures: hand-made bytes of every format, and real files against dpkt and Wireshark."""

from __future__ import annotations

import gzip
import itertools
import lzma
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import dpkt
import pytest

from xdpdns.capture import Capture, Packet
from xdpdns.capture.streams import MARGIN, WINDOW
from xdpdns.errors import CaptureError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

S = 1_000_000_000
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": zstd.compress,
}


def pcap(
    packets: list[tuple[int, bytes]],
    linktype: int = 1,
    order: str = "<",
    magic: int = 0xA1B2C3D4,
    unit: int = 1000,
    extra: bytes = b"",
) -> bytes:
    """A pcap file of (ns, bytes)."""
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, linktype)]
    for time, data in packets:
        header = (time // S, time % S // unit, len(data), len(data) + 7)
        parts += [struct.pack(order + "IIII", *header), extra, data]
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(linktype: int = 1, order: str = "<", snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def enhanced(ticks: int, data: bytes, number: int = 0, order: str = "<") -> bytes:
    head = (number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data) + 7)
    return block(6, struct.pack(order + "IIIII", *head) + data, order)


def write(folder: Path, data: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read(path: Path) -> list[Packet]:
    with Capture(path) as capture:
        return list(capture.packets())


def read_damaged(path: Path) -> tuple[list[Packet], CaptureError]:
    packets: list[Packet] = []
    with Capture(path) as capture, pytest.raises(CaptureError) as caught:
        packets.extend(capture.packets())
    return packets, caught.value


def frames(path: Path) -> Iterator[bytes]:
    with Capture(path) as capture:
        for batch in capture.frames():
            for offset, length in zip(batch.offsets, batch.lengths, strict=True):
                yield bytes(batch.buffer[offset : offset + length])


PACKETS = [(1_700_000_000 * S + 1000 * i * i, bytes([i]) * (i * 5)) for i in range(40)]
EXPECTED = [Packet(time, len(data) + 7, 1, data) for time, data in PACKETS]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("magic", "unit", "extra"),
    [(0xA1B2C3D4, 1000, b""), (0xA1B23C4D, 1, b""), (0xA1B2CD34, 1000, bytes(8))],
    ids=["micro", "nano", "kuznetsov"],
)
def test_pcap_flavours(tmp_path: Path, order: str, magic: int, unit: int, extra: bytes) -> None:
    path = write(tmp_path, pcap(PACKETS, 1, order, magic, unit, extra))
    assert read(path) == EXPECTED


def test_linktype_field_may_tell_the_length_of_a_frame_check_sequence(tmp_path: Path) -> None:
    assert read(write(tmp_path, pcap(PACKETS, 0x1400_0001))) == EXPECTED


@pytest.mark.parametrize("order", "<>")
def test_pcapng_blocks(tmp_path: Path, order: str) -> None:
    old = struct.pack(order + "HHIIII", 1, 9, 0, 5, 3, 60) + b"old"
    path = write(
        tmp_path,
        section(order)
        + interface(1, order, 4)
        + interface(101, order)
        + enhanced(1_700_000_000_000_123, b"first", 0, order)
        + block(4, b"a name resolution block", order)
        + enhanced(7, b"other", 1, order)
        + block(2, old, order)
        + block(3, struct.pack(order + "I", 9) + b"simp", order),
    )
    assert read(path) == [
        Packet(1_700_000_000 * S + 123_000, 12, 1, b"first"),
        Packet(7000, 12, 101, b"other"),
        Packet(5000, 60, 101, b"old"),
        Packet(0, 9, 1, b"simp"),
    ]


@pytest.mark.parametrize(
    ("options", "ticks", "nanoseconds"),
    [
        (option(9, b"\x09"), 1_700_000_000 * S + 1, 1_700_000_000 * S + 1),
        (option(9, b"\x00"), 17, 17 * S),
        (option(9, b"\x0c"), 2_000_999, 2000),
        (option(9, b"\x94"), 3 << 19, 1_500_000_000),
        (option(2, b"eth0") + option(14, struct.pack("<q", -5)), 6_000_001, 1_000_001_000),
        (option(9, b"\x03") + option(14, struct.pack("<q", 1 << 31)), 4, (1 << 31) * S + 4_000_000),
        (option(0, b"") + option(9, b"\x09"), 1, 1000),
    ],
    ids=["nano", "seconds", "pico", "binary", "offset", "milli-offset", "after-the-end"],
)
def test_pcapng_times(tmp_path: Path, options: bytes, ticks: int, nanoseconds: int) -> None:
    path = write(tmp_path, section() + interface(options=options) + enhanced(ticks, b"x"))
    assert [packet.timestamp for packet in read(path)] == [nanoseconds]


def test_pcapng_sections_have_their_own_byte_order_and_interfaces(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        section("<")
        + interface(1, "<")
        + enhanced(1, b"little", 0, "<")
        + section(">")
        + interface(228, ">")
        + enhanced(2, b"big", 0, ">"),
    )
    assert [(p.linktype, p.data) for p in read(path)] == [(1, b"little"), (228, b"big")]


def test_pcapng_block_longer_than_the_window_is_stepped_over(tmp_path: Path) -> None:
    secrets = block(10, bytes(3 * WINDOW))
    path = write(tmp_path, section() + interface() + secrets + enhanced(1, b"x") + secrets)
    assert [packet.data for packet in read(path)] == [b"x"]
    cut = write(tmp_path, section() + interface() + enhanced(1, b"x") + secrets[:-1])
    packets, error = read_damaged(cut)
    assert [packet.data for packet in packets] == [b"x"]
    assert error.offset == len(section() + interface() + enhanced(1, b"x"))


@pytest.mark.parametrize("form", COMPRESSORS)
def test_windows_meet_without_a_seam(tmp_path: Path, form: str) -> None:
    pick = random.Random(1)
    packets = [
        (1_700_000_000 * S + i * 1000, pick.randbytes(pick.choice((0, 60, 99, 1514, 70_000))))
        for i in range(400)
    ]
    packets.append((1_700_000_001 * S, pick.randbytes(262_144)))
    data = pcap(packets)
    assert len(data) > 4 * WINDOW
    path = write(tmp_path, COMPRESSORS[form](data))
    assert [(p.timestamp, p.data) for p in read(path)] == packets
    assert list(frames(path)) == [data for _, data in packets]


@pytest.mark.parametrize("form", COMPRESSORS)
def test_compression_is_known_by_content_and_position_counts_bytes_on_disk(
    tmp_path: Path, form: str
) -> None:
    path = write(tmp_path, COMPRESSORS[form](pcap(PACKETS)), "misnamed.txt")
    with Capture(path) as capture:
        assert list(capture.packets()) == EXPECTED
        assert capture.position == capture.size == path.stat().st_size


@pytest.mark.parametrize("form", ["gz", "xz", "zst"])
def test_concatenated_compressed_members_are_one_file(tmp_path: Path, form: str) -> None:
    data = pcap(PACKETS)
    compress = COMPRESSORS[form]
    assert read(write(tmp_path, compress(data[:100]) + compress(data[100:]))) == EXPECTED


def test_a_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(pcap(PACKETS)),))
    writer.start()
    with Capture(pipe) as capture:
        assert list(capture.packets()) == EXPECTED
        assert (capture.position, capture.size) == (0, 0)
    writer.join()


@pytest.mark.parametrize("data", [pcap([]), section(), section() + interface()])
def test_a_capture_without_packets_is_valid(tmp_path: Path, data: bytes) -> None:
    assert read(write(tmp_path, data)) == []


def records(data: bytes, first: int, starts: list[int]) -> Iterator[tuple[int, int, int]]:
    """For each cut of `data`: its length, whole packets, where the next would begin."""
    for length in range(first, len(data)):
        whole = sum(1 for start in starts[1:] if start <= length)
        yield length, whole, starts[whole]


def test_pcap_cut_at_every_length(tmp_path: Path) -> None:
    data = pcap(PACKETS[:6])
    starts = [24]
    for _, packet in PACKETS[:6]:
        starts.append(starts[-1] + 16 + len(packet))
    for length, whole, start in records(data, 24, starts):
        path = write(tmp_path, data[:length])
        if length == start:
            assert read(path) == EXPECTED[:whole]
        else:
            packets, error = read_damaged(path)
            assert (packets, error.offset) == (EXPECTED[:whole], start)
            assert f"byte {start}" in str(error)


def test_pcapng_cut_at_every_length(tmp_path: Path) -> None:
    blocks = [section() + interface(), *(enhanced(t // 1000, data) for t, data in PACKETS[:6])]
    starts = [sum(map(len, blocks[:i])) for i in range(1, len(blocks) + 1)]
    data = b"".join(blocks)
    for length, whole, start in records(data, starts[0], starts):
        path = write(tmp_path, data[:length])
        if length == start:
            assert read(path) == EXPECTED[:whole]
        else:
            packets, error = read_damaged(path)
            assert (packets, error.offset) == (EXPECTED[:whole], start)


@pytest.mark.parametrize("form", ["gz", "xz", "zst"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_compression_gives_what_was_readable(
    tmp_path: Path, form: str, damage: str
) -> None:
    pick = random.Random(2)
    packets = [(1_700_000_000 * S, pick.randbytes(1000)) for _ in range(5000)]
    whole = COMPRESSORS[form](pcap(packets))
    half = len(whole) // 2
    flipped = whole[:half] + bytes(b ^ 0xFF for b in whole[half : half + 64]) + whole[half + 64 :]
    path = write(tmp_path, whole[:half] if damage == "cut" else flipped)
    got, error = read_damaged(path)
    assert len(got) < 5000
    assert 24 + 1016 * len(got) == error.offset
    if damage == "cut" and form != "xz":  # random data: as much comes out as went in
        assert len(got) == pytest.approx(2500, rel=0.1)
    if damage == "cut":
        assert [p.data for p in got] == [data for _, data in packets[: len(got)]]


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_compressed_file_cut_in_its_header(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, gzip.compress(random.Random(3).randbytes(99))[:cut])
    with pytest.raises(CaptureError, match=r"no capture|compressed data ends early"):
        read(path)


def damaged_files() -> dict[str, tuple[bytes, int, str]]:
    good = pcap(PACKETS[:2])
    absurd = struct.pack("<IIII", 1, 2, 0x7FFFFFFF, 0x7FFFFFFF)
    head = section() + interface()
    at = len(head)
    long_packet = struct.pack("<IIIII", 0, 0, 1, 300_000, 300_000) + bytes(300_000)
    return {
        "pcap-length": (good + absurd + bytes(99), len(good), "2147483647 bytes"),
        "total-zero": (head + struct.pack("<III", 6, 0, 0), at, "claims 0 bytes"),
        "total-odd": (head + struct.pack("<III", 6, 33, 0) + bytes(99), at, "claims 33 bytes"),
        "total-huge": (head + struct.pack("<III", 99, 1 << 30, 0), at, "1073741824 bytes"),
        "packet-huge": (head + struct.pack("<III", 6, 1 << 21, 0), at, "2097152 bytes"),
        "packet-over-block": (
            head + block(6, struct.pack("<IIIII", 0, 0, 1, 99, 99)),
            at,
            "99 bytes",
        ),
        "packet-over-limit": (head + block(6, long_packet), at, "300000 bytes"),
        "packet-too-short": (head + block(6, bytes(8)), at, "block"),
        "simple-too-short": (head + block(3, b""), at, "block"),
        "simple-over-block": (head + block(3, struct.pack("<I", 50) + b"x"), at, "50 bytes"),
        "unknown-interface": (head + enhanced(1, b"x", 1), at, "interface 1"),
        "simple-no-interface": (section() + block(3, bytes(8)), 28, "no interface"),
        "interface-too-short": (section() + block(1, b"\x01\x00"), 28, "interface description"),
        "section-no-mark": (head + block(0x0A0D0D0A, bytes(16)), at, "byte order"),
    }


@pytest.mark.parametrize("case", damaged_files())
def test_nonsense_is_an_error_with_its_offset(tmp_path: Path, case: str) -> None:
    data, offset, text = damaged_files()[case]
    _, error = read_damaged(write(tmp_path, data))
    assert error.offset == offset
    assert text in str(error)
    assert str(error).endswith(".")


def test_damage_of_any_kind_is_a_capture_error(tmp_path: Path) -> None:
    pick = random.Random(4)
    few = PACKETS[:6]
    stamped = interface(options=option(9, b"\x06") + option(14, bytes(8)))
    blocks = section() + stamped + b"".join(enhanced(time // 1000, data) for time, data in few)
    blocks += block(3, struct.pack("<I", 4) + b"abcd") + section(">") + interface(101, ">")
    files = [pcap(few), pcap(few, 113, ">"), pcap(few, 0), blocks]
    files += [COMPRESSORS[form](blocks) for form in ("gz", "xz", "zst")]
    readable = 0
    for _ in range(2000):
        data = bytearray(pick.choice(files))
        for _ in range(pick.randrange(1, 6)):
            at = pick.randrange(len(data))
            data[at : at + pick.choice((0, 1, 1, 1, 9))] = pick.randbytes(pick.choice((0, 1, 1, 9)))
        try:
            readable += len(list(frames(write(tmp_path, bytes(data)))))
        except CaptureError as error:
            assert str(error).endswith(".")  # noqa: PT017 - many files are still good
    assert readable


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it is empty"),
        (b"\xd4", "begins with d4"),
        (b"GIF89a and so on", "begins with 47 49 46 38"),
        (gzip.compress(b"", mtime=0), "it is empty"),
        (gzip.compress(b"text", mtime=0), "begins with 74 65 78 74"),
        (pcap([])[:23], "file header"),
        (b"\xd4\xc3\xb2\xa1\x03\x00\x00\x00" + bytes(16), "version 3.0"),
    ],
)
def test_what_is_no_capture(tmp_path: Path, data: bytes, text: str) -> None:
    with pytest.raises(CaptureError, match=text):
        Capture(write(tmp_path, data))


@pytest.mark.parametrize(("name", "mend"), [("absent", "check the path"), ("", "name the files")])
def test_what_can_not_be_opened(tmp_path: Path, name: str, mend: str) -> None:
    with pytest.raises(CaptureError, match=mend):
        Capture(tmp_path / name)


IP4, IP6 = b"\x45" + bytes(19), b"\x60" + bytes(39)
MACS = bytes(12)


def cooked1(arphrd: int, protocol: int) -> bytes:
    return struct.pack(">HHH8sH", 4, arphrd, 6, bytes(8), protocol)


def cooked2(arphrd: int, protocol: int) -> bytes:
    return struct.pack(">HHIHBB8s", protocol, 0, 2, arphrd, 4, 6, bytes(8))


@pytest.mark.parametrize(
    ("linktype", "packet", "frame"),
    [
        (1, b"\x01" * 60, b"\x01" * 60),
        (1, b"\x01" * 13, b"\x01" * 13),
        (113, cooked1(1, 0x0800) + IP4, MACS + b"\x08\x00" + IP4),
        (113, cooked1(1, 0x86DD) + IP6, MACS + b"\x86\xdd" + IP6),
        (113, cooked1(1, 0x8100) + b"vlan", MACS + b"\x81\x00vlan"),
        (113, cooked1(824, 0x0800) + IP4, MACS + b"\x00\x00" + IP4),
        (113, cooked1(770, 0x0800) + IP4, MACS + b"\x00\x00" + IP4),
        (113, cooked1(803, 0x0800) + IP4, MACS + b"\x00\x00" + IP4),
        (113, cooked1(1, 0x0800), MACS + b"\x08\x00"),
        (113, cooked1(1, 0x0800)[:15], cooked1(1, 0x0800)[:13]),
        (276, cooked2(1, 0x0800) + IP4, MACS + b"\x08\x00" + IP4),
        (276, cooked2(824, 0x0800) + IP4, MACS + b"\x00\x00" + IP4),
        (276, cooked2(1, 0x86DD)[:19], cooked2(1, 0x86DD)[:13]),
        (101, IP4, MACS + b"\x08\x00" + IP4),
        (101, IP6, MACS + b"\x86\xdd" + IP6),
        (12, IP4, MACS + b"\x08\x00" + IP4),
        (14, IP6, MACS + b"\x86\xdd" + IP6),
        (101, b"\x50any", MACS + b"\x00\x00\x50any"),
        (101, b"", b""),
        (228, b"\x50any", MACS + b"\x08\x00\x50any"),
        (229, IP6, MACS + b"\x86\xdd" + IP6),
        (0, b"\x02\x00\x00\x00" + IP4, MACS + b"\x08\x00" + IP4),
        (0, b"\x00\x00\x00\x02" + IP4, MACS + b"\x08\x00" + IP4),
        *(
            (0, family.to_bytes(4, order) + IP6, MACS + b"\x86\xdd" + IP6)
            for family in (10, 24, 28, 30)
            for order in ("little", "big")
        ),
        (0, b"\x07\x00\x00\x00" + IP4, MACS + b"\x00\x00" + IP4),
        (0, b"\x02\x00\x00", b"\x02\x00\x00"),
        (108, b"\x00\x00\x00\x1c" + IP6, MACS + b"\x86\xdd" + IP6),
        (108, b"\x02\x00\x00\x00" + IP4, MACS + b"\x00\x00" + IP4),
    ],
)
def test_rewrap(tmp_path: Path, linktype: int, packet: bytes, frame: bytes) -> None:
    path = write(tmp_path, pcap([(1, packet)] * 3, linktype))
    assert list(frames(path)) == [frame] * 3
    simple = block(3, struct.pack("<I", len(packet)) + packet)
    path = write(tmp_path, section() + interface(linktype) + simple * 3)
    assert list(frames(path)) == [frame] * 3


def test_rewrap_of_the_first_packet_in_a_window_stays_in_the_margin(tmp_path: Path) -> None:
    filler = block(99, bytes(WINDOW - len(section() + interface(101)) - 12))
    simple = block(3, struct.pack("<I", 20) + IP4)
    path = write(tmp_path, section() + interface(101) + filler + simple)
    with Capture(path) as capture:
        batches = [(batch.offsets[0], len(batch)) for batch in capture.frames()]
    assert batches == [(MARGIN + 12 - 14, 1)]
    assert list(frames(path)) == [MACS + b"\x08\x00" + IP4]


@pytest.mark.parametrize(
    ("linktype", "named"), [(105, r"105 \(IEEE 802.11\)"), (147, "link type 147,")]
)
def test_other_link_types_are_named(tmp_path: Path, linktype: int, named: str) -> None:
    with Capture(write(tmp_path, pcap(PACKETS, linktype))) as capture:
        with pytest.raises(CaptureError, match=named):
            capture.frames()
        assert len(list(capture.packets())) == len(PACKETS)
    data = section() + interface(1) + interface(linktype) + enhanced(1, b"good")
    path = write(tmp_path, data + enhanced(1, b"bad", 1))
    with Capture(path) as capture:
        reader = capture.frames()
        assert len(next(reader)) == 1
        with pytest.raises(CaptureError, match=named):
            next(reader)


@pytest.mark.parametrize("form", COMPRESSORS)
def test_memory_stays_flat(tmp_path: Path, form: str) -> None:
    # All zeros: the worst case for a decompressor that gives all it has at once.
    path = write(tmp_path, COMPRESSORS[form](pcap([(S, bytes(9984))] * 10_000)))
    tracemalloc.start()
    try:
        with Capture(path) as capture:
            assert sum(len(batch) for batch in capture.batches()) == 10_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # xz keeps a dictionary of 8 MiB, and the file holds 100.
    assert peak < 16 * WINDOW


def shared(folder: Path) -> list[Path]:
    files = sorted(folder.glob("**/*cap*"))
    files = [path for path in files if path.is_file()]
    assert len(files) > 300
    return files


def is_pcapng(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x0a\x0d\x0d\x0a")


# Damaged files, and the byte up to which they make sense.
DAMAGED = {
    "PcapPlusPlus__Tests_Fuzzers_RegressionTests_regression_samples_"
    "clusterfuzz-testcase-FuzzTarget-5188876846235648.pcap": 1064,
    "dpkt__examples_data_truncated_dns_2.pcap": 240,
}


def read_shared(path: Path) -> list[Packet]:
    if path.name not in DAMAGED:
        return read(path)
    packets, error = read_damaged(path)
    assert error.offset == DAMAGED[path.name]
    return packets


def test_shared_captures_agree_with_dpkt(captures: Path) -> None:
    """Every packet of every shared capture: its bytes, and in pcap files its time."""
    for path in shared(captures):
        mine = read_shared(path)
        with path.open("rb") as file:
            # Damaged files: dpkt gives a half packet as if it were a whole one, or fails.
            count = len(mine) if path.name in DAMAGED else None
            theirs = list(itertools.islice(dpkt.pcap.UniversalReader(file), count))
        assert [packet.data for packet in mine] == [data for _, data in theirs], path.name
        if is_pcapng(path):
            continue  # dpkt 1.9.8 takes nanoseconds for microseconds there; tshark judges below
        for packet, (time, _) in zip(mine, theirs, strict=True):
            # dpkt computes seconds as a float: a microsecond is as near as it gets.
            assert abs(packet.timestamp - Decimal(time) * S) < 1000, path.name


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_shared_pcapng_times_agree_with_tshark(captures: Path) -> None:
    """Every packet's time, to the nanosecond."""
    for path in filter(is_pcapng, shared(captures)):
        fields = ["-T", "fields", "-e", "frame.time_epoch"]
        answer = subprocess.run(
            ["tshark", "-n", "-r", path, *fields], capture_output=True, text=True, check=True
        )
        theirs = [int(Decimal(line) * S) for line in answer.stdout.splitlines()]
        assert [packet.timestamp for packet in read(path)] == theirs, path.name


@pytest.mark.skipif(shutil.which("capinfos") is None, reason="needs tshark's capinfos")
def test_shared_captures_agree_with_capinfos(captures: Path) -> None:
    """Packets and bytes on the wire, as Wireshark's reader counts them."""
    files = [path for path in shared(captures) if path.name not in DAMAGED]
    answer = subprocess.run(
        ["capinfos", "-T", "-r", "-m", "-c", "-d", *files],
        capture_output=True,
        text=True,
        check=True,
    )
    mine = []
    for path in files:
        packets = read(path)
        mine.append(f"{path},{len(packets)},{sum(packet.wire_length for packet in packets)}")
    assert answer.stdout.splitlines() == mine
