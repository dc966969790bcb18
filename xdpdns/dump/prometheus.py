"""Prometheus's text format 0.0.4 and OpenMetrics 1.0, as `/metrics` has them, without timestamps.

node_exporter's textfile collector reads the first of them, and refuses timestamps.
"""

from __future__ import annotations

from xdpdns.dump.reading import Reading, metrics
from xdpdns.exposition import OPENMETRICS_EOF, render


def text(reading: Reading) -> bytes:
    """Write the text format."""
    return render(metrics(reading), openmetrics=False, on_error=_failed)


def openmetrics(reading: Reading) -> bytes:
    """Write OpenMetrics."""
    return render(metrics(reading), openmetrics=True, on_error=_failed) + OPENMETRICS_EOF


def _failed(collector: str, error: Exception) -> None:
    raise error
