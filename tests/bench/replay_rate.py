"""How many packets a second replay reads and classifies, and where the time goes.

    .venv/bin/python -m tests.bench.replay_rate [PACKETS]

Each figure is the best of three; the same packets every time (a mix of queries over both families,
most with OPT). `read` walks the file, `pass` runs a program of two instructions, `replay` runs the
product's own: the differences are what the system call and what the classifying cost.
"""

from __future__ import annotations

import gzip
import random
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests import packets
from xdpdns import kernel
from xdpdns.capture import Capture
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.replay import Runner, replay
from xdpdns.settings import ProgramSettings

TLDS = ("com", "net", "org", "de", "nl", "se", "arpa", "io", "uk", "fr")
TYPES = (packets.A, packets.AAAA, packets.NS, packets.TXT, packets.HTTPS)
RETURN_XDP_PASS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, kernel.XDP_PASS, 0x95, 0, 0, 0)


def frames(count: int) -> list[bytes]:
    pick = random.Random(352)
    made = []
    for _ in range(count):
        name = f"www{pick.randrange(1000)}.example{pick.randrange(1000)}.{pick.choice(TLDS)}"
        opt = [packets.opt(pick.choice((512, 1232, 4096)), do=pick.random() < 0.6)]
        query = packets.dns_query(
            name, pick.choice(TYPES), additional=opt if pick.random() < 0.8 else []
        )
        if pick.random() < 0.7:
            made.append(packets.ethernet(packets.ipv4(packets.udp(query))))
        else:
            datagram = packets.ipv6(packets.udp(query))
            made.append(packets.ethernet(datagram, ethertype=packets.IPV6))
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


def rate(work: Callable[[], int]) -> str:
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        count = work()
        best = max(best, count / (time.perf_counter() - start))
    return f"{best:>10,.0f}/s {1e9 / best:5.0f} ns"


def main(count: int) -> None:
    some = frames(5000)
    pcap = PCAP_HEADER + b"".join(map(pcap_record, some)) * (count // len(some))
    pcapng = PCAPNG_HEADER + b"".join(map(pcapng_record, some)) * (count // len(some))
    settings = ProgramSettings(tlds="all")
    program = LoadedProgram(compile_program(settings), settings)
    passing = kernel.prog_load(kernel.PROG_TYPE_XDP, "pass", RETURN_XDP_PASS)
    print(f"{'':10}{'read':^22}{'pass':^22}{'replay':^22}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capture"
        for name, data in (
            ("pcap", pcap),
            ("pcap.gz", gzip.compress(pcap, 1)),
            ("pcapng", pcapng),
        ):
            path.write_bytes(data)
            figures = (
                rate(lambda: read(path)),
                rate(lambda: run_passing(path, passing)),
                rate(lambda: replay([path], program).packets),
            )
            print(f"{name:10}{'   '.join(figures)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
