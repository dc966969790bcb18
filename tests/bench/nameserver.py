"""What watching costs a nameserver that answers dnsperf at saturation, with each tool in turn.

NSD with xdpdns and with what captures packets; Knot, Unbound and BIND with what they have built in
(servers.py). What is compared runs side by side: the server bare, with an empty program, with
xdpdns, one right after the other in random order, and ratios are taken within such a group. The
groups take turns in random order. Both ends share this machine's CPUs, so a packet that costs more
anywhere shows.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.figures import Cell, Sample, Table
from tests.bench.servers import Watched, start
from tests.netns.actors import start_nsd
from tests.netns.lab import SERVER4, Lab, Process, wait_until
from xdpdns import kernel, roles
from xdpdns.hooks import Attachment, Hook, Hooks
from xdpdns.loader import LoadedProgram, program_type
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings

ROUNDS = 7
SECONDS = 3

Tool = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of dnsperf: answers a second, and CPU seconds of the whole machine per answer."""

    rate: float
    cpu: float


def busy() -> float:
    """CPU seconds of the whole machine, interrupts too, without idle and stolen (proc_stat(5))."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def dnsperf(queries: Path, seconds: int, port: int = 53) -> list[str]:
    """The command that has the server answer all that it can."""
    argv = ["dnsperf", "-s", SERVER4, "-p", str(port), "-d", str(queries), "-l", str(seconds)]
    return [*argv, "-q", "100", "-c", "4", "-e", "-t", "1"]


def saturate(lab: Lab, queries: Path, port: int = 53) -> Run:
    before = busy()
    out = lab.client.run(dnsperf(queries, SECONDS, port), timeout=SECONDS + 20).stdout
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
    """A program on the server's interface; `mode` is `native` or `generic` XDP, or `tcx`."""
    hook: Hook = "tcx" if mode == "tcx" else "xdp"

    def put() -> Attachment:
        with Hooks() as hooks:
            return hooks.attach("eth0", fd, hook, mode="auto" if mode == "tcx" else mode)

    def take() -> None:
        with Hooks() as hooks:
            hooks.detach(made)

    made = lab.server.inside(put)
    try:
        yield
    finally:
        lab.server.inside(take)
        made.close()


