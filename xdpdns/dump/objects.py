"""JSON: one object for a reading, on a line of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from xdpdns.dump.reading import Reading
from xdpdns.families import InterfaceState
from xdpdns.report_json import tcp, to_json
from xdpdns.snapshot import Snapshot

TIMING = ("sample", "tracked", "matched", "expired", "displaced", "waiting", "duplicate", "orphan")


def write(reading: Reading) -> bytes:
    """Write `{"time", "since", "programs": [...]}`; times as in RFC 3339, UTC.

    `counters` are as `replay --output json` has them (but `rows`, which are of queries or of
    responses), or null while they can't be read; the schema is schemas/dump.json.
    """
    made = {
        "time": _time(reading.time),
        "since": _time(reading.since),
        "programs": [_program(state) for state in reading.states],
    }
    return json.dumps(made).encode() + b"\n"


def _program(state: InterfaceState) -> dict[str, object]:
    return {
        "interface": state.interface,
        "up": state.up,
        "reason": state.reason,
        "direction": state.direction,
        "mode": state.mode,
        "program_id": state.program_id,
        "counters": None if state.snapshot is None else _counters(state.snapshot),
    }


def _counters(snapshot: Snapshot) -> dict[str, object]:
    made = to_json(snapshot)
    timing = snapshot.timing
    return {
        "of": "responses" if "response" in snapshot.outcomes else "queries",
        "rows": made["queries"],
        **{name: made[name] for name in ("packets", "outcomes", "overflow", "folded", "marginals")},
        "timing": None if timing is None else {name: getattr(timing, name) for name in TIMING},
        "tcp": tcp(snapshot.tcp),
    }


def _time(when: float) -> str:
    text = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
