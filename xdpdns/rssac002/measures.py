"""From the counters of a day to RSSAC002's measures and their YAML; no kernel, no files.

What is a query here: a message to a watched port with QR clear, opcode QUERY and one question that
parses whole; a response: one from a watched port with QR set whose header and question do. Of TCP
the messages that one segment holds whole. Sizes are of the DNS message, without TCP's two bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date

import dns.rcode

from xdpdns import vocab
from xdpdns.errors import SettingsError, UnreadableError
from xdpdns.snapshot import Histogram, Snapshot

VERSION = "rssac002v5"

QUERY_LABELS = ("af", "proto", "qr")
RESPONSE_LABELS = ("af", "proto", "rcode")
"""What the rows of the two programs must tell apart."""

METRICS = ("traffic-volume", "traffic-sizes", "rcode-volume")

SIZES = ("udp-request-sizes", "udp-response-sizes", "tcp-request-sizes", "tcp-response-sizes")

_ENDS = {"request": 288, "response": 4096}
"""From this size on there is one last bucket, as operators publish it: `288-` and `4096-`."""

_LACKS = {
    "query-rows": "traffic-volume lacks {} queries that found no row: the table of rows is full "
    "(--max-series)",
    "response-rows": "traffic-volume and rcode-volume lack {} responses that found no row: the "
    "table of rows is full (--max-series)",
    "rcodes": "rcode-volume lacks {} responses with a response code that nobody has registered",
    "qr": "the request sizes have {} responses sent to the server's port, which are in no other "
    "measure",
}

Measures = dict[str, dict[str, int]]
"""Counts that add up: `traffic-volume`, each of SIZES, `rcode-volume`, and `lacks` (see lacks()).

By RSSAC002's keys; those of sizes and response codes are there only where something was counted.
"""


def measure(queries: Snapshot, responses: Snapshot) -> Measures:
    """The measures of what the two programs have counted.

    Raises:
        UnreadableError: the rows lack a label of QUERY_LABELS or RESPONSE_LABELS.
    """
    asked = _rows(queries, "--labels", QUERY_LABELS)
    answered = _rows(responses, "--response-labels", RESPONSE_LABELS)
    volume = dict.fromkeys(
        (
            f"dns-{proto}-{what}-{af}"
            for what in ("queries-received", "responses-sent")
            for proto in ("udp", "tcp")
            for af in vocab.AF_NAMES.values()
        ),
        0,
    )
    rcodes: Counter[int] = Counter()
    lacks = Counter(
        {
            "query-rows": sum(queries.overflow.values()),
            "response-rows": sum(responses.overflow.values()),
        }
    )
    for (af, proto, qr), count in asked.items():
        if qr == "1":
            lacks["qr"] += count
        else:
            volume[f"dns-{proto}-queries-received-{af}"] += count
    for (af, proto, rcode), count in answered.items():
        volume[f"dns-{proto}-responses-sent-{af}"] += count
        if rcode == vocab.OTHER:
            lacks["rcodes"] += count
        else:
            # a referral and an answer without data are NOERROR too
            noerror = rcode in ("NODATA", "REFERRAL")
            rcodes[0 if noerror else int(dns.rcode.from_text(rcode))] += count
    return {
        "traffic-volume": volume,
        **_sizes("request", queries),
        **_sizes("response", responses),
        "rcode-volume": {str(rcode): count for rcode, count in sorted(rcodes.items())},
        "lacks": {what: count for what, count in lacks.items() if count},
    }


def added(one: Measures, other: Measures) -> Measures:
    """The measures of two times, or of two interfaces, together."""
    return _combined(one, other, 1)


def between(before: Measures, after: Measures) -> Measures | None:
    """What was counted since `before`; None where a counter is lower, so has begun again."""
    made = _combined(after, before, -1)
    if any(count < 0 for counts in made.values() for count in counts.values()):
        return None
    zero_too = "traffic-volume"
    return {
        name: {key: n for key, n in counts.items() if n or name == zero_too}
        for name, counts in made.items()
    }


def lacks(measures: Measures) -> list[str]:
    """Sentences on what is missing in the measures, or in one too many."""
    return [_LACKS[what].format(count) + "." for what, count in measures["lacks"].items()]


def to_yaml(metric: str, service: str, day: date, measures: Measures) -> str:
    """One of METRICS as the file that is published."""
    lines = [
        "---",
        f"version: {VERSION}",
        f"service: '{service}'",
        f"start-period: {day.isoformat()}T00:00:00Z",
        f"metric: {metric}",
    ]
    if metric == "traffic-sizes":
        for name in SIZES:
            sizes = sorted(measures[name].items(), key=lambda item: _first(item[0]))
            lines.append(f"{name}:" if sizes else f"{name}: {{}}")
            lines += [f"  {size}: {count}" for size, count in sizes]
    elif metric == "rcode-volume":
        codes = sorted(measures[metric].items(), key=lambda item: int(item[0]))
        lines += [f"{code}: {count}" for code, count in codes]
    else:
        lines += [f"{name}: {count}" for name, count in measures[metric].items()]
    return "\n".join(lines) + "\n"


def file_name(metric: str, service: str, day: date) -> str:
    """As the operators name theirs: `a-root-20240101-rcode-volume.yaml`."""
    root = re.fullmatch(r"([a-m])\.root-servers\.net", service)
    return f"{f'{root[1]}-root' if root else service}-{day:%Y%m%d}-{metric}.yaml"


def check_service(name: str) -> str:
    """The name, if it can stand in a YAML file and in a file's name.

    Raises:
        SettingsError: it can't.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", name):
        raise SettingsError(
            f"--service: {name!r} is no name of a service: give one of letters, digits, dots and "
            "hyphens, such as a.root-servers.net."
        )
    return name


