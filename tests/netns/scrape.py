"""A scrape as a test wants it: sums over the samples that have given labels.

Prometheus's own parser (prometheus_client.parser) reads the text, so a test that passes has also
shown that the text is well-formed.
"""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.netns.lab import PATIENCE, Namespace

PORT = 10530


@dataclass(frozen=True)
class Sample:
    """One line: the name with its suffix (`_total`, `_bucket` ...), the labels, the value."""

    name: str
    labels: dict[str, str]
    value: float


class Scrape:
    """The samples of one answer of /metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.types = {}
        self.samples = []
        for family in text_string_to_metric_families(text):
            self.types[family.name] = family.type
            self.samples += [Sample(s.name, dict(s.labels), s.value) for s in family.samples]

    def select(self, name: str, **labels: str) -> Iterator[Sample]:
        """The samples of that name that have all of those label values."""
        for sample in self.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample

    def total(self, name: str, **labels: str) -> int:
        """The sum of what `select` finds: 0 if nothing; a sum that is not whole is an error."""
        total = sum(sample.value for sample in self.select(name, **labels))
        assert total == int(total), f"{name}{labels} is {total}"
        return int(total)

    def by(self, label: str, name: str = "xdpdns_queries_total", **labels: str) -> Counter[str]:
        """The sums for each value of a label, without those that are 0."""
        sums: Counter[str] = Counter()
        for sample in self.select(name, **labels):
            sums[sample.labels[label]] += int(sample.value)
        return +sums

    @property
    def packets(self) -> int:
        """Every packet that arrived and was given an outcome."""
        return self.total("xdpdns_packets_total", direction="ingress")

    @property
    def queries(self) -> int:
        """Every query that is in a row."""
        return self.total("xdpdns_queries_total")

    @property
    def outcomes(self) -> Counter[str]:
        """The packets of each outcome that occurred among those that arrived."""
        return self.by("outcome", "xdpdns_packets_total", direction="ingress")

    @property
    def responses(self) -> int:
        """Every response that is in a row."""
        return self.total("xdpdns_responses_total")


@dataclass(frozen=True)
class Response:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def http_get(
    namespace: Namespace,
    path: str = "/metrics",
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    timeout: float = PATIENCE,
) -> Response:
    """One request, made inside the namespace on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout)
    connection.sock = namespace.connect(host, port, timeout)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, names, answer.read())
    finally:
        connection.close()


def scrape(namespace: Namespace, *, port: int = PORT) -> Scrape:
    """What /metrics says now."""
    answer = http_get(namespace, port=port)
    assert answer.status == 200, answer
    return Scrape(answer.body.decode())


def scrape_when(
    namespace: Namespace, packets: int, *, port: int = PORT, timeout: float = 10.0
) -> Scrape:
    """The first scrape that has counted so many packets, or the last before the time is out.

    The counters need no settling; this waits for packets that are still on their way.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = scrape(namespace, port=port)
        if found.packets >= packets or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