@contextmanager
def capturing(lab: Lab, argv: list[str]) -> Iterator[Process]:
    """A tool that reads packets in user space, from when it has a packet socket."""
    process: Process = lab.start(lab.server, argv, argv[0])
    sockets = Path(f"/proc/{process.pid}/net/packet")
    process.wait_until("the capture", lambda: len(sockets.read_text().splitlines()) > 1)
    try:
        yield process
    finally:
        if process.exited is not None:
            raise RuntimeError(f"{argv} ended early: {process.log}")
        process.stop(signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Case:
    """A tool beside a server on a port; `tool` is None where it is not installed."""

    name: str
    tool: Tool | None = bare
    port: int = 53


Group = tuple[Case, ...]
"""What is compared with each other; the first is the server bare."""


class Programs:
    """What `attach` loads, and an empty program (its fd) for each place.

    Places are `native`, `generic` and `tcx`, for queries; and `responses`, at TC.
    """

    def __init__(self) -> None:
        self.ours: dict[str, LoadedProgram] = {}
        self.empty: dict[str, int] = {}
        at_xdp = roles.programs("server", ProgramSettings())
        at_tc = roles.programs("server", ProgramSettings(), hook="tcx")
        queries, responses = roles.WAYS["server"]
        for settings, places in (
            (at_xdp[queries], ("native", "generic")),
            (at_tc[queries], ("tcx",)),
            (at_xdp[responses], ("responses",)),
        ):
            compiled = compile_program(settings)
            answer = kernel.XDP_PASS if settings.hook == "xdp" else kernel.TCX_NEXT
            code = struct.pack("<BBhiBBhi", 0xB7, 0, 0, answer, 0x95, 0, 0, 0)
            for place in places:
                self.ours[place] = LoadedProgram(compiled, settings)
                self.empty[place] = kernel.prog_load(program_type(settings), "empty", code)

    def pair(self, place: str) -> tuple[int, int]:
        """The fds of the empty program and of ours."""
        return self.empty[place], self.ours[place].fd

    def close(self) -> None:
        for program in self.ours.values():
            program.close()
        for fd in self.empty.values():
            os.close(fd)


CAPTURES = {
    "tcpdump -w /dev/null port 53": ["tcpdump", "-ni", "eth0", "-w", "/dev/null", "port", "53"],
    "dnscap -w - >/dev/null": ["sh", "-c", "exec dnscap -S -f -N -p -i eth0 -w - >/dev/null"],
}
"""What reads packets in user space; a name begins with the program's."""

PLACES = {"native": "native", "generic": "generic", "tcx": "TCX"}


def beside_nsd(lab: Lab, programs: Programs) -> list[Group]:
    """The same nameserver with each tool beside it."""
    base = Case("NSD")
    found: list[Group] = []
    for mode, place in PLACES.items():
        empty = partial(attached, lab, programs.empty[mode], mode)
        ours = partial(attached, lab, programs.ours[mode].fd, mode)
        found.append((base, Case(f"empty program, {place}", empty), Case(f"xdpdns, {place}", ours)))
    for name, argv in CAPTURES.items():
        installed = shutil.which(name.split()[0]) is not None
        found.append((base, Case(name, partial(capturing, lab, argv) if installed else None)))
    return found


@contextmanager
def telling(name: str, server: Watched) -> Iterator[None]:
    """A server's own telemetry, which must come to something: soon, for it may be in a buffer."""
    before = server.written()
    yield
    wait_until(f"{name} writes of its queries", lambda: server.written() > before)


def built_in(lab: Lab) -> list[Group]:
    """Nameservers with what they have built in, off and on."""
    found: list[Group] = []
    for name, what in (("Knot", "dnstap"), ("Unbound", "dnstap"), ("BIND", "query log")):
        server = start(lab, name)
        if server is None:
            found.append((Case(name, None), Case(f"{name}, {what}", None)))
            continue
        tool = partial(telling, name, server)
        watched = Case(f"{name}, {what}", tool, server.watched)
        found.append((Case(name, port=server.bare), watched))
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


def measure(lab: Lab, groups: Sequence[Group]) -> list[dict[str, list[Run]]]:
    """For each group its cases' runs by name, without those that are not installed."""
    queries = lab.tmp / "queries"
    write_queries(queries)
    runs: list[dict[str, list[Run]]] = []
    for group in groups:
        installed = [case for case in group if case.tool is not None]
        runs.append({case.name: [] for case in installed} if len(installed) > 1 else {})
        if runs[-1]:
            saturate(lab, queries, group[0].port)  # warms up
    for _ in range(ROUNDS):
        for at in random.sample(range(len(groups)), len(groups)):
            for case in random.sample(groups[at], len(groups[at])):
                if case.tool is not None and case.name in runs[at]:
                    with case.tool():
                        runs[at][case.name].append(saturate(lab, queries, case.port))
    return runs


def row_of(case: Case, group: Group, runs: dict[str, list[Run]]) -> tuple[Cell, ...]:
    if case.name not in runs:
        return (case.name, "not installed", "", "", "", "")
    rate = {name: Sample(tuple(run.rate for run in made)) for name, made in runs.items()}
    cpu = {name: Sample(tuple(1e6 * run.cpu for run in made), "us") for name, made in runs.items()}
    base, name = group[0].name, case.name
    empty: Cell = ""
    if len(group) == 3 and case is group[2]:
        empty = rate[name] / rate[group[1].name]
    if case is group[0]:
        return (name, rate[name], "", "", cpu[name], "")
    return (
        name,
        rate[name],
        rate[name] / rate[base],
        empty,
        cpu[name],
        cpu[name] / cpu[base],
    )


def tables() -> list[Table]:
    programs = Programs()
    with Lab() as lab:
        start_nsd(lab)
        groups = [*beside_nsd(lab, programs), *built_in(lab)]
        runs = measure(lab, groups)
    programs.close()
    rows: list[tuple[Cell, ...]] = []
    for group, made in zip(groups, runs, strict=True):
        rows += [row_of(case, group, made) for case in (group if made else group[1:])]
    note = (
        "Each group is compared with its own first line. CPU is the whole machine's: dnsperf's, "
        "the kernel's, the server's, the tool's, and whoever else ran."
    )
    columns = ("tool", "answers/s", "/ bare", "/ empty program", "CPU/answer", "/ bare CPU")
    return [Table("Nameservers at saturation", columns, tuple(rows), note)]
