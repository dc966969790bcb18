"""A snapshot as JSON: the one shape and the one order of rows that every command prints."""

from __future__ import annotations

from typing import Any

from xdpdns.snapshot import Histogram, Marginals, Snapshot, Tcp, Timing


def rows(snapshot: Snapshot) -> list[tuple[tuple[str, ...], int]]:
    """The rows of the cross product, the most frequent first, equal counts by their labels."""
    return sorted(snapshot.queries.items(), key=lambda row: (-row[1], row[0]))


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """The counters as values that :func:`json.dumps` takes.

    `packets` is the sum of `outcomes`, which names every outcome, also those that did not occur.
    `queries` has an object for each row: a string for each dimension (bits are "0" and "1"), and
    `count`. Queries that found no room in a row are in `overflow`. A histogram has its non-empty
    buckets (not cumulative), each under its inclusive upper edge, the last one's being "+Inf".
    """
    return {
        "packets": snapshot.packets,
        "outcomes": dict(snapshot.outcomes),
        "queries": [
            {**dict(zip(snapshot.dimensions, labels, strict=True)), "count": count}
            for labels, count in rows(snapshot)
        ],
        "overflow": dict(snapshot.overflow),
        "folded": snapshot.folded,
        "marginals": _marginals(snapshot.marginals),
    }


def durations(timing: Timing) -> dict[str, Any]:
    """How soon queries were answered: `pairing` counts them, `histograms` are in nanoseconds.

    All counts are of the one query in `sample` that was timed, and nothing is scaled up.
    """
    results = ("tracked", "matched", "expired", "displaced", "waiting", "duplicate", "orphan")
    return {
        "sample": timing.sample,
        "pairing": {result: int(getattr(timing, result)) for result in results},
        "histograms": [
            {"af": af, "proto": proto, **_histogram(histogram)}
            for (af, proto), histogram in timing.durations.items()
        ],
    }


def tcp(counted: Tcp | None) -> dict[str, Any] | None:
    """What came in TCP segments, as the members of :class:`xdpdns.snapshot.Tcp`; None for None."""
    if counted is None:
        return None
    return {
        "segments": dict(counted.segments),
        "messages": dict(counted.messages),
        "split": counted.split,
        "unread": counted.unread,
    }


def _marginals(marginals: Marginals) -> dict[str, Any]:
    return {
        "opcodes": dict(marginals.opcodes),
        "flags": dict(marginals.flags),
        "classes": dict(marginals.classes),
        "edns_versions": dict(marginals.edns_versions),
        "size": _histogram(marginals.size),
        "name_length": _histogram(marginals.name_length),
        "name_labels": _histogram(marginals.name_labels),
    }


def _histogram(histogram: Histogram) -> dict[str, Any]:
    edges = [*map(str, histogram.bounds), "+Inf"]
    return {
        "buckets": {
            edge: count for edge, count in zip(edges, histogram.counts, strict=True) if count
        },
        "count": histogram.count,
        "sum": histogram.sum,
    }
