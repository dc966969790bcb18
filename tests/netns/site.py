"""Two agents with a past and a present, and a Prometheus that is asked about them at one moment.

One agent counts on eth0, one on the server's loopback. What they export before and after some past
traffic is stored as it is, an hour, a day and a week ago; then Prometheus scrapes them live while
the present traffic comes.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.netns.actors import XDPDNS, Agent, Prometheus
from tests.netns.lab import Lab
from tests.netns.scrape import PORT, Scrape, http_get, scrape
from tests.netns.traffic import Sent, odd, over_tcp, queries, responses, send, sinks

ROOT = Path(__file__).parents[2]
ETH, LO = "127.0.0.1:10530", "127.0.0.1:10531"
AGENTS = {ETH: "eth0", LO: "lo"}
WINDOW = 60
AGES = {"1w": 604800, "1d": 86400, "1h": 3600}
"""The offsets that the dashboards look back by, and their seconds."""

Traffic = Mapping[str, list[Sent]]
"""What comes to each agent."""

SAID = {
    "1d": responses(NOERROR=200, NODATA=40, REFERRAL=30, NXDOMAIN=50, REFUSED=3),
    "1h": responses(NOERROR=180, NODATA=35, REFERRAL=30, NXDOMAIN=45, SERVFAIL=6),
    "": responses(NOERROR=250, NODATA=60, REFERRAL=20, NXDOMAIN=190, SERVFAIL=12, REFUSED=8),
}
"""The responses among it."""

TRAFFIC: Mapping[str, Traffic] = {
    "1w": {ETH: [*queries(250, seed=1), *odd(1), *over_tcp(9)], LO: queries(120, seed=2)},
    "1d": {ETH: [*queries(350, seed=3), *odd(2), *over_tcp(21), *SAID["1d"]], LO: queries(100, 4)},
    "1h": {ETH: [*queries(300, seed=5), *odd(1), *over_tcp(15), *SAID["1h"]], LO: queries(150, 6)},
    "": {ETH: [*queries(600, seed=7), *odd(3), *over_tcp(40), *SAID[""]], LO: queries(200, seed=8)},
}
"""What comes when: so long ago, or now. Every time is different from every other."""

Scrapes = Mapping[str, Scrape]
"""What each agent said."""

Key = tuple[str, ...]
"""The values of a series' labels but for the job, in the order of the labels' names."""


class Measured:
    """A Prometheus with the history and the present in it, asked at one moment.

    `agents` maps each agent's instance to its interface, `traffic` says what came to it when.
    """

    agents: Mapping[str, str] = AGENTS
    traffic: Mapping[str, Traffic] = TRAFFIC
    on_loopback: int
    """The pid of the agent on `lo`."""

    def __init__(self, prometheus: Prometheus, lab: Lab, at: float) -> None:
        self.prometheus = prometheus
        self.lab = lab
        self.at = at
        self.factors = {when: self._factors(at - AGES.get(when, 0)) for when in self.traffic}
        recorded = self.ask("timestamp(instance:xdpdns_queries:rate5m)", at)
        self.recorded_at = max(float(one["value"][1]) for one in recorded)
        self.factors["recorded"] = self._factors(self.recorded_at, 300)

    def ask(self, promql: str, at: float) -> list[dict[str, Any]]:
        """The result of an instant query at a time."""
        path = f"/api/v1/query?query={quote(promql)}&time={at:.3f}"
        answer = json.loads(http_get(self.lab.server, path, port=Prometheus.port).body)
        assert answer["status"] == "success", f"{promql}: {answer}"
        return list(answer["data"]["result"])

    def _factors(self, at: float, window: int = WINDOW) -> dict[str, float]:
        """By how much rate() extrapolates what it saw to the window, for each agent.

        That is Prometheus's definition: up to the window's edge if a sample could have been
        missed there at most, else by half of the average interval.
        """
        factors = {}
        for one in self.ask(f"xdpdns_up[{window}s]", at):
            times = [float(when) for when, _ in one["values"]]
            seen = times[-1] - times[0]
            each = seen / (len(times) - 1)
            edges = (times[0] - (at - window), at - times[-1])
            more = sum(edge if edge < 1.1 * each else each / 2 for edge in edges)
            factors[one["metric"]["instance"]] = (seen + more) / seen
        assert set(factors) == set(self.agents)
        assert all(1 <= factor < 1.3 for factor in factors.values()), factors
        return factors

    def most_samples(self) -> int:
        """The samples of the agents' largest scrape."""
        return len(scrape(self.lab.server).samples)

    def panel(self, expr: str) -> dict[Key, float]:
        """What a panel's query returns, with its variables substituted."""
        for name in ("job", "instance", "interface"):
            expr = expr.replace(f"${name}", ".+")
        for name in ("$__rate_interval", "$__range", "$window"):
            expr = expr.replace(name, f"{WINDOW}s")
        expr = expr.replace("$against", "1h")
        assert "$" not in expr
        found = {}
        for one in self.ask(expr, self.at):
            labels = {k: v for k, v in one["metric"].items() if k not in {"job", "__name__"}}
            found[tuple(labels[name] for name in sorted(labels))] = float(one["value"][1])
        return found


