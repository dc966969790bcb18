"""The agent as a process: from exec to its first scrape, what it occupies, what scraping costs it.

It runs in a namespace of the lab, on a cable on which nobody speaks. Its rows are written into its
map from outside.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

from tests.bench.figures import Sample, Table, verdict
from tests.bench.rows import fill
from tests.netns.actors import XDPDNS, supervisors
from tests.netns.lab import Lab, Process
from tests.netns.scrape import PORT
from xdpdns import kernel

STARTS = 7
ROUNDS = 5
SECONDS = 3.0
"""How long a round of scrapes at ten a second lasts."""


class Agent:
    """`xdpdns attach` in the lab's server, with the seconds that its start took."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        start = time.perf_counter()
        argv = [XDPDNS, "attach", "eth0", "-v"]
        self.process: Process = lab.start(lab.server, argv, "agent")
        self._connect(start + 20)
        self.get()
        self.first_scrape = time.perf_counter() - start
        found = re.search(r"Attached ([\d.]+) s after exec", self.process.log)
        assert found, self.process.log
        self.attached = float(found[1])

    def _connect(self, deadline: float) -> None:
        while True:
            self._http = HTTPConnection("127.0.0.1", PORT, timeout=30)
            with suppress(ConnectionRefusedError):
                self._http.sock = self._lab.server.connect("127.0.0.1", PORT, 30)
                return
            if self.process.exited is not None or time.perf_counter() > deadline:
                raise RuntimeError(f"the agent does not serve: {self.process.log}")
            time.sleep(0.005)

    def get(self) -> int:
        """Scrape like Prometheus, on the same connection; the bytes that came."""
        headers = {"Accept-Encoding": "gzip", "Accept": "text/plain;version=0.0.4"}
        self._http.request("GET", "/metrics", headers=headers)
        with closing(self._http.getresponse()) as answer:
            assert answer.status == 200
            return len(answer.read())

    def cpu(self) -> float:
        """Seconds of CPU of all threads of both processes, to the nanosecond (fs/proc/base.c)."""
        pids = [self.process.pid, *supervisors(self.process.pid)]
        tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def resident(self) -> float:
        """Resident memory of the process that serves, in megabytes."""
        return resident(self.process.pid)

    def resident_supervisor(self) -> float:
        """Resident memory of the process that attaches and watches, in megabytes."""
        return sum(map(resident, supervisors(self.process.pid)))

    def fill(self, count: int) -> None:
        """Give it so many rows."""
        ident = self._lab.server.xdp_program()
        assert ident is not None
        program = kernel.prog_fd(ident)
        fill(program, count)
        os.close(program)

    def close(self) -> None:
        with suppress(RemoteDisconnected):
            self._http.close()
        self.process.stop()


def resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1e3


def per_second(agent: Agent, every: float | None) -> float:
    """CPU seconds per second, with a scrape `every` so many seconds or with none."""
    began, cpu = time.perf_counter(), agent.cpu()
    at = began
    while (at := at + (every or SECONDS)) <= began + SECONDS + 1e-9:
        if every:
            agent.get()
        time.sleep(max(0.0, at - time.perf_counter()))
    return (agent.cpu() - cpu) / (time.perf_counter() - began)


def per_scrape(agent: Agent) -> float:
    """CPU seconds of one scrape: of ten, one after the other."""
    before = agent.cpu()
    for _ in range(10):
        agent.get()
    return (agent.cpu() - before) / 10


def tables() -> list[Table]:
    attached, scraped, serving, watching = [], [], [], []
    with Lab() as lab:
        for _ in range(STARTS):
            agent = Agent(lab)
            attached.append(agent.attached)
            scraped.append(agent.first_scrape)
            serving.append(agent.resident())
            watching.append(agent.resident_supervisor())
            agent.close()
        agent = Agent(lab)
        agent.fill(1000)
        agent.get()
        ten = Sample(tuple(100 * per_second(agent, 0.1) for _ in range(ROUNDS)), "%")
        agent.fill(10_000)
        agent.get()
        idle = Sample(tuple(3600 * per_second(agent, None) for _ in range(ROUNDS)), "s")
        each = Sample(tuple(240 * per_scrape(agent) for _ in range(ROUNDS)), "s")
        loaded = Sample((agent.resident(),) * 2, "MB")
        agent.close()
    first = Sample(tuple(scraped), "s")
    rows = (
        ("exec to attached", Sample(tuple(attached), "s"), ""),
        ("exec to the end of the first scrape", first, verdict(first, 1.0)),
        ("resident memory after it", Sample(tuple(serving), "MB"), ""),
        ("resident memory of the supervisor", Sample(tuple(watching), "MB"), ""),
        ("resident memory with 10,000 rows", loaded, ""),
        ("one CPU's share, 10 scrapes/s, 1,000 rows", ten, verdict(ten, 2.0)),
        ("CPU an hour, nobody scrapes", idle, ""),
        ("CPU an hour of 240 scrapes, 10,000 rows", each, ""),
        ("CPU an hour, scraped every 15 s, 10,000 rows", idle + each, ""),
    )
    note = (
        "CPU is that of both processes. Scrapes ask for gzip, like Prometheus's. Hours are "
        "computed from seconds."
    )
    return [Table("The agent, at start and at rest", ("figure", "value", "goal"), rows, note)]
