"""Replay against a program of a few instructions: it counts packets and bytes and lets them pass.

And against the product's own, in what replay adds to them: two at once, and the capture's time.

What the product's own program makes of captures is judged in tests/truth.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests import packets
from tests.schemas import valid
from tests.truth.loading import compiled, load
from tests.unit.test_capture import block, enhanced, interface, pcap, section
from xdpdns import kernel, present_replay
from xdpdns.errors import CaptureError, KernelError
from xdpdns.loader import LoadedProgram
from xdpdns.replay import LONGEST_FRAME, ReplayResult, replay, to_json
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import Histogram, Marginals, Snapshot, Timing
from xdpdns.timing import CaptureClock

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

S = 1_000_000_000
XDP_DROP = 1


def insn(op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", op, dst | src << 4, off, imm)


def metering(map_fd: int, answer: int) -> bytes:
    """Adds 1 and the frame's visible length to the two halves of element 0."""
    return b"".join(
        [
            insn(0x61, 7, 1, 4),  # r7 = ctx->data_end
            insn(0x61, 3, 1, 0),  # r3 = ctx->data
            insn(0x1F, 7, 3),  # r7 -= r3
            insn(0x62, 10, 0, -4, 0),  # the key: 0
            insn(0xBF, 2, 10),
            insn(0x07, 2, 0, 0, -4),
            insn(0x18, 1, kernel.PSEUDO_MAP_FD, 0, map_fd),
            insn(0),
            insn(0x85, 0, 0, 0, 1),  # bpf_map_lookup_elem
            insn(0x15, 0, 0, 3, 0),  # not found: to the end
            insn(0xB7, 1, 0, 0, 1),
            insn(0xDB, 0, 1, 0, 0),  # atomic add 1
            insn(0xDB, 0, 7, 8, 0),  # atomic add the length
            insn(0xB7, 0, 0, 0, answer),
            insn(0x95),
        ]
    )


class Meter:
    """A loaded metering program."""

    def __init__(self, answer: int = kernel.XDP_PASS) -> None:
        spec = kernel.MapSpec("meter", kernel.MAP_TYPE_ARRAY, 4, 16, 1)
        self.map_fd = kernel.map_create(spec)
        code = metering(self.map_fd, answer)
        self.fd = kernel.prog_load(kernel.PROG_TYPE_XDP, "meter", code)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.map_fd)

    @property
    def counts(self) -> tuple[int, int]:
        """Frames and bytes that the program has seen."""
        frames, seen = struct.unpack("<QQ", kernel.map_lookup(self.map_fd, bytes(4), 16))
        return frames, seen

    def snapshot(self) -> Snapshot:
        none = Histogram((1,), (0, 0), 0)
        return Snapshot(
            dimensions=(),
            queries={},
            outcomes={"eth_truncated": 0, "other_port": self.counts[0]},
            marginals=Marginals({}, {}, {}, {}, none, none, none),
        )


@pytest.fixture
def meter() -> Iterator[Meter]:
    made = Meter()
    yield made
    made.close()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


FRAME = packets.ethernet(packets.ipv4(packets.udp(packets.dns_query("example.com", packets.A))))


def summary(result: ReplayResult) -> tuple[int, int | None, int | None]:
    assert sum(result.snapshot.outcomes.values()) == result.packets
    return result.packets, result.first_ns, result.last_ns


def test_every_frame_is_run(tmp_path: Path, meter: Meter) -> None:
    path = write(tmp_path / "a.pcap", pcap([(5 * S, FRAME), (3 * S, FRAME + b"x"), (4 * S, FRAME)]))
    result = replay([path], meter)
    assert summary(result) == (3, 3 * S, 5 * S)
    assert meter.counts == (3, 3 * len(FRAME) + 1)
    assert result.files == (str(path),)
    assert result.warnings == ()


def test_other_link_types_are_run_as_ethernet(tmp_path: Path, meter: Meter) -> None:
    path = write(tmp_path / "a.pcap", pcap([(S, FRAME[14:])], 228))
    assert summary(replay([path], meter)) == (1, S, S)
    assert meter.counts == (1, len(FRAME))


@pytest.mark.parametrize("length", [0, 1, 13])
def test_frames_that_the_kernel_refuses_are_eth_truncated(
    tmp_path: Path, meter: Meter, length: int
) -> None:
    path = write(tmp_path / "a.pcap", pcap([(S, FRAME[:length]), (S, FRAME[:14])]))
    result = replay([path], meter)
    assert summary(result) == (2, S, S)
    assert result.snapshot.outcomes == {"eth_truncated": 1, "other_port": 1}
    assert meter.counts == (1, 14)


@pytest.mark.parametrize("length", [3519, 3520, 3521, 4096, 9000, 65_549, 73_153, 262_144])
def test_long_frames_are_seen_up_to_the_linear_part(
    tmp_path: Path, meter: Meter, length: int
) -> None:
    result = replay([write(tmp_path / "a.pcap", pcap([(S, bytes(length))]))], meter)
    assert summary(result) == (1, S, S)
    frames, seen = meter.counts
    assert frames == 1
    assert seen == length or LONGEST_FRAME * 3 // 4 < seen < LONGEST_FRAME


