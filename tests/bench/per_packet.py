"""Nanoseconds per packet against a floor that is measured in the same rounds.

The floor is an empty program plus one lookup in a per-CPU hash whose key has our key's size: what
any program of this kind pays at least. BPF_PROG_TEST_RUN repeats each frame in the kernel; rounds
take turns, so that a busy moment hits all of them, and medians are compared.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests import packets as p
from tests.bench.figures import Cell, Table, take_turns, verdict
from xdpdns import kernel, vocab
from xdpdns.errors import XdpdnsError
from xdpdns.loader import LoadedProgram
from xdpdns.program import Compiled, compile_program
from xdpdns.settings import ProgramSettings

REPEAT = 200_000
REPEAT_PAIR = 400_000
ROUNDS = 15

FLOOR_GOALS = {"A, EDNS": 1.6, "PTR, 34 labels": 2.4}
EMPTY_GOALS = {"UDP, other port": 1.5, "TCP": 1.5, "ARP": 1.5}

_FLOOR = r"""
struct key { u64 words[KEY_WORDS]; };
BPF_TABLE("percpu_hash", struct key, u64, rows, 100000);
int empty(struct xdp_md *ctx) { return 2; }
int floor_lookup(struct xdp_md *ctx) {
    struct key k = {};
    u64 *n = rows.lookup(&k);
    if (n) *n += 1;
    return 2;
}
"""


def frames() -> dict[str, bytes]:
    """The packets whose cost is quoted."""
    arpa = ".".join("0123456789abcdef" * 2) + ".ip6.arpa"
    edns = [p.opt(1232, do=True)]
    return {
        "A, EDNS": p.frame4(p.dns_query("www.example.com", p.A, additional=edns)),
        "A, no EDNS": p.frame4(p.dns_query("www.example.com", p.A)),
        "A, EDNS, IPv6": p.frame6(p.dns_query("www.example.com", p.A, additional=edns)),
        "A, EDNS, VLAN": p.ethernet(
            p.vlan(p.ipv4(p.udp(p.dns_query("www.example.com", p.A, additional=edns)))),
            ethertype=p.DOT1Q,
        ),
        "PTR, 34 labels": p.frame4(p.dns_query(arpa, p.PTR)),
        "random subdomain": p.frame4(
            p.dns_query("x7f3k9qz2m5.www.example.com", p.A, additional=edns)
        ),
        "NS of the root": p.frame4(p.dns_query(".", p.NS, additional=edns)),
        "TSIG, then OPT": p.frame4(
            p.dns_query("www.example.com", p.SOA, additional=[p.tsig(), p.opt(1232)])
        ),
        "TLD not listed": p.frame4(p.dns_query("www.example.zz--zz", p.A, additional=edns)),
        "UDP, other port": p.frame4(b"\0" * 40, dport=123),
        "TCP": p.ethernet(p.ipv4(p.tcp(b"", dport=443), proto=p.TCP)),
        "ARP": p.ethernet(b"\0" * 46, ethertype=p.ARP),
    }


def floor_programs(key_size: int) -> tuple[int, int]:
    """The fds of the empty program and of the one with the lookup, its key present."""
    os.environ["BCC_KERNEL_SOURCE"] = str(vocab.bpf_folder() / "compat")
    from bcc import BPF

    module = BPF(text=_FLOOR, cflags=[f"-DKEY_WORDS={key_size // 8}"])
    empty = module.load_func("empty", BPF.XDP).fd
    lookup = module.load_func("floor_lookup", BPF.XDP).fd
    rows = module["rows"]
    kernel.map_update(rows.map_fd, bytes(key_size), bytes(8 * kernel.possible_cpus()))
    _keep.append(module)
    return empty, lookup


_keep: list[object] = []


def timer(fd: int, frame: bytes) -> Callable[[], float]:
    """Measures one round of a program on a frame: nanoseconds per packet."""
    run = kernel.TestRun(fd, repeat=REPEAT)

    def measure() -> float:
        start = time.thread_time_ns()
        if run.run(frame) != kernel.XDP_PASS:
            raise AssertionError("the program did not return XDP_PASS")
        return (time.thread_time_ns() - start) / REPEAT

    return measure


def require_quiet_kernel(fd: int, frame: bytes) -> None:
    """Refuse to measure while the kernel times every program, which costs some 35 ns a packet.

    The sysctl shows only one of the two ways to have it do that, so the count of runs is asked.

    Raises:
        StatsAreOnError: somebody has switched the statistics on.
    """
    before = kernel.prog_info(fd).run_count
    kernel.TestRun(fd, repeat=100).run(frame)
    if kernel.stats_enabled() or kernel.prog_info(fd).run_count != before:
        raise StatsAreOnError(
            "no packets were measured, for the kernel's BPF statistics are on and add some 35 ns "
            "to each: set kernel.bpf_stats_enabled to 0, and stop `xdpdns attach --program-stats` "
            "and `bpftool prog profile`."
        )


class StatsAreOnError(XdpdnsError):
    """The kernel is timing every BPF program."""


def singles(program: LoadedProgram, key_size: int) -> Table:
    """Each frame against the floor and the empty program, on one CPU."""
    wanted = frames()
    any_frame = wanted["A, EDNS"]
    empty, lookup = floor_programs(key_size)
    timers = {"empty program": timer(empty, any_frame), "floor": timer(lookup, any_frame)}
    timers |= {name: timer(program.fd, frame) for name, frame in wanted.items()}
    taken = take_turns(timers, ROUNDS, "ns")
    require_quiet_kernel(program.fd, any_frame)  # nor has anybody switched them on meanwhile
    rows: list[tuple[Cell, ...]] = []
    for name, one in taken.items():
        floor, nothing = one / taken["floor"], one / taken["empty program"]
        goal = ""
        if name in FLOOR_GOALS:
            goal = verdict(floor, FLOOR_GOALS[name]) + " floor"
        elif name in EMPTY_GOALS:
            goal = verdict(nothing, EMPTY_GOALS[name]) + " empty"
        rows.append((name, one, floor, nothing, goal))
    note = "floor: an empty program with one lookup in a per-CPU hash, its key as large as ours."
    columns = ("packet", "a packet", "/ floor", "/ empty", "goal")
    return Table("Per packet, on one CPU", columns, tuple(rows), note)


def pair(
    compiled: Compiled, settings: ProgramSettings, program: LoadedProgram, cpus: tuple[int, int]
) -> Table:
    """One CPU alone; then with the other one busy, in maps of its own and on the same key.

    Two threads, for a system call holds no Python lock. Both begin at a barrier, and the one that
    is not measured runs a third longer, so that it is busy until the end.
    """
    frame = frames()["A, EDNS"]
    other = LoadedProgram(compiled, settings)

    def beside(neighbour: int | None) -> Callable[[], float]:
        def measure() -> float:
            with ThreadPoolExecutor(2) as pool:
                start = threading.Barrier(1 if neighbour is None else 2)
                if neighbour is not None:
                    pool.submit(pinned, cpus[1], start, neighbour, frame, REPEAT_PAIR * 4 // 3)
                return pool.submit(pinned, cpus[0], start, program.fd, frame, REPEAT_PAIR).result()

        return measure

    taken = take_turns(
        {
            "alone": beside(None),
            "the other CPU in maps of its own": beside(other.fd),
            "the other CPU on the same key": beside(program.fd),
        },
        ROUNDS,
        "ns",
    )
    require_quiet_kernel(program.fd, frame)
    other.close()
    alone, apart, same = taken.values()
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, one, alone / one, verdict(alone / one, 0.95, at_least=True) if one is same else "")
        for name, one in taken.items()
    )
    note = (
        "What a busy neighbour in maps of its own costs is the machine's (shared caches, virtual "
        f"CPUs); against that, the same key has the rate {apart / same}."
    )
    columns = ("one CPU, short EDNS query", "a packet", "rate / alone", "goal")
    return Table("Per packet, two CPUs at once", columns, rows, note)


def pinned(cpu: int, start: threading.Barrier, fd: int, frame: bytes, repeat: int) -> float:
    """CPU time per packet of a thread of its own, in nanoseconds."""
    os.sched_setaffinity(0, {cpu})
    run = kernel.TestRun(fd, repeat=repeat)
    start.wait()
    begin = time.thread_time_ns()
    run.run(frame)
    return (time.thread_time_ns() - begin) / repeat


def tables() -> list[Table]:
    """All figures."""
    settings = ProgramSettings(tcp=True)  # as attach has it
    compiled = compile_program(settings)
    program = LoadedProgram(compiled, settings)
    require_quiet_kernel(program.fd, frames()["ARP"])
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        made = [singles(program, compiled.key.size)]
    finally:
        os.sched_setaffinity(0, allowed)
    if len(allowed) > 1:
        first, second = sorted(allowed)[-2:]
        made.append(pair(compiled, settings, program, (second, first)))
    program.close()
    return made


def main() -> None:
    """Print the tables."""
    print("\n".join(map(str, tables())))


if __name__ == "__main__":
    main()
