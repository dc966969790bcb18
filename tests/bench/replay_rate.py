"""How many packets a second replay reads and classifies, and where the time goes.

    .venv/bin/python -m tests.bench.replay_rate [PACKETS]

Each figure is the best of three; the same packets every time (queries and their responses, of both
families, most with OPT). `read` walks the file, `pass` runs a program of two instructions,
`queries` the product's own for queries (`replay --no-responses`): the differences are what the
system call and what the classifying cost. `both` runs the program for responses too, as `replay`
does by itself, and `timed` is with `--latency-sample 1`. Below each rate is its ratio to that of
queries alone.
"""

from __future__ import annotations

import gzip
import random
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from tests import packets
from xdpdns import kernel, roles
from xdpdns.capture import Capture
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.replay import Runner, replay
from xdpdns.settings import ProgramSettings
from xdpdns.timing import CaptureClock

TLDS = ("com", "net", "org", "de", "nl", "se", "arpa", "io", "uk", "fr")
TYPES = (packets.A, packets.AAAA, packets.NS, packets.TXT, packets.HTTPS)
RETURN_XDP_PASS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, kernel.XDP_PASS, 0x95, 0, 0, 0)


def frames(count: int) -> list[bytes]:
    pick = random.Random(352)
    made = []
    for _ in range(count // 2):
        name = f"www{pick.randrange(1000)}.example{pick.randrange(1000)}.{pick.choice(TLDS)}"
        opt = [packets.opt(pick.choice((512, 1232, 4096)), do=pick.random() < 0.6)]
        query = packets.dns_query(
            name, pick.choice(TYPES), additional=opt if pick.random() < 0.8 else []
        )
        response = query[:2] + bytes([query[2] | 0x80]) + query[3:]
        datagrams = packets.udp(query), packets.udp(response, sport=53, dport=40000)
        if pick.random() < 0.7:
            both = (
                packets.ipv4(one, back=back)
                for back, one in zip((False, True), datagrams, strict=True)
            )
            made += [packets.ethernet(one) for one in both]
        else:
            both = (
                packets.ipv6(one, back=back)
                for back, one in zip((False, True), datagrams, strict=True)
            )
            made += [packets.ethernet(one, ethertype=packets.IPV6) for one in both]
    return made


def pcap_record(frame: bytes) -> bytes:
    return struct.pack("<IIII", 1_115_000_000, 0, len(frame), len(frame)) + frame


def pcapng_record(frame: bytes) -> bytes:
    padded = frame + bytes(-len(frame) % 4)
    total = 32 + len(padded)
    head = struct.pack("<IIIIIII", 6, total, 0, 259_000, 0, len(frame), len(frame))
    return head + padded + struct.pack("<I", total)


PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
PCAPNG_HEADER = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack(
    "<IIHHII", 1, 20, 1, 0, 0, 20
)


def read(path: Path) -> int:
    with Capture(path) as capture:
        return sum(len(batch) for batch in capture.frames())


def run_passing(path: Path, fd: int) -> int:
    runner = Runner(fd)
    with Capture(path) as capture:
        for batch in capture.frames():
            runner.run(batch)
    return runner.packets


def rate(work: Callable[[], int]) -> float:
    """Packets a second, the best of three."""
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        count = work()
        best = max(best, count / (time.perf_counter() - start))
    return best


@contextmanager
def programs(timing: int) -> Iterator[tuple[LoadedProgram, LoadedProgram]]:
    """Both programs as `replay` has them, their TLDs without a list."""
    queries = ProgramSettings(tlds="all", timing=timing, capture_clock=timing > 0)
    sides = [replace(one, hook="xdp") for one in roles.programs("server", queries).values()]
    with ExitStack() as stack:
        asked = stack.enter_context(closing(LoadedProgram(compile_program(sides[0]), sides[0])))
        answered = LoadedProgram(compile_program(sides[1]), sides[1], shared=asked.maps)
        yield asked, stack.enter_context(closing(answered))


def main(count: int) -> None:
    some = frames(5000)
    pcap = PCAP_HEADER + b"".join(map(pcap_record, some)) * (count // len(some))
    pcapng = PCAPNG_HEADER + b"".join(map(pcapng_record, some)) * (count // len(some))
    passing = kernel.prog_load(kernel.PROG_TYPE_XDP, "pass", RETURN_XDP_PASS)
    names = ("read", "pass", "queries", "both", "timed")
    print(f"{'':10}{''.join(f'{name:^22}' for name in names)}")
    with (
        tempfile.TemporaryDirectory() as folder,
        programs(0) as (queries, responses),
        programs(1) as timed,
        CaptureClock(timed[0].maps["clock"]) as clock,
    ):
        path = Path(folder) / "capture"
        for name, data in (
            ("pcap", pcap),
            ("pcap.gz", gzip.compress(pcap, 1)),
            ("pcapng", pcapng),
        ):
            path.write_bytes(data)
            rates = (
                rate(lambda: read(path)),
                rate(lambda: run_passing(path, passing)),
                rate(lambda: replay([path], queries).packets),
                rate(lambda: replay([path], queries, responses=responses).packets),
                rate(lambda: replay([path], timed[0], None, timed[1], clock).packets),
            )
            figures = "   ".join(f"{one:>10,.0f}/s {1e9 / one:5.0f} ns" for one in rates)
            print(f"{name:10}{figures}", flush=True)
            print(f"{'':10}{''.join(f'{one / rates[2]:^22.2f}' for one in rates)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