def test_a_pipe_is_read_once(tmp_path: Path, meter: Meter) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(pcap([(S, FRAME)]),))
    writer.start()
    assert summary(replay([pipe], meter)) == (1, S, S)
    writer.join()


def test_several_files_are_one_traffic(tmp_path: Path, meter: Meter) -> None:
    paths = [
        write(tmp_path / "a.pcap", pcap([(7 * S, FRAME)])),
        write(tmp_path / "b.pcapng", section() + interface() + enhanced(2_000_000, FRAME)),
        write(tmp_path / "c.pcap", pcap([])),
        write(tmp_path / "d.pcap", pcap([(9 * S, FRAME)] * 4)),
    ]
    seen: list[tuple[int, int]] = []
    result = replay(paths, meter, lambda done, total: seen.append((done, total)))
    assert summary(result) == (6, 2 * S, 9 * S)
    assert result.files == tuple(map(str, paths))
    total = sum(path.stat().st_size for path in paths)
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)
    assert {of for _, of in seen} == {total}


def test_packets_without_a_time_do_not_count_for_first_and_last(
    tmp_path: Path, meter: Meter
) -> None:
    simple = block(3, struct.pack("<I", len(FRAME)) + FRAME)
    head = section() + interface()
    path = write(tmp_path / "a", head + simple + enhanced(5, FRAME) + enhanced(9, FRAME))
    assert summary(replay([path], meter)) == (3, 5000, 9000)
    result = replay([write(tmp_path / "b", head + simple)], meter)
    assert (result.packets, result.first_ns, result.last_ns) == (1, None, None)


def test_damaged_files_give_what_was_readable_and_a_warning(tmp_path: Path, meter: Meter) -> None:
    cut = write(tmp_path / "cut.pcap", pcap([(S, FRAME), (2 * S, FRAME), (3 * S, FRAME)])[:-1])
    good = write(tmp_path / "good.pcap", pcap([(4 * S, FRAME)]))
    result = replay([cut, good], meter)
    assert result.packets == meter.counts[0] == 3
    assert (result.first_ns, result.last_ns) == (S, 4 * S)
    offset = 24 + 2 * (16 + len(FRAME))
    assert [warning.offset for warning in result.warnings] == [offset]
    assert to_json(result)["warnings"] == [str(result.warnings[0])]
    assert f"byte {offset}" in str(result.warnings[0])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "can't be read"),
        (b"text", "no capture"),
        (pcap([(S, FRAME)], 105), r"105 \(IEEE 802.11\)"),
    ],
)
def test_a_wrong_file_is_an_error_before_anything_is_run(
    tmp_path: Path, meter: Meter, data: bytes | None, text: str
) -> None:
    good = write(tmp_path / "good.pcap", pcap([(S, FRAME)]))
    bad = tmp_path / "bad"
    if data is not None:
        bad.write_bytes(data)
    with pytest.raises(CaptureError, match=text):
        replay([good, bad], meter)
    assert meter.counts == (0, 0)


def test_no_packets_is_a_valid_result(tmp_path: Path, meter: Meter) -> None:
    path = write(tmp_path / "a.pcap", pcap([]))
    result = replay([path], meter)
    assert summary(result) == (0, None, None)
    made = to_json(result)
    assert (made["file"], made["packets"], made["first"], made["last"]) == (
        str(path),
        0,
        None,
        None,
    )
    assert made["outcomes"] == {"eth_truncated": 0, "other_port": 0}


def test_json_tells_times_to_the_nanosecond(tmp_path: Path, meter: Meter) -> None:
    path = write(tmp_path / "a.pcap", pcap([(1_700_000_000 * S + 7, FRAME)], 1, ">", 0xA1B23C4D, 1))
    made = to_json(replay([path, path], meter))
    assert made["file"] is None
    assert made["files"] == [str(path)] * 2
    assert made["first"] == made["last"] == "1700000000.000000007"


def test_a_program_that_does_not_let_packets_pass_is_a_bug(tmp_path: Path) -> None:
    dropping = Meter(XDP_DROP)
    try:
        with pytest.raises(KernelError, match="returned 1"):
            replay([write(tmp_path / "a.pcap", pcap([(S, FRAME)]))], dropping)
    finally:
        dropping.close()


QUERY = packets.frame4(packets.dns_query("example.com", packets.A))
RESPONSE = packets.ethernet(
    packets.ipv4(
        packets.udp(packets.dns_query("example.com", packets.A, qr=1), sport=53, dport=40000),
        back=True,
    )
)
MS = 1_000_000


def both(paths: list[Path]) -> ReplayResult:
    """Both of the product's programs, all responses timed."""
    queries = ProgramSettings(timing=1, capture_clock=True, tcp=True)
    responses = replace(queries, side="responses", labels=("rcode",))
    with (
        load(queries) as asked,
        closing(LoadedProgram(compiled(responses), responses, shared=asked.maps)) as answered,
        CaptureClock(asked.maps["clock"]) as clock,
    ):
        return replay(paths, asked, responses=answered, clock=clock)