def store_history(lab: Lab, said: Mapping[str, tuple[Scrapes, Scrapes]]) -> None:
    """Write blocks in which, at each age, the agents said the first, and soon after the second."""
    now = math.floor(time.time())
    lines = []
    for when, (before, after) in said.items():
        for second in range(-120, 121, 5):
            for instance, scraped in (before if second < 10 else after).items():
                for sample in scraped.samples:
                    labels = {**sample.labels, "job": "xdpdns", "instance": instance}
                    text = ",".join(f"{name}={json.dumps(v)}" for name, v in labels.items())
                    at = now - AGES[when] + second
                    lines.append(f"{sample.name}{{{text}}} {sample.value} {at}")
    path = lab.tmp / "history.txt"
    path.write_text("\n".join([*lines, "# EOF", ""]))
    data = lab.tmp / "prometheus" / "data"
    data.mkdir(parents=True)
    argv = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(path), str(data)]
    subprocess.run(argv, check=True, timeout=60, capture_output=True)


def quick_rules(lab: Lab) -> list[Path]:
    """The recording rules, worked out each second."""
    path = lab.tmp / "rules.yml"
    text = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
    assert "interval: 1m" in text
    path.write_text(text.replace("interval: 1m", "interval: 1s"))
    return [path]


@contextmanager
def measured(traffic: Mapping[str, Traffic] = TRAFFIC) -> Iterator[Measured]:
    """Make the site; it ends with the `with` block."""
    with Lab() as lab:
        agent = Agent(lab, "--program-stats")
        address = "--web.listen-address=127.0.0.1:10531"
        other = lab.start(lab.server, [XDPDNS, "attach", "lo", address], "agent-lo")
        other.wait_until("the readiness on lo", lambda: "Serving" in other.log, 30)

        with sinks(lab) as say:

            def come(packets: Traffic) -> Scrapes:
                send(lab.client, packets[ETH], lab.quiet)
                say(packets[ETH])
                send(lab.server, packets[LO], lambda: time.sleep(0.2))
                return {ETH: scrape(lab.server), LO: scrape(lab.server, port=PORT + 1)}

            # First all of it, so that no series begins within a window.
            every = {name: [p for each in traffic.values() for p in each[name]] for name in AGENTS}
            scrapes = [come(every), *(come(traffic[when]) for when in AGES)]
            store_history(lab, dict(zip(AGES, pairwise(scrapes), strict=True)))
            prometheus = Prometheus(lab, more_ports=[PORT + 1], rules=quick_rules(lab))
            for _ in range(6):  # a window of one or two scrapes would show little
                prometheus.wait_for_scrapes(after=time.time(), count=2)
            come(traffic[""])
            for _ in range(3):
                prometheus.wait_for_scrapes(after=time.time(), count=2)
            time.sleep(1.1)  # the rules have seen these too
            made = Measured(prometheus, lab, round(time.time(), 3))
            made.on_loopback = other.pid
            yield made
            agent.stop()
