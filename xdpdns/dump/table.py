"""CSV (RFC 4180): a sample a line, a column for each label that any metric has."""

from __future__ import annotations

import csv
import io

from xdpdns.catalogue import CATALOGUE
from xdpdns.dump.reading import Reading
from xdpdns.dump.samples import samples

LABELS = tuple(dict.fromkeys(label for metric in CATALOGUE for label in (*metric.labels, "le")))
COLUMNS = ("time", "metric", *LABELS, "value")
"""`time` is in Unix seconds; a label that a metric doesn't have is empty."""


def _rows(rows: list[list[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)  # ends lines by CRLF, quotes what must be
    return out.getvalue().encode("utf-8", "backslashreplace")


HEAD = _rows([list(COLUMNS)])


def write(reading: Reading) -> bytes:
    """Write the samples, without the line of the columns' names."""
    when = f"{reading.time:.3f}"
    return _rows(
        [
            [when, one.name, *(one.labels.get(label, "") for label in LABELS), one.value]
            for one in samples(reading)
        ]
    )
