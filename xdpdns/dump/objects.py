"""JSON: one object for a reading, on a line of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from xdpdns.dump.reading import Reading
from xdpdns.families import InterfaceState
from xdpdns.report_json import to_json


def write(reading: Reading) -> bytes:
    """Write `{"time", "since", "interfaces": [...]}`; times as in RFC 3339, UTC.

    `counters` are as `replay --output json` has them, or null while they can't be read; the schema
    is schemas/dump.json.
    """
    made = {
        "time": _time(reading.time),
        "since": _time(reading.since),
        "interfaces": [_interface(state) for state in reading.states],
    }
    return json.dumps(made).encode() + b"\n"


def _interface(state: InterfaceState) -> dict[str, object]:
    return {
        "interface": state.interface,
        "up": state.up,
        "reason": state.reason,
        "mode": state.mode,
        "program_id": state.program_id,
        "counters": None if state.snapshot is None else to_json(state.snapshot),
    }


def _time(when: float) -> str:
    text = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