def _rows(snapshot: Snapshot, option: str, labels: tuple[str, ...]) -> Counter[tuple[str, ...]]:
    """The rows by these labels alone."""
    missing = [label for label in labels if label not in snapshot.dimensions]
    if missing:
        raise UnreadableError(
            f"the rows have no {' and no '.join(missing)}, without which RSSAC002's measures can't "
            f"be told: start xdpdns with {option} that has {','.join(labels)} (the default does)."
        )
    at = [snapshot.dimensions.index(label) for label in labels]
    found: Counter[tuple[str, ...]] = Counter()
    for row, count in snapshot.queries.items():
        found[tuple(row[i] for i in at)] += count
    return found


def _sizes(what: str, snapshot: Snapshot) -> Measures:
    every = snapshot.marginals.size
    sizes = snapshot.tcp and snapshot.tcp.sizes
    tcp = sizes.counts if sizes else (0,) * len(every.counts)
    udp = tuple(both - one for both, one in zip(every.counts, tcp, strict=True))
    return {
        f"{proto}-{what}-sizes": _buckets(every, counts, _ENDS[what])
        for proto, counts in (("udp", udp), ("tcp", tcp))
    }


def _buckets(histogram: Histogram, counts: tuple[int, ...], end: int) -> dict[str, int]:
    """The counts above 0 by `first-last`, from `end` on together."""
    found: Counter[str] = Counter()
    firsts = [0, *(bound + 1 for bound in histogram.bounds)]
    for first, last, count in zip(firsts, (*histogram.bounds, 0), counts, strict=True):
        if count:
            found[f"{first}-{last}" if last and first < end else f"{min(first, end)}-"] += count
    return dict(found)


def _combined(one: Measures, other: Measures, sign: int) -> Measures:
    return {
        name: {
            key: counts.get(key, 0) + sign * other[name].get(key, 0)
            for key in dict.fromkeys([*counts, *other[name]])
        }
        for name, counts in one.items()
    }


def _first(size: str) -> int:
    return int(size.partition("-")[0])
