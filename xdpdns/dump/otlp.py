"""OTLP, OpenTelemetry's protocol, by OpenTelemetry's own SDK (`pip install 'xdpdns[otlp]'`).

The SDK's instruments are for programs that count for themselves; the kernel has counted already. So
a reading becomes the SDK's data model, which its exporter sends: protobuf over HTTP, compressed,
tried again with growing pauses. Metrics keep their names; counts are cumulative since the oldest
program was loaded. Headers, certificates and time-outs come from the standard variables
(OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _TIMEOUT ...), more resource attributes from
OTEL_RESOURCE_ATTRIBUTES.

Source: https://opentelemetry.io/docs/specs/otel/metrics/data-model/.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from xdpdns import __version__
from xdpdns.dump.reading import Reading, metrics
from xdpdns.errors import SettingsError, XdpdnsError
from xdpdns.families import Block, Family

try:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        Metric,
        MetricExportResult,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:
    raise SettingsError(
        "--otlp needs OpenTelemetry's SDK, which is not installed: `pip install 'xdpdns[otlp]'`."
    ) from error

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_UNKNOWN = cast(float, None)  # a smallest and a largest value, which the protocol lets us leave out


class PushError(XdpdnsError):
    """A receiver didn't take the metrics."""


class Push:
    """Sends readings to one receiver, whose URL may leave out the usual path `/v1/metrics`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        path = parts.path.rstrip("/") or "/v1/metrics"
        self.url = urlunsplit(parts._replace(path=path))
        self._exporter = OTLPMetricExporter(self.url, compression=Compression.Gzip)

    def send(self, reading: Reading) -> None:
        """Send one reading.

        Raises:
            PushError: it was not taken; the SDK has tried several times and logged why.
        """
        if self._exporter.export(convert(reading)) is not MetricExportResult.SUCCESS:
            raise PushError(
                f"{self.url} did not take the metrics: see that a receiver of OTLP over HTTP "
                "listens there (usually on port 4318)."
            )

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def convert(reading: Reading) -> MetricsData:
    """A reading in OpenTelemetry's data model; service.instance.id is the host's name."""
    host = socket.gethostname()
    resource = Resource.create(
        {
            "service.name": "xdpdns",
            "service.version": __version__,
            "service.instance.id": host,
            "host.name": host,
        }
    )
    made = [_metric(family, _times(reading)) for family in metrics(reading)]
    scope = ScopeMetrics(InstrumentationScope("xdpdns", __version__), made, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _times(reading: Reading) -> tuple[int, int]:
    """Since when, and when, in nanoseconds since 1970."""
    return round(reading.since * 1e6) * 1000, round(reading.time * 1e6) * 1000


def _metric(family: Family, times: tuple[int, int]) -> Metric:
    metric = family.metric
    data: Sum | Gauge | Histogram
    if metric.kind == "histogram":
        data = Histogram(list(_histograms(family, times)), _CUMULATIVE)
    else:
        points = [point for block in family.blocks for point in _points(block, times)]
        data = Sum(points, _CUMULATIVE, True) if metric.kind == "counter" else Gauge(points)
    return Metric(metric.name, metric.help, "", data)


def _points(block: Block, times: tuple[int, int]) -> Iterator[NumberDataPoint]:
    for row, value in block.rows.items():
        labels = zip(block.labels, (*block.fixed, *row), strict=True)
        yield NumberDataPoint(dict(labels), *times, value)


def _histograms(family: Family, times: tuple[int, int]) -> Iterator[HistogramDataPoint]:
    """Each interface's three blocks, as families.py makes them, as one point."""
    blocks = iter(family.blocks)
    for buckets, total, number in zip(blocks, blocks, blocks, strict=True):
        counts = [int(count) for count in buckets.rows.values()]
        yield HistogramDataPoint(
            dict(zip(total.labels, total.fixed, strict=True)),
            *times,
            count=int(number.rows[()]),
            sum=total.rows[()],
            bucket_counts=[counts[0], *(after - before for before, after in pairwise(counts))],
            explicit_bounds=[float(edge) for (edge,) in buckets.rows if edge != "+Inf"],
            min=_UNKNOWN,
            max=_UNKNOWN,
        )
