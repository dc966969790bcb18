"""How much is counted of what reaches an interface faster than any server could answer it.

BPF_PROG_TEST_RUN sends live frames out of the client's interface, on all CPUs at once; what the
server's interface says that it received is what there was to count. The tools take turns in random
order; those that read packets in user space say themselves how many they got.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests import packets as p
from tests.bench.figures import Cell, Sample, Table
from tests.bench.nameserver import CAPTURES, PLACES, Programs, attached, capturing
from tests.netns.lab import Lab
from xdpdns.loader import LoadedProgram

ROUNDS = 5
FRAMES = 2_000_000
"""Frames that each CPU sends in a round."""

FRAME = p.ethernet(
    p.ipv4(p.udp(p.dns_query("www.example.com", p.A, additional=[p.opt(1232, do=True)]))),
    dst=b"\x02\0\0\0\0\x99",  # not the receiver's: the stack drops it as soon as it was counted
)


@contextmanager
def senders(lab: Lab) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A process on each CPU that waits for a line to start."""
    file = lab.tmp / "frame"
    file.write_bytes(len(FRAME).to_bytes(4, "little") + FRAME)
    target = str(lab.client.link()["ifindex"])
    made = []
    try:
        for cpu in sorted(os.sched_getaffinity(0)):
            argv = [sys.executable, "-m", "tests.bpf.flood", str(cpu), "live", target, str(FRAMES)]
            made.append(
                subprocess.Popen(
                    lab.client.command([*argv, str(file)]),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
        for process in made:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        yield made
    finally:
        for process in made:
            process.kill()
            process.communicate()


def flood(lab: Lab) -> tuple[int, float]:
    """The frames that the server's interface received, and the seconds until all were sent."""
    before = lab.quiet()
    with senders(lab) as processes:
        start = time.perf_counter()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        for process in processes:
            process.wait(60)
        seconds = time.perf_counter() - start
    return lab.quiet() - before, seconds


@contextmanager
def ours(lab: Lab, program: LoadedProgram, mode: str) -> Iterator[Callable[[], int]]:
    """xdpdns at one place: how many queries are in its rows that were not there before."""
    before = program.snapshot().outcomes["query"]

    def counted() -> int:
        snapshot = program.snapshot()
        if sum(snapshot.queries.values()) != snapshot.outcomes["query"]:
            raise RuntimeError("the rows do not add up to the queries")
        return snapshot.outcomes["query"] - before

    with attached(lab, program.fd, mode):
        yield counted


@contextmanager
def theirs(lab: Lab, argv: list[str]) -> Iterator[Callable[[], int]]:
    """A tool that captures: what it said at its end."""
    with capturing(lab, argv) as process:
        yield lambda: said(process.log)
        time.sleep(1.0)  # what is in its buffer is not lost


def said(log: str) -> int:
    """Packets that tcpdump or dnscap got, by its last lines.

    dnscap prints libpcap's ps_recv, which on Linux has the dropped ones in it (pcap_stats(3PCAP)).
    """
    if found := re.search(r"(\d+) packets captured", log):
        return int(found[1])
    found = re.search(r": (\d+) recv (\d+) drop", log)
    if not found:
        raise RuntimeError(log)
    return int(found[1]) - int(found[2])


def take_frames() -> None:
    """Let the namespace's eth0 take redirected frames without a native XDP program.

    veth does with GRO on (ETHTOOL_SGRO of include/uapi/linux/ethtool.h, by SIOCETHTOOL).
    """
    value = ctypes.create_string_buffer(struct.pack("II", 0x2C, 1))
    request = struct.pack("16sQ16x", b"eth0", ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8946, request)


def tables() -> list[Table]:
    programs = Programs()
    with Lab(queues=len(os.sched_getaffinity(0))) as lab:
        lab.server.inside(take_frames)
        tools: dict[str, Callable[[], Any] | None] = {
            f"xdpdns, {place}": partial(ours, lab, programs.ours[mode], mode)
            for mode, place in PLACES.items()
        }
        for name, argv in CAPTURES.items():
            installed = shutil.which(name.split()[0]) is not None
            tools[name] = partial(theirs, lab, argv) if installed else None
        received, counted = Counter[str](), Counter[str]()
        rates: dict[str, list[float]] = {name: [] for name in tools}
        for _ in range(ROUNDS):
            for name in random.sample(list(tools), len(tools)):
                if (tool := tools[name]) is None:
                    continue
                with tool() as count:
                    frames, seconds = flood(lab)
                counted[name] += count()
                received[name] += frames
                rates[name].append(frames / seconds / 1e6)
    programs.close()
    rows: list[tuple[Cell, ...]] = []
    for name, tool in tools.items():
        if tool is None:
            rows.append((name, "not installed", "", "", ""))
            continue
        share = f"{counted[name] / received[name]:.6f}"
        rate = Sample(tuple(rates[name]), "M/s")
        rows.append((name, rate, received[name], counted[name], share))
    columns = ("tool", "frames", "received", "counted", "share")
    note = (
        "Received: by the interface's own account. Counted: by xdpdns queries, and so many are in "
        "the rows; by the others the packets that they say they got."
    )
    return [Table("Under overload", columns, tuple(rows), note)]