def timed(result: ReplayResult) -> Timing:
    assert result.responses is not None
    timing = result.responses.timing
    assert timing is not None
    assert timing.tracked == timing.matched + timing.expired + timing.displaced + timing.waiting
    return timing


def test_both_programs_see_every_packet(tmp_path: Path) -> None:
    frames = [(S, QUERY), (S + 30 * MS, RESPONSE), (S + 40 * MS, QUERY[:10])]
    result = both([write(tmp_path / "a.pcap", pcap(frames))])
    found = [result.snapshot, result.responses]
    for snapshot, names in zip(
        found, (("query", "other_port"), ("other_port", "response")), strict=True
    ):
        assert snapshot is not None
        seen = {name: n for name, n in snapshot.outcomes.items() if n}
        assert seen == dict.fromkeys((*names, "eth_truncated"), 1)
    assert result.packets == 3
    made = to_json(result)
    assert made["responses"]["rows"] == [{"rcode": "NODATA", "count": 1}]
    assert made["durations"]["pairing"]["matched"] == 1


def in_segment(wire: bytes, back: bool = False) -> bytes:
    """A frame with a message over TCP, its length before it."""
    ends = {"sport": 53, "dport": 40000} if back else {}
    data = len(wire).to_bytes(2, "big") + wire
    return packets.ethernet(packets.ipv4(packets.tcp(data, **ends), proto=packets.TCP, back=back))


def test_messages_over_tcp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counted by both programs, timed, and told in every form."""
    asked, answered = packets.dns_query("example.com"), packets.dns_query("example.com", qr=1)
    frames = [(S, in_segment(asked)), (S + 30 * MS, in_segment(answered, back=True))]
    result = both([write(tmp_path / "a.pcap", pcap(frames))])
    made = to_json(result)
    for tcp, name in ((made["tcp"], "query"), (made["responses"]["tcp"], "response")):
        assert {what: n for what, n in tcp["segments"].items() if n} == {"messages": 1}
        assert {what: n for what, n in tcp["messages"].items() if n} == {name: 1}
        assert tcp["split"] == tcp["unread"] == 0
    assert [(row["proto"], row["count"]) for row in made["queries"]] == [("tcp", 1)]
    assert made["responses"]["rows"] == [{"rcode": "NODATA", "count": 1}]
    assert timed(result).durations["ipv4", "tcp"].count == 1
    valid("replay", json.dumps(made))
    present_replay.show(result)
    shown = capsys.readouterr().out
    assert shown.count("1 TCP segments") == 2
    assert "1 messages lie within a segment, 1 of them responses" in shown
    head = [" ".join(line.split()) for line in shown.splitlines()[:4]]
    assert head == [
        "2 packets, in which there are:",
        "queries 1 0 over UDP, 1 over TCP",
        "responses 1 0 over UDP, 1 over TCP",
        "malformed messages 0 to or from the watched ports",
    ]
    assert "All 1 responses have rcode=NODATA." in shown


def test_time_is_the_captures(tmp_path: Path) -> None:
    """Not that of the replay: 30 ms, to the clock's 1024 ns."""
    frames = [(S, QUERY), (S + 30 * MS, RESPONSE)]
    timing = timed(both([write(tmp_path / "a.pcap", pcap(frames))]))
    assert abs(timing.durations["ipv4", "udp"].sum - 30 * MS) < 1024


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    """A file for each direction; the responses' is named first."""
    out = [(S + n * S + MS, RESPONSE) for n in range(5)]
    into = [(S + n * S, QUERY) for n in range(5)]
    paths = [write(tmp_path / "out", pcap(out)), write(tmp_path / "in", pcap(into))]
    timing = timed(both(paths))
    assert (timing.matched, timing.orphan, timing.waiting) == (5, 0, 0)
    assert abs(timing.durations["ipv4", "udp"].sum - 5 * MS) < 5 * 1024


def test_a_little_out_of_order_is_at_once(tmp_path: Path) -> None:
    frames = [(S + 2 * MS, QUERY), (S + MS, RESPONSE)]
    timing = timed(both([write(tmp_path / "a.pcap", pcap(frames))]))
    assert timing.matched == 1
    assert timing.durations["ipv4", "udp"].sum == 0


def test_another_capture_in_the_same_file(tmp_path: Path) -> None:
    """Its clock goes back: nothing of the one before is answered in it."""
    frames = [(100 * S, QUERY), (50 * S, RESPONSE), (50 * S, QUERY), (50 * S + MS, RESPONSE)]
    timing = timed(both([write(tmp_path / "a.pcap", pcap(frames))]))
    assert (timing.matched, timing.expired, timing.orphan) == (1, 1, 1)


@pytest.mark.parametrize(("after", "result"), [(8 * S, "waiting"), (9 * S, "expired")])
def test_unanswered(tmp_path: Path, after: int, result: str) -> None:
    """It waits or has expired by the time of the last packet."""
    frames = [(S, QUERY), (S + after, bytes(60))]
    timing = timed(both([write(tmp_path / "a.pcap", pcap(frames))]))
    assert getattr(timing, result) == timing.tracked == 1
