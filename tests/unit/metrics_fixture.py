"""A small snapshot that exercises every family, and a parsed view of a rendered scrape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from xdpdns.families import InterfaceState
from xdpdns.snapshot import EdnsSizes, Histogram, Marginals, Snapshot, Tcp, Timing
from xdpdns.vocab import DIMENSIONS, RESPONSE_DIMENSIONS

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

ROW = ("ipv4", "udp", "0", "1", "0", "1232", "AAAA", "com")


def histogram(step: int, buckets: int) -> Histogram:
    """Buckets of `step` values each, with 1, 2, 3 ... observations."""
    bounds = tuple(step * (i + 1) - 1 for i in range(buckets))
    return Histogram(bounds, tuple(range(1, buckets + 2)), 12345)


MARGINALS = Marginals(
    opcodes={"QUERY": 5, "NOTIFY": 1},
    flags={"rd": 3},
    classes={"IN": 4, "CH": 1},
    edns_versions={"0": 2},
    size=histogram(16, 256),
    name_length=histogram(1, 256),
    name_labels=histogram(1, 128),
)
SNAPSHOT = Snapshot(
    dimensions=DIMENSIONS,
    queries={ROW: 4},
    outcomes={"query": 5, "fragment": 2},
    marginals=MARGINALS,
    overflow={"full": 1},
    folded=3,
    map_entries={"queries": 1},
    map_max_entries={"queries": 100},
    edns_sizes=EdnsSizes({(1232, True): 2, (512, False): 1}, no_edns=4, unseen=0),
    tcp=Tcp(
        {"syn": 2, "messages": 1}, {"query": 3, "tcp": 0, "qdcount": 1}, 2, 4, histogram(16, 256)
    ),
)
STATE = InterfaceState(
    "eth0", True, mode="native", program_id=7, snapshot=SNAPSHOT, runs=7, run_seconds=0.25
)

TIMING = Timing(
    sample=16,
    tracked=30,
    expired=4,
    displaced=2,
    waiting=3,
    duplicate=1,
    orphan=5,
    durations={("ipv4", "udp"): Histogram((16384, 32768), (20, 1, 0), 200_000)},
)
RESPONSES = Snapshot(
    dimensions=RESPONSE_DIMENSIONS,
    queries={("ipv4", "udp", "NODATA", "0", "1", "0", "1", "1232", "AAAA", "com"): 3},
    outcomes={"response": 3, "not_response": 1},
    marginals=MARGINALS,
    map_entries={"responses": 1},
    map_max_entries={"responses": 100},
    timing=TIMING,
)
LEAVING = InterfaceState(
    "eth0", True, mode="tcx", program_id=8, snapshot=RESPONSES, direction="egress", side="responses"
)
"""What the second program of the same interface counted."""


def state(queries: Mapping[tuple[str, ...], int], dimensions: tuple[str, ...]) -> InterfaceState:
    """An interface that counted these rows."""
    return replace(STATE, snapshot=replace(SNAPSHOT, dimensions=dimensions, queries=dict(queries)))


def parsed(body: bytes, openmetrics: bool = False) -> Samples:
    """The samples of a scrape as prometheus_client's parsers read it; none may come twice."""
    parse = parse_openmetrics if openmetrics else parse_text
    samples = [s for family in parse(body.decode()) for s in family.samples]
    result = {(s.name, frozenset(s.labels.items())): s.value for s in samples}
    assert len(result) == len(samples)
    return result


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """The key of a sample in :func:`parsed`'s result."""
    return name, frozenset(labels.items())
