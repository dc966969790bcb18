"""Two CPUs at once: no increment is lost, no first insertion, and no frame of ten million."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests import packets as p
from tests.bpf.flood import STEPS
from tests.netns.lab import Lab
from tests.truth.loading import EXACT, load, settings
from tests.truth.table import tabulate
from xdpdns import kernel
from xdpdns.hooks import Hooks
from xdpdns.loader import LoadedProgram
from xdpdns.rows import ROWS_IN_BLOCK
from xdpdns.settings import ProgramSettings
from xdpdns.snapshot import Snapshot

FRAMES = 10_000_000
KEYS = 20_000
FRAME = p.ethernet(
    p.ipv4(p.udp(p.dns_query("www.example.com", p.AAAA, additional=[p.opt(1232, do=True)]))),
    dst=b"\x02\0\0\0\0\x99",  # not the receiver's: the stack drops it as soon as it was counted
)
ROW = ("ipv4", "udp", "0", "1", "0", "1232", "AAAA", "com")


@pytest.fixture(scope="module")
def cpus() -> tuple[int, int]:
    """Two CPUs that this process may run on."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        pytest.skip("needs two CPUs")
    return usable[0], usable[1]


@pytest.fixture
def program() -> Iterator[LoadedProgram]:
    with load(ProgramSettings()) as loaded:
        yield loaded


def at_once(
    commands: Sequence[Sequence[str]], frames: Sequence[bytes], folder: Path, *fds: int
) -> float:
    """Run flood.py with each of the arguments at the same time; the seconds that both ran."""
    file = folder / "frames"
    file.write_bytes(b"".join(len(frame).to_bytes(4, "little") + frame for frame in frames))
    with ExitStack() as stack:
        processes = []
        for command in commands:
            process = subprocess.Popen(
                [*command, str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=fds,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        times = [process.communicate(timeout=60)[0] for process in processes]
    spans = [tuple(map(float, line.split())) for line in times]
    return min(end for _, end in spans) - max(start for start, _ in spans)


def flood(cpu: int, mode: str, target: int, argument: object) -> list[str]:
    return [sys.executable, "-m", "tests.bpf.flood", str(cpu), mode, str(target), str(argument)]


def by_cpu(program: LoadedProgram) -> dict[int, int]:
    """What each CPU counted in the only row."""
    assert len(program.snapshot().queries) == 1
    found = {}
    for cpu in range(kernel.cpu_numbers()):
        place = (cpu * ROWS_IN_BLOCK).to_bytes(4, "little")
        found[cpu] = int.from_bytes(kernel.map_lookup(program.maps["counts"], place, 8), "little")
    return {cpu: count for cpu, count in found.items() if count}


def test_one_key_ten_million_live_frames(
    program: LoadedProgram, cpus: tuple[int, int], tmp_path: Path
) -> None:
    """Received by the interface's own account, on both CPUs, is what was counted."""
    with Lab(queues=2) as lab:
        lab.server.inside(lambda: _attach(program.fd))
        target = int(lab.client.link()["ifindex"])
        received = 0
        while received < FRAMES:
            times = max((FRAMES - received) // 2, 1000)
            commands = [lab.client.command(flood(cpu, "live", target, times)) for cpu in cpus]
            assert at_once(commands, [FRAME], tmp_path) > 0
            received = lab.quiet()
        counted = program.snapshot()
        assert received >= FRAMES
        assert lab.server.rx_packets() == received
        assert {name: n for name, n in counted.outcomes.items() if n} == {"query": received}
        assert counted.queries == {ROW: received}
        assert counted.marginals.edns_versions["0"] == received
        assert counted.marginals.size.count == received
        assert not any(counted.overflow.values())
        shares = by_cpu(program)
        assert shares.keys() == set(cpus)
        assert sum(shares.values()) == received
        assert min(shares.values()) > FRAMES // 10


def row_numbers(program: LoadedProgram) -> tuple[int, int]:
    """The numbers that were given, and the rows that were made (bpf/rows.h)."""
    given, rows = struct.unpack("<QQ", kernel.map_lookup(program.maps["numbers"], bytes(4), 16))
    return int(given), int(rows)


def _attach(fd: int) -> None:
    with Hooks() as hooks:
        assert hooks.attach("eth0", fd, mode="native").mode == "native"


def test_one_key_ten_million_runs(
    program: LoadedProgram, cpus: tuple[int, int], tmp_path: Path
) -> None:
    """The same by BPF_PROG_TEST_RUN, where nothing lies between sent and counted."""
    half = FRAMES // 2
    commands = [flood(cpu, "repeat", program.fd, half) for cpu in cpus]
    assert at_once(commands, [FRAME], tmp_path, program.fd) > 0
    counted = program.snapshot()
    assert counted.outcomes["query"] == counted.packets == FRAMES
    assert counted.queries == {ROW: FRAMES}
    assert by_cpu(program) == dict.fromkeys(cpus, half)


def keys(count: int) -> list[bytes]:
    """Queries of as many different keys, in an order that is not that of their bytes."""
    made = [
        p.frame4(p.dns_query(f"example.tld{number // 100}", 1 + number % 100))
        for number in range(count)
    ]
    Random(1).shuffle(made)
    return made


def race(frames: list[bytes], room: int, cpus: tuple[int, int], folder: Path) -> Snapshot:
    """Run all frames on each CPU, in step; what a program with this many rows makes of them."""
    place = folder / "steps"
    place.write_bytes(bytes(STEPS))
    with load(replace(settings(EXACT), max_series=room)) as program:
        commands = [
            flood(cpu, "race", program.fd, f"{place}:{own}") for own, cpu in enumerate(cpus)
        ]
        assert at_once(commands, frames, folder, program.fd) > 0
        counted = program.snapshot()
        given, rows = row_numbers(program)
        assert rows == len(counted.queries)
        # who comes second keeps the number for its next row
        assert given - rows <= kernel.cpu_numbers()
        return counted


@pytest.mark.parametrize("room", [1, 3], ids=["just enough", "plenty"])
def test_first_insertions_of_the_same_keys(
    room: int, cpus: tuple[int, int], tmp_path: Path
) -> None:
    """Both CPUs come to each new key at the same moment, also with no room to spare."""
    frames = keys(KEYS)
    counted = race(frames, room * KEYS, cpus, tmp_path)
    expected = tabulate(frames * 2, EXACT)
    assert counted.queries == {tuple(row): count for row, count in expected.rows.items()}
    assert set(counted.queries.values()) == {2}
    assert len(counted.queries) == KEYS
    assert counted.outcomes["query"] == counted.packets == 2 * KEYS
    assert not any(counted.overflow.values())
    assert counted.folded == 0


def test_a_full_map_from_both_sides(cpus: tuple[int, int], tmp_path: Path) -> None:
    """Where half of the keys find no room, the other half and the overflow still add up."""
    frames = keys(KEYS)
    counted = race(frames, KEYS // 2, cpus, tmp_path)
    assert len(counted.queries) <= KEYS // 2
    in_rows, lost = sum(counted.queries.values()), sum(counted.overflow.values())
    assert in_rows + lost == counted.outcomes["query"] == 2 * KEYS
    assert lost > 0
