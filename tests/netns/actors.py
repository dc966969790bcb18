"""Who acts in the lab: NSD answers, dnsperf and dig ask, xdpdns counts, Prometheus scrapes.

Each starts the real program, waits until it is ready without sending a packet over the cable, and
leaves its end to the lab.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.netns.lab import SERVER4, SERVER6, Lab, Namespace, Process
from tests.netns.scrape import PORT, Scrape, http_get, scrape
from tests.quick import sitecustomize

XDPDNS = str(Path(sys.executable).with_name("xdpdns"))
COMPILES = ("env", "-u", sitecustomize.FOLDER)
"""Before a command that is to compile what another one has compiled already, too (quick/)."""

# A root zone that has an answer for every name, so that no test query is lost or repeated.
ROOT_ZONE = {
    ".": """\
. 3600 IN SOA ns.test. hostmaster.test. 1 3600 600 86400 60
. 3600 IN NS ns.test.
ns.test. 3600 IN A 192.0.2.1
* 60 IN A 192.0.2.80
"""
}


def start_nsd(
    lab: Lab,
    zones: Mapping[str, str] = ROOT_ZONE,
    namespace: Namespace | None = None,
    addresses: Sequence[str] = (SERVER4, SERVER6),
) -> Process:
    """NSD, by default on both addresses of the server; `zones` maps a zone's name to its text."""
    folder = lab.tmp / "nsd"
    folder.mkdir()
    lines = [
        "server:",
        *(f"  ip-address: {address}" for address in addresses),
        *('  username: ""', '  chroot: ""', "  server-count: 1", "  hide-version: no"),
        *("  rrl-ratelimit: 0", "  rrl-whitelist-ratelimit: 0"),  # it would drop a load's answers
        f'  zonesdir: "{folder}"',
        f'  pidfile: "{folder}/nsd.pid"',
        f'  xfrdfile: "{folder}/xfrd.state"',
        f'  xfrdir: "{folder}"',
        '  database: ""',  # or all write to one, and two that start at once fail
        f'  zonelistfile: "{folder}/zone.list"',
        *("remote-control:", "  control-enable: no"),
    ]
    for number, (name, text) in enumerate(zones.items()):
        (folder / f"{number}.zone").write_text(text)
        lines += ["zone:", f'  name: "{name}"', f'  zonefile: "{number}.zone"']
    (folder / "nsd.conf").write_text("\n".join(lines) + "\n")
    nsd = lab.start(
        namespace or lab.server, ["/usr/sbin/nsd", "-d", "-c", f"{folder}/nsd.conf"], "nsd"
    )
    nsd.wait_until("NSD's start", lambda: "nsd started" in nsd.log)
    return nsd


@dataclass(frozen=True)
class Load:
    """What dnsperf says that it did."""

    sent: int
    completed: int
    lost: int


def dnsperf(
    lab: Lab,
    queries: Sequence[str] | Sequence[bytes],
    *options: str,
    server: str = SERVER4,
    outstanding: int = 50,
    rate: int | None = None,
    timeout: float = 60.0,
) -> Load:
    """Send each of `queries` once: lines like "example.com. AAAA", or whole messages as bytes.

    `outstanding` (dnsperf -q) is low enough that a burst fits veth's ring of 256 packets: what
    doesn't is dropped before the server's interface counts it.
    """
    path = lab.tmp / "dnsperf.data"
    with path.open("wb") as data:
        for query in queries:
            if isinstance(query, bytes):
                data.write(struct.pack("!H", len(query)) + query)
            else:
                data.write(f"{query}\n".encode())
    if isinstance(queries[0], bytes):
        options = ("-B", *options)
    argv = ["dnsperf", "-s", server, "-d", str(path), "-n", "1", "-l", str(int(timeout))]
    argv += ["-q", str(outstanding), "-t", "2", *options]
    if rate is not None:
        argv += ["-Q", str(rate)]
    out = lab.client.run(argv, timeout=timeout + 10).stdout
    figures = dict(re.findall(r"Queries (sent|completed|lost): +(\d+)", out))
    load = Load(*(int(figures[name]) for name in ("sent", "completed", "lost")))
    assert load.sent == len(queries), out
    return load


def dig(lab: Lab, *arguments: str, server: str = SERVER4, tool: str = "dig") -> str:
    """Ask once by `dig` (or `kdig`), without retries; the status of the answer, like NOERROR."""
    bounds = ["+tries=1", "+time=2"] if tool == "dig" else ["+retry=0", "+time=2"]
    out = lab.client.run([tool, f"@{server}", *bounds, *arguments]).stdout
    status = re.search(r"status: (\w+)", out)
    assert status, out
    return status[1]


