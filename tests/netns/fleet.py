"""A fleet: nameservers in their own namespaces, a Prometheus in agent mode beside each, one store.

The store is VictoriaMetrics, in a namespace that has a second cable to every nameserver; xdpdns
counts on the first, so that what Prometheus sends is in no count.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote

import yaml

from tests.netns.actors import XDPDNS, Agent
from tests.netns.lab import Lab, Process
from tests.netns.scrape import Scrape, http_get, scrape
from tests.netns.site import AGES, ROOT, WINDOW, Measured, Traffic, quick_rules
from tests.netns.traffic import Say, Sent, odd, over_tcp, queries, responses, send, sinks

DEPLOY = ROOT / "deploy" / "prometheus"
STORE_PORT = 8428

SITES: Mapping[str, tuple[str, ...]] = {"ams": (), "lon": (), "tyo": ("--keep",)}
"""The instances, and what their agents are started with."""

TRAFFIC: Mapping[str, Traffic] = {
    "1w": {
        "ams": [*queries(300, seed=11), *odd(2), *over_tcp(12)],
        "lon": [*queries(200, seed=12), *odd(1), *responses(NOERROR=190, SERVFAIL=10)],
        "tyo": queries(90, seed=13),
    },
    "": {
        "ams": [*queries(700, seed=14), *odd(1), *responses(NOERROR=500, NXDOMAIN=190)],
        "lon": [*queries(350, seed=15), *odd(3), *over_tcp(30), *responses(NOERROR=300)],
        "tyo": [*queries(150, seed=16), *over_tcp(15), *responses(NXDOMAIN=140, REFUSED=9)],
    },
}
"""What comes to each instance: a week ago, and now."""


class Store:
    """VictoriaMetrics in the hub's namespace."""

    def __init__(self, hub: Lab, *options: str) -> None:
        self.hub = hub
        argv = [
            "victoria-metrics",
            f"-storageDataPath={hub.tmp}/victoria",
            f"-httpListenAddr=:{STORE_PORT}",
            "-search.latencyOffset=1s",  # else the newest 30 s can't be seen
            "-search.disableCache",  # history is written after the fact
            "-memory.allowedBytes=256MB",
            *options,
        ]
        self.process = hub.start(hub.server, argv, "victoria-metrics")
        self.process.wait_until("the store", self._ready)

    def _ready(self) -> bool:
        try:
            return http_get(self.hub.server, "/health", port=STORE_PORT).status == 200
        except ConnectionRefusedError:
            return False

    def _get(self, path: str) -> Any:
        answer = http_get(self.hub.server, f"{path}&nocache=1", port=STORE_PORT, timeout=30)
        found = json.loads(answer.body)
        assert found["status"] == "success", f"{path}: {found}"
        return found["data"]["result"]

    def ask(self, promql: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query at a time; the newest that it shows is a second old."""
        moment = time.time() if at is None else at
        return list(self._get(f"/api/v1/query?query={quote(promql)}&time={moment:.3f}"))

    def value(self, promql: str) -> float:
        """The value of an expression that has exactly one series."""
        [series] = self.ask(promql)
        return float(series["value"][1])

    def by(self, label: str, promql: str) -> dict[str, float]:
        """Values by one label, without those that are 0."""
        found = {one["metric"][label]: float(one["value"][1]) for one in self.ask(promql)}
        return {key: value for key, value in found.items() if value}

    def over(self, promql: str, start: float, end: float) -> list[float]:
        """The values of one series, a second each."""
        path = f"/api/v1/query_range?query={quote(promql)}&start={start:.0f}&end={end:.0f}&step=1"
        [series] = self._get(path)
        return [float(value) for _, value in series["values"]]

    def say_again(self, shift: float, start: float, end: float) -> None:
        """Store what the agents said between two times once more, so many seconds later."""
        chosen = quote('{job="xdpdns"}')
        path = f"/api/v1/export?match[]={chosen}&start={start:.3f}&end={end:.3f}"
        lines = http_get(self.hub.server, path, port=STORE_PORT, timeout=60).body.splitlines()
        series = [json.loads(line) for line in lines]
        for one in series:
            one["timestamps"] = [at + round(shift * 1000) for at in one["timestamps"]]
        self.put("/api/v1/import", "\n".join(map(json.dumps, series)))

    def put(self, path: str, body: str) -> None:
        """Import lines by one of the store's own interfaces."""
        file = self.hub.tmp / "import.txt"
        file.write_text(body)
        url = f"http://127.0.0.1:{STORE_PORT}{path}"
        self.hub.server.run(["curl", "-sSf", "--data-binary", f"@{file}", url])

    def wait_for(self, instances: Iterable[str], timeout: float = 20) -> None:
        """Wait until a scrape of each instance that began after this call is stored."""
        begin, wanted = time.time(), set(instances)

        def done() -> bool:
            found = self.ask('timestamp(up{job="xdpdns"}) and up{job="xdpdns"} == 1')
            later = {one["metric"]["instance"] for one in found if float(one["value"][1]) > begin}
            return wanted <= later

        self.process.wait_until("scrapes in the store", done, timeout)


def configuration(file: str, instances: Mapping[str, str], store: str) -> dict[str, Any]:
    """What deploy/prometheus has, for these instances (name: address) and a scrape a second."""
    config: dict[str, Any] = yaml.safe_load((DEPLOY / file).read_text())
    config["global"]["scrape_interval"] = "1s"
    config["scrape_configs"][0]["static_configs"] = [
        {"targets": [address], "labels": {"instance": name}} for name, address in instances.items()
    ]
    [write] = config["remote_write"]
    write["url"] = f"http://{store}/api/v1/write"
    # one sender keeps the order: when `up` has come, so has all of its scrape
    write["queue_config"] = {"batch_send_deadline": "500ms", "min_shards": 1, "max_shards": 1}
    return config


def start_prometheus(lab: Lab, config: Mapping[str, Any], *options: str) -> Process:
    """A Prometheus that writes to the store; with no more options, in agent mode."""
    path = lab.tmp / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    argv = ["prometheus", f"--config.file={path}", "--web.listen-address=127.0.0.1:9090"]
    argv += options or ["--enable-feature=agent", f"--storage.agent.path={lab.tmp}/agent"]
    return lab.start(lab.server, argv, "prometheus")


class Fleet:
    """The nameservers, their agents, and the store; everything ends with the `with` block.

    `options` has the options of each instance's agent, `serve` is what takes a server's port 53.
    """

    def __init__(
        self,
        options: Mapping[str, Sequence[str]] = SITES,
        serve: Callable[[Lab], AbstractContextManager[Say]] = sinks,
    ) -> None:
        self._options = options
        self._serve = serve
        self._stack = ExitStack()
        self.labs: dict[str, Lab] = {}
        self.agents: dict[str, Agent] = {}
        self._say: dict[str, Say] = {}

    def __enter__(self) -> Fleet:
        with ExitStack() as stack:
            self.hub = stack.enter_context(Lab())
            for number, name in enumerate(self._options):
                lab = self.labs[name] = stack.enter_context(Lab())
                self._connect(number, lab)
                self._say[name] = stack.enter_context(self._serve(lab))
                stack.callback(lab.server.run, [XDPDNS, "detach", "eth0"], check=False)
                self.start(name)
            self.store = Store(self.hub)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _connect(self, number: int, lab: Lab) -> None:
        here, there = f"site{number}", f"198.51.100.{4 * number + 1}"
        hub, site = self.hub.server.name, lab.server.name
        for line in (
            f"link add {here} netns {hub} type veth peer name store netns {site}",
            f"-n {hub} addr add {there}/30 dev {here}",
            f"-n {hub} link set {here} up",
            f"-n {site} addr add 198.51.100.{4 * number + 2}/30 dev store",
            f"-n {site} link set store up",
        ):
            subprocess.run(["ip", *line.split()], check=True, capture_output=True)

    def start(self, name: str) -> None:
        """Start an agent, also again."""
        self.agents[name] = Agent(self.labs[name], *self._options[name])

    def report(self) -> None:
        """Start the Prometheus of each site."""
        for number, (name, lab) in enumerate(self.labs.items()):
            store = f"198.51.100.{4 * number + 1}:{STORE_PORT}"
            start_prometheus(lab, configuration("agent.yml", {name: "127.0.0.1:10530"}, store))

    def remember(
        self, when: str, before: Mapping[str, Scrape], after: Mapping[str, Scrape]
    ) -> None:
        """Store what the agents said before and after some traffic as if it were then.

        The first sample lies within any panel's window, the last beyond it.
        """
        start = round(time.time() * 1000) - AGES[when] * 1000 - 20_000
        lines = []
        for number in range(30):
            for name, found in (before if number < 2 else after).items():
                for sample in found.samples:
                    labels = {**sample.labels, "job": "xdpdns", "instance": name}
                    text = ",".join(f"{key}={json.dumps(value)}" for key, value in labels.items())
                    at = start + 5000 * number
                    lines.append(f"{sample.name}{{{text}}} {sample.value} {at}")
        self.store.put("/api/v1/import/prometheus", "\n".join(lines))

    def record(self, at: float) -> None:
        """Have vmalert work out the recording rules for the whole second before a time."""
        [rules] = quick_rules(self.hub)
        store = f"http://127.0.0.1:{STORE_PORT}"
        times = [datetime.fromtimestamp(when, UTC).strftime("%FT%TZ") for when in (at, at + 1)]
        argv = ["vmalert", f"-rule={rules}", f"-datasource.url={store}"]
        argv += [f"-remoteWrite.url={store}", "-remoteWrite.flushInterval=500ms"]
        argv += [f"-replay.timeFrom={times[0]}", f"-replay.timeTo={times[1]}"]
        argv += ["-replay.rulesDelay=1s", "-replay.disableProgressBar"]
        self.hub.server.run(argv)

    def send(self, name: str, packets: Sequence[Sent]) -> None:
        """Send packets to an instance, and its responses, and wait until they are there."""
        lab = self.labs[name]
        send(lab.client, packets, lab.quiet)
        self._say[name](packets)

    def scrape(self, name: str) -> Scrape:
        """What an agent says now."""
        return scrape(self.labs[name].server)


class MeasuredFleet(Measured):
    """The store, asked at one moment.

    Its rate() is the increase from the first to the last of the samples in the window, divided by
    the time between these two: it doesn't extrapolate to the window's edges as Prometheus does.
    """

    agents: Mapping[str, str] = dict.fromkeys(SITES, "eth0")
    traffic = TRAFFIC

    def __init__(self, fleet: Fleet, at: float) -> None:
        self._fleet = fleet
        self.at = at
        self.factors = {when: self._factors(at - AGES.get(when, 0)) for when in TRAFFIC}
        recorded = self.ask("timestamp(instance:xdpdns_queries:rate5m)", at)
        self.recorded_at = max(float(one["value"][1]) for one in recorded)
        self.factors["recorded"] = self._factors(self.recorded_at, 300)

    def ask(self, promql: str, at: float) -> list[dict[str, Any]]:
        return self._fleet.store.ask(promql, at)

    def _factors(self, at: float, window: int = WINDOW) -> dict[str, float]:
        factors = {}
        for one in self.ask(f"xdpdns_up[{window}s]", at):
            # whole milliseconds, as the store counts them: a float of today's date is no finer
            times = [round(float(when) * 1000) for when, _ in one["values"]]
            factors[one["metric"]["instance"]] = window * 1000 / (times[-1] - times[0])
        assert set(factors) == set(SITES)
        # a sample before the window would count as its beginning
        before = self.ask(f"xdpdns_up[{window}s]", at - window)
        assert not before, before
        return factors

    def most_samples(self) -> int:
        return max(len(self._fleet.scrape(name).samples) for name in SITES)
