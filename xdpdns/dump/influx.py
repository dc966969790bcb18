r"""InfluxDB's line protocol, times in nanoseconds.

The measurement is `xdpdns` and the field is the metric's name without that prefix, so that
VictoriaMetrics, which joins the two by `_`, stores the very names that Prometheus scrapes.

Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/. A
backslash stands for itself unless a comma, a space or an equals sign follows, which none does in
our labels: in them `\` is always followed by three digits.
"""

from __future__ import annotations

from xdpdns.dump.reading import Reading
from xdpdns.dump.samples import Sample, samples

MEASUREMENT = "xdpdns"


def write(reading: Reading) -> bytes:
    """Write a line for each sample; counts are integers, as the `i` says."""
    when = f"{round(reading.time * 1000)}000000"
    lines = [f"{_series(one)} {_field(one)} {when}\n" for one in samples(reading)]
    return "".join(lines).encode("utf-8", "backslashreplace")


def _series(sample: Sample) -> str:
    tags = "".join(f",{name}={_escape(value)}" for name, value in sample.labels.items())
    return MEASUREMENT + tags


def _field(sample: Sample) -> str:
    name = sample.name.removeprefix(f"{MEASUREMENT}_")
    return f"{name}={sample.value}{'i' if isinstance(sample.value, int) else ''}"


def _escape(value: str) -> str:
    if value.endswith("\\"):  # an interface's name may, and would escape what follows
        value = value[:-1] + r"\092"
    return value.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")