def supervisors(pid: int) -> list[int]:
    """The children of an agent that has started: the one that attaches, watches and detaches."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_agent(pid: int) -> None:
    """SIGKILL an agent and the supervisor that would clean up after it."""
    everybody = [*supervisors(pid), pid]
    for supervisor in everybody[:-1]:
        # It would see the agent's end before its own.
        os.kill(supervisor, signal.SIGSTOP)
    for each in everybody:
        os.kill(each, signal.SIGKILL)


class Agent:
    """`xdpdns attach` on the server's eth0, from its first successful readiness to its end.

    What another agent of these tests has compiled it need not compile again (quick/), unless it is
    told to: where a test is about how it starts.
    """

    def __init__(
        self,
        lab: Lab,
        *options: str,
        interfaces: Iterable[str] = ("eth0",),
        prefix: Iterable[str] = (),
        compiles: bool = False,
    ) -> None:
        self._lab = lab
        compiler = COMPILES if compiles else ()
        argv = [*compiler, *prefix, XDPDNS, "attach", *interfaces, *options]
        self.process = lab.start(lab.server, argv, "agent")
        self.process.wait_until("the agent's readiness", self._ready)

    def _ready(self) -> bool:
        try:
            return http_get(self._lab.server, "/-/ready").status == 200
        except (ConnectionError, TimeoutError):  # not yet, or it ended
            return False

    def scrape(self) -> Scrape:
        """What it says now."""
        return scrape(self._lab.server)

    def stop(self) -> None:
        """Interrupt it like Ctrl-C, and see that it ends well and leaves nothing attached."""
        code = self.process.stop(signal.SIGINT)
        assert code == 0, f"exit code {code}: {self.process.log}"
        assert "Traceback" not in self.process.log, self.process.log
        assert self._lab.server.xdp_program() is None


class Prometheus:
    """A Prometheus beside the agents, that scrapes them every second over the loopback.

    It goes on with the blocks that lie in the lab's `prometheus/data` and evaluates `rules`.
    """

    port = 9090
    # timestamp() of anything but a plain selector is the time of the query.
    _SCRAPED = 'timestamp(up{job="xdpdns"}) and up{job="xdpdns"} == 1'

    def __init__(
        self,
        lab: Lab,
        *,
        target_port: int = PORT,
        more_ports: Sequence[int] = (),
        rules: Sequence[Path] = (),
    ) -> None:
        self._lab = lab
        folder = lab.tmp / "prometheus"
        folder.mkdir(exist_ok=True)
        targets = [f"127.0.0.1:{port}" for port in (target_port, *more_ports)]
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            f"rule_files: {[str(path) for path in rules]}\n"
            "scrape_configs:\n"
            "  - job_name: xdpdns\n"
            f"    static_configs: [{{targets: {targets}}}]\n"
        )
        self.process = lab.start(
            lab.server,
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            "prometheus",
        )
        self.process.wait_until("Prometheus's readiness", self._ready)

    def _ready(self) -> bool:
        try:
            return http_get(self._lab.server, "/-/ready", port=self.port).status == 200
        except ConnectionRefusedError:
            return False

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """The instant vector of an expression: each series' labels and value; a scalar has {}."""
        path = f"/api/v1/query?query={quote(promql)}"
        answer: dict[str, Any] = json.loads(
            http_get(self._lab.server, path, port=self.port).body.decode()
        )
        assert answer["status"] == "success", answer
        data = answer["data"]
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def value(self, promql: str) -> float | None:
        """The value of an expression that has one series at most; None for none."""
        series = self.query(promql)
        assert len(series) <= 1, series
        return series[0][1] if series else None

    def wait_for_scrape(self, after: float) -> None:
        """Wait until a successful scrape that began later than `after` (Unix time) is stored."""
        # timestamp() of anything but a plain selector is the question's time, not the scrape's
        stored = 'timestamp(up{job="xdpdns"}) * up{job="xdpdns"}'
        self.process.wait_until("a scrape", lambda: (self.value(stored) or 0) > after)

    def wait_for_scrapes(self, after: float, count: int) -> None:
        """Wait until successful scrapes of so many targets that began later are stored."""

        def done() -> bool:
            times = self.query(self._SCRAPED)
            return sum(when > after for _, when in times) >= count

        self.process.wait_until("scrapes", done)
