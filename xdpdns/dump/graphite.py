r"""Graphite's plaintext protocol with tags: `metric;tag=value value time`, times in whole seconds.

Source: https://graphite.readthedocs.io/en/latest/tags.html. A tag's value can't hold `;`, which
becomes `\059` as in a name's presentation format (RFC 1035 5.1), nor begin with `~`: `~other`
becomes `.other`, which is no TLD either.
"""

from __future__ import annotations

from xdpdns.dump.reading import Reading
from xdpdns.dump.samples import Sample, samples


def write(reading: Reading) -> bytes:
    """Write a line for each sample."""
    when = round(reading.time)
    lines = [f"{_series(one)} {one.value} {when}\n" for one in samples(reading)]
    return "".join(lines).encode("utf-8", "backslashreplace")


def _series(sample: Sample) -> str:
    return sample.name + "".join(f";{name}={_value(v)}" for name, v in sample.labels.items())


def _value(value: str) -> str:
    value = value.replace(";", r"\059").replace(" ", r"\032")
    return f".{value[1:]}" if value.startswith("~") else value
