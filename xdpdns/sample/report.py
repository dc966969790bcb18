"""A sample as JSON; its schema is xdpdns/schemas/sample.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdpdns.sample.counts import Exchange, Side, Way
from xdpdns.sample.take import Sample
from xdpdns.sample.verdict import Verdict


def to_json(sample: Sample, verdicts: Sequence[Verdict], top: int) -> dict[str, Any]:
    """All of it, with the first `top` addresses of each side."""
    settings, counts = sample.settings, sample.counts
    return {
        "interface": sample.interface,
        "hook": sample.hook,
        "ports": list(settings.ports),
        "started": sample.started.isoformat(timespec="milliseconds"),
        "seconds": round(sample.seconds, 6),
        "ended": sample.ended,
        "flags": {one.name: one.flag for one in verdicts},
        "verdicts": [_verdict(one) for one in verdicts],
        "in": _way(counts.incoming),
        "out": _way(counts.outgoing),
        "server": _side(counts.server, "clients", top),
        "client": _side(counts.client, "servers", top),
    }


def _verdict(one: Verdict) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": one.state,
        "value": _rounded(one.value),
        "threshold": one.threshold,
        "sense": one.sense,
        "count": one.count,
        "of": one.of,
        "figures": one.figures,
        "meaning": one.meaning,
    }


def _way(way: Way) -> dict[str, int]:
    return {
        "packets": way.packets,
        "queries": way.queries,
        "answers": way.answers,
        "other_dns": way.other_dns,
        "tcp_segments": way.tcp_segments,
        "other_packets": way.other_packets,
        "any_queries": way.any_queries,
        "truncated_answers": way.truncated_answers,
    }


def _side(side: Side, peers: str, top: int) -> dict[str, Any]:
    return {
        **_exchange(side.total),
        "addresses": len(side.peers),
        peers: [{"address": str(where), **_exchange(one)} for where, one in side.peers[:top]],
        "others": _exchange(side.others(top)),
        "unlisted": _exchange(side.unlisted),
    }


def _exchange(one: Exchange) -> dict[str, Any]:
    return {
        "queries": one.queries,
        "answers": one.answers,
        "queries_per_answer": _rounded(one.per_answer),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
