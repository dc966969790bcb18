"""`xdpdns dump`: the counters of what runs, in the formats that other collectors read.

The maps in the kernel are the interface: nothing here asks an agent. A format is a pure function of
a :class:`~xdpdns.dump.reading.Reading`, in a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xdpdns.dump import dsc, graphite, influx, objects, prometheus, table
from xdpdns.dump.reading import Reading


@dataclass(frozen=True, slots=True)
class Format:
    """How a reading is written, UTF-8; `head` comes once before the first of several readings."""

    write: Callable[[Reading], bytes]
    head: bytes = b""


FORMATS: Mapping[str, Format] = {
    "prometheus": Format(prometheus.text),
    "openmetrics": Format(prometheus.openmetrics),
    "json": Format(objects.write),
    "csv": Format(table.write, table.HEAD),
    "influx": Format(influx.write),
    "graphite": Format(graphite.write),
    "dsc-xml": Format(dsc.write),
}
"""The formats by their names on the command line."""
