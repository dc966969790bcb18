"""Nanoseconds per packet against a floor that is measured in the same rounds.

The floor is an empty program plus one lookup in a per-CPU hash whose key has our key's size: what
any program of this kind pays at least. BPF_PROG_TEST_RUN repeats each frame in the kernel; rounds
take turns, so that a busy moment hits all of them, and medians are compared.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests import packets as p
from xdpdns import kernel, vocab
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings

REPEAT = 200_000
ROUNDS = 15

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


@dataclass(frozen=True)
class Figure:
    """Nanoseconds per packet over the rounds."""

    name: str
    rounds: list[float]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a share of the median."""
        low, _, high = statistics.quantiles(self.rounds, n=4)
        return (high - low) / 2 / self.median


def timer(fd: int, frame: bytes) -> Callable[[], float]:
    """Measures one round of a program on a frame: nanoseconds per packet."""
    run = kernel.TestRun(fd, repeat=REPEAT)

    def measure() -> float:
        start = time.thread_time_ns()
        if run.run(frame) != kernel.XDP_PASS:
            raise AssertionError("the program did not return XDP_PASS")
        return (time.thread_time_ns() - start) / REPEAT

    return measure


def measure() -> list[Figure]:
    """All figures; the first two are the empty program and the floor."""
    settings = ProgramSettings()
    compiled = compile_program(settings)
    program = LoadedProgram(compiled, settings)
    wanted = frames()
    any_frame = wanted["A, EDNS"]
    empty, lookup = floor_programs(compiled.key.size)
    timers = {"empty program": timer(empty, any_frame), "floor": timer(lookup, any_frame)}
    timers |= {name: timer(program.fd, frame) for name, frame in wanted.items()}
    rounds: dict[str, list[float]] = {name: [] for name in timers}
    for number in range(ROUNDS + 1):
        for name, one in timers.items():
            figure = one()
            if number:  # the first round warms up
                rounds[name].append(figure)
    program.close()
    return [Figure(name, values) for name, values in rounds.items()]


def main() -> None:
    """Print the table."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures = measure()
    empty, floor = figures[0].median, figures[1].median
    print(f"{'packet':20} {'ns':>7} {'spread':>7} {'/floor':>7} {'/empty':>7}")
    for one in figures:
        print(
            f"{one.name:20} {one.median:7.1f} {one.spread:7.1%} "
            f"{one.median / floor:7.2f} {one.median / empty:7.2f}"
        )


if __name__ == "__main__":
    main()
