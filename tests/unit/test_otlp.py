"""OTLP against a receiver that decodes it by OpenTelemetry's own protocol buffers."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from tests.unit.metrics_fixture import Samples
from tests.unit.test_dump import READING, UP, scraped
from xdpdns.dump.otlp import Push, PushError


class Receiver(HTTPServer):
    """Keeps what it is sent; answers `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.paths: list[str] = []
        self.requests: list[ExportMetricsServiceRequest] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/x-protobuf"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        self.server.paths.append(self.path)
        self.server.requests.append(ExportMetricsServiceRequest.FromString(body))
        answer = ExportMetricsServiceResponse().SerializeToString()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def received(request: ExportMetricsServiceRequest) -> dict[str, Metric]:
    [resource] = request.resource_metrics
    [scope] = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def samples(metrics: dict[str, Metric]) -> Samples:
    """What was received as Prometheus would write it."""
    found: Samples = {}

    def add(name: str, point: Any, value: float, **more: str) -> None:
        labels = {one.key: one.value.string_value for one in point.attributes}
        key = name, frozenset((labels | more).items())
        assert key not in found
        found[key] = value

    for name, metric in metrics.items():
        for point in (*metric.sum.data_points, *metric.gauge.data_points):
            add(name, point, point.as_int or point.as_double)
        for histogram in metric.histogram.data_points:
            add(f"{name}_count", histogram, histogram.count)
            add(f"{name}_sum", histogram, histogram.sum)
            below = 0
            edges = [*map(str, histogram.explicit_bounds), "+Inf"]
            for edge, count in zip(edges, histogram.bucket_counts, strict=True):
                below += count
                add(f"{name}_bucket", histogram, below, le=edge)
    return found


def test_a_receiver_has_every_sample(receiver: Receiver) -> None:
    push = Push(receiver.url)
    push.send(READING)
    push.close()
    assert receiver.paths == ["/v1/metrics"]
    [request] = receiver.requests
    metrics = received(request)
    assert samples(metrics) == scraped()

    queries = metrics["xdpdns_queries_total"].sum
    assert queries.is_monotonic
    assert queries.aggregation_temporality == (
        AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    assert {point.start_time_unix_nano for point in queries.data_points} == {1699999900 * 10**9}
    assert {point.time_unix_nano for point in queries.data_points} == {1700000000250000000}
    [histogram] = metrics["xdpdns_query_size_bytes"].histogram.data_points
    [duration] = metrics["xdpdns_response_duration_seconds"].histogram.data_points
    assert (duration.count, duration.sum) == (21, 0.0002)
    assert not histogram.HasField("min")
    assert not histogram.HasField("max")
    [resource] = request.resource_metrics
    names = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert names["service.name"] == "xdpdns"
    assert names["service.instance.id"]


def test_two_interfaces(receiver: Receiver) -> None:
    push = Push(receiver.url + "/otlp/v1/metrics")
    push.send(replace(READING, states=(UP, replace(UP, interface="eth1"))))
    push.close()
    assert receiver.paths == ["/otlp/v1/metrics"]
    histogram = received(receiver.requests[0])["xdpdns_query_size_bytes"].histogram
    assert len(histogram.data_points) == 2
    assert histogram.data_points[0].bucket_counts == histogram.data_points[1].bucket_counts


def test_a_refusal_is_told(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.status = 400
    push = Push(receiver.url)
    with pytest.raises(PushError, match="did not take the metrics"):
        push.send(READING)
    push.close()
    assert "400" in caplog.text
