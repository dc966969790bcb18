"""What counting costs a nameserver: NSD that answers dnsperf at saturation, with each tool in turn.

The rounds go through the tools in random order, and every figure is the ratio to `bare` within its
round. Both ends share this machine's CPUs, so a packet that costs more anywhere shows.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.figures import Cell, Sample, Table, verdict
from tests.netns.actors import start_nsd
from tests.netns.lab import SERVER4, Lab, Process
from xdpdns import kernel
from xdpdns.hooks import Attachment, Hooks
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings

ROUNDS = 5
SECONDS = 4
_RETURN_PASS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, kernel.XDP_PASS, 0x95, 0, 0, 0)

Tool = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of dnsperf: answers a second, and CPU seconds of the whole machine per answer."""

    rate: float
    cpu: float
    counted: int | None = None


def busy() -> float:
    """CPU seconds of the whole machine, interrupts too, without idle and stolen (proc_stat(5))."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def saturate(lab: Lab, queries: Path) -> Run:
    before = busy()
    argv = ["dnsperf", "-s", SERVER4, "-d", str(queries), "-l", str(SECONDS), "-q", "100"]
    out = lab.client.run([*argv, "-c", "4", "-e", "-t", "1"], timeout=SECONDS + 20).stdout
    cpu = busy() - before
    found = re.search(r"Queries completed: +(\d+)", out)
    rate = re.search(r"Queries per second: +([\d.]+)", out)
    if not found or not rate:
        raise RuntimeError(out)
    return Run(float(rate[1]), cpu / int(found[1]))


@contextmanager
def bare() -> Iterator[None]:
    yield


@contextmanager
def attached(lab: Lab, fd: int, mode: str) -> Iterator[None]:
    """A program on the server's interface."""

    def put() -> Attachment:
        with Hooks() as hooks:
            return hooks.attach("eth0", fd, mode=mode)

    def take() -> None:
        with Hooks() as hooks:
            hooks.detach(made)

    made = lab.server.inside(put)
    try:
        yield
    finally:
        lab.server.inside(take)


@contextmanager
def capturing(lab: Lab, argv: list[str]) -> Iterator[None]:
    """A tool that reads packets in user space, from when it has a packet socket."""
    process: Process = lab.start(lab.server, argv, argv[0])
    sockets = Path(f"/proc/{process.pid}/net/packet")
    process.wait_until("the capture", lambda: len(sockets.read_text().splitlines()) > 1)
    try:
        yield
    finally:
        if process.exited is not None:
            raise RuntimeError(f"{argv} ended early: {process.log}")
        process.stop(signal.SIGINT)


def tools(lab: Lab, ours: LoadedProgram, passing: int) -> dict[str, Tool | None]:
    """What is compared; None: not installed."""
    found: dict[str, Tool | None] = {
        "bare": bare,
        "empty program, native": lambda: attached(lab, passing, "native"),
        "empty program, generic": lambda: attached(lab, passing, "generic"),
        "xdpdns, native": lambda: attached(lab, ours.fd, "native"),
        "xdpdns, generic": lambda: attached(lab, ours.fd, "generic"),
    }
    tcpdump = ["tcpdump", "-ni", "eth0", "-w", "/dev/null", "port", "53"]
    dnscap = ["sh", "-c", "exec dnscap -f -N -p -i eth0 -w - >/dev/null"]
    for name, argv in (
        ("tcpdump -w /dev/null port 53", tcpdump),
        ("dnscap -w - >/dev/null", dnscap),
    ):
        installed = shutil.which(name.split()[0]) is not None
        found[name] = partial(capturing, lab, argv) if installed else None
    return found


def write_queries(path: Path) -> None:
    """Names and types as they come to an authoritative server; all of them have an answer."""
    choose = random.Random(53)
    names = ("com", "net", "org", "de", "nl", "arpa", "io", "fr")
    types = ("A", "A", "A", "AAAA", "AAAA", "TXT", "MX", "HTTPS")
    path.write_text(
        "".join(
            f"www{number}.example.{choose.choice(names)} {choose.choice(types)}\n"
            for number in range(20_000)
        )
    )


def measure(lab: Lab, compared: dict[str, Tool]) -> dict[str, list[Run]]:
    queries = lab.tmp / "queries"
    write_queries(queries)
    saturate(lab, queries)  # warms up
    runs: dict[str, list[Run]] = {name: [] for name in compared}
    order = list(compared)
    for _ in range(ROUNDS):
        random.shuffle(order)
        for name in order:
            with compared[name]():
                runs[name].append(saturate(lab, queries))
    return runs


def tables() -> list[Table]:
    settings = ProgramSettings()
    ours = LoadedProgram(compile_program(settings), settings)
    passing = kernel.prog_load(kernel.PROG_TYPE_XDP, "empty", _RETURN_PASS)
    with Lab() as lab:
        start_nsd(lab)
        compared = tools(lab, ours, passing)
        runs = measure(lab, {name: tool for name, tool in compared.items() if tool is not None})
    os.close(passing)
    ours.close()
    rate = {name: Sample(tuple(run.rate for run in made)) for name, made in runs.items()}
    cpu = {name: Sample(tuple(1e6 * run.cpu for run in made), "us") for name, made in runs.items()}
    rows: list[tuple[Cell, ...]] = []
    for name in compared:
        if name not in runs:
            rows.append((name, "not installed", "", "", "", "", ""))
            continue
        against: Sample | str = ""
        goal = ""
        for mode in ("native", "generic"):
            if name == f"xdpdns, {mode}":
                against = rate[name] / rate[f"empty program, {mode}"]
                goal = verdict(against, 0.98, at_least=True) if mode == "native" else ""
        share, effort = rate[name] / rate["bare"], cpu[name] / cpu["bare"]
        rows.append((name, rate[name], share, against, goal, cpu[name], effort))
    note = "CPU is the whole machine's: dnsperf's, the kernel's and NSD's, and whoever else ran."
    columns = ("tool", "answers/s", "/ bare", "/ empty program", "goal", "CPU/answer", "/ bare")
    return [Table("NSD at saturation", columns, tuple(rows), note)]
