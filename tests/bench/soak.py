"""A steady load for a long time: does the agent grow, and are its counts exact at the end?

dnsperf asks NSD at one rate, somebody scrapes once a second like Prometheus, and what the server's
interface says that it received is what there was to count.
"""

from __future__ import annotations

import gzip
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from tests.bench.figures import Cell, Table
from tests.netns.actors import Agent, start_nsd, supervisors
from tests.netns.lab import Lab, Process
from tests.netns.scrape import PORT, Scrape

RATE = 20_000
"""Queries a second."""

EVERY = 300.0
"""Seconds between the lines that say how it stands."""

WARM_UP = 10.0
"""Seconds after which everything that is made once has been made."""


@dataclass(frozen=True)
class Occupied:
    """What a process holds: resident memory in kB, open files, threads."""

    resident: int
    files: int
    threads: int

    @classmethod
    def by(cls, pid: int) -> Occupied:
        status = Path(f"/proc/{pid}/status").read_text()
        found = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(int(found["VmRSS"]), files, int(found["Threads"]))


class Scraper:
    """One connection, as Prometheus keeps it; opened again if the agent closed it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._http: HTTPConnection | None = None
        self.failures = 0

    def scrape(self) -> Scrape | None:
        """What /metrics says; None, and counted, if it says nothing."""
        try:
            if self._http is None:
                self._http = HTTPConnection("127.0.0.1", PORT, timeout=10)
                self._http.sock = self._lab.server.connect("127.0.0.1", PORT)
            self._http.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            answer = self._http.getresponse()
            return Scrape(gzip.decompress(answer.read()).decode())
        except OSError:
            self.failures += 1
            self.close()
            return None

    def close(self) -> None:
        if self._http is not None:
            with suppress(OSError):
                self._http.close()
            self._http = None


def load(lab: Lab, seconds: float) -> Process:
    """dnsperf at the rate, for a bit longer than that: it is told when to stop."""
    data = lab.tmp / "soak.data"
    kinds = [("com", "A"), ("org", "AAAA"), ("nl", "NS"), ("de", "MX"), ("arpa", "PTR")]
    lines = (f"host{n}.example.{tld}. {qtype}\n" for n in range(200) for tld, qtype in kinds)
    data.write_text("".join(lines))
    argv = ["dnsperf", "-s", "192.0.2.1", "-d", str(data), "-Q", str(RATE), "-q", "100"]
    argv += ["-l", str(int(seconds) + 60), "-e"]
    process = lab.start(lab.client, argv, "dnsperf")
    process.wait_until("queries", lambda: lab.server.rx_packets() > 1000)
    return process


def tables(minutes: float = 30.0) -> list[Table]:
    """Run for so many minutes, and say how it stands every five."""
    rows: list[tuple[Cell, ...]] = []
    with Lab() as lab:
        start_nsd(lab)
        agent = Agent(lab)
        pids = {"agent": agent.process.pid}
        pids["supervisor"] = supervisors(agent.process.pid)[0]
        scraper = Scraper(lab)
        perf = load(lab, minutes * 60)
        began = time.monotonic()
        due, end = began, began + minutes * 60
        report = began + WARM_UP
        scrapes = 0
        while True:
            scraper.scrape()
            scrapes += 1
            now = time.monotonic()
            if now >= report or now >= end:
                for name, pid in pids.items():
                    held = Occupied.by(pid)
                    line = (now - began) / 60, name, held.resident, held.files, held.threads
                    rows.append((f"{line[0]:.1f}", *line[1:]))
                    print(
                        "{:.1f} min: {} has {} kB, {} files, {} threads".format(*line), flush=True
                    )
                report = began + EVERY if report < began + EVERY else report + EVERY
            if now >= end:
                break
            due += 1.0
            time.sleep(max(0.0, due - time.monotonic()))
        seconds = time.monotonic() - began
        perf.stop(signal.SIGINT)
        received = lab.quiet()
        found = scraper.scrape()
        scraper.close()
        if found is None:
            raise RuntimeError(f"the agent does not answer: {agent.process.log}")
        sent = re.search(r"Queries sent: +(\d+)", perf.log)
        if sent is None:
            raise RuntimeError(f"dnsperf said nothing: {perf.log}")
        packets = found.total("xdpdns_packets_total", direction="ingress")
        queries = found.total("xdpdns_packets_total", direction="ingress", outcome="query")
        counted: list[tuple[Cell, ...]] = [
            ("queries that dnsperf sent", int(sent[1])),
            ("a second", round(int(sent[1]) / seconds)),
            ("packets that the interface received", received),
            ("packets counted", packets),
            ("queries counted", queries),
            ("queries in rows", found.queries),
            ("scrapes", scrapes),
            ("scrapes that failed", scraper.failures),
            ("packets counted == received", "yes" if packets == received else "NO"),
            (
                "queries in rows == queries",
                "yes" if found.queries == queries else "NO",
            ),
        ]
        agent.process.stop(signal.SIGINT)
    note = f"After the first {WARM_UP:g} s, every {EVERY / 60:g} minutes, and at the end."
    return [
        Table(
            "What the processes hold",
            ("minute", "process", "kB", "files", "threads"),
            tuple(rows),
            note,
        ),
        Table("Counted", ("what", "number"), tuple(counted), "No packet may be missing."),
    ]
