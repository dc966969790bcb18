"""What `xdpdns status` prints and its JSON, from made-up findings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from xdpdns import present
from xdpdns.status import InterfaceStatus, ProgramStatus, Rows, Status, to_json

OURS = ProgramStatus(
    mode="native",
    id=7,
    name="xdpdns_ingress",
    ours=True,
    loaded_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    runs=0,
    run_ns=0,
    rows=Rows(5, 100_000),
    holders=(4711,),
)


def with_program(program: ProgramStatus, kernel_stats: bool = False) -> Status:
    return Status((InterfaceStatus("eth0", 2, True, 1500, (program,)),), kernel_stats)


def test_json() -> None:
    made = to_json(with_program(replace(OURS, runs=3, run_ns=1000), kernel_stats=True))
    assert made["kernel_stats"] is True
    [interface] = made["interfaces"]
    [program] = interface.pop("programs")
    assert interface == {"interface": "eth0", "index": 2, "up": True, "mtu": 1500}
    assert program["loaded_at"] == "2026-01-02T03:04:05+00:00"
    assert (program["runs"], program["run_ns"], program["ns_per_run"]) == (3, 1000, 333.3)
    assert program["rows"] == {"entries": 5, "max_entries": 100_000}


def test_what_was_not_timed_has_no_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert to_json(with_program(OURS))["interfaces"][0]["programs"][0]["ns_per_run"] is None
    present.status(with_program(OURS))
    said = capsys.readouterr().out
    assert "not timed" in said
    assert "`sysctl kernel.bpf_stats_enabled=1`" in said.replace("\n", " ")
    present.status(with_program(replace(OURS, runs=1000, run_ns=123_400), kernel_stats=True))
    said = capsys.readouterr().out
    assert "123 ns x 1,000" in said
    assert "sysctl" not in said


def test_since(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC) - timedelta(days=2, hours=1)
    present.status(with_program(replace(OURS, loaded_at=before)))
    assert "(2 days, 1:00:0" in capsys.readouterr().out
