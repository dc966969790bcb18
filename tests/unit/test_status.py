"""What `xdpdns status` prints and its JSON, from made-up findings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xdpdns import present
from xdpdns.holders import Holder, Holders
from xdpdns.status import InterfaceStatus, ProgramStatus, Rows, Status, to_json

AGENT = Holder(4711, "xdpdns", 23456, "0000000000000000", 41_000_000)
OURS = ProgramStatus(
    hook="xdp",
    direction="ingress",
    mode="native",
    id=7,
    name="xdpdns_ingress",
    ours=True,
    kept=False,
    counting_since=datetime(2026, 1, 1, 3, 4, 5, 678, tzinfo=UTC),
    loaded_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    runs=0,
    run_ns=0,
    counts=("queries",),
    rows=Rows(5, 100_000),
    holders=(AGENT,),
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
    assert program["counting_since"] == "2026-01-01T03:04:05+00:00"
    assert (program["runs"], program["run_ns"], program["ns_per_run"]) == (3, 1000, 333.3)
    assert program["rows"] == {"entries": 5, "max_entries": 100_000}
    [holder] = program["holders"]
    assert holder == {
        "pid": 4711,
        "command": "xdpdns",
        "uid": 23456,
        "capabilities": "0000000000000000",
        "rss_bytes": 41_000_000,
    }


def test_what_was_not_timed_has_no_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert to_json(with_program(OURS))["interfaces"][0]["programs"][0]["ns_per_run"] is None
    present.status(with_program(OURS))
    said = capsys.readouterr().out
    assert "not timed" in said
    assert "`sysctl kernel.bpf_stats_enabled=1`" in said.replace("\n", " ")
    present.status(with_program(replace(OURS, runs=1000, run_ns=123_400), kernel_stats=True))
    said = capsys.readouterr().out
    assert "123 ns (1,000 runs)" in said
    assert "sysctl" not in said
    present.status(with_program(replace(OURS, runs=999, run_ns=6_766_000), kernel_stats=True))
    assert "too few runs (999)" in capsys.readouterr().out


def test_nobody_serves(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for an interface, which tells what was meant to stay from what was left."""
    killed = replace(OURS, holders=())
    for program, said in (
        (killed, "which was killed: `xdpdns detach eth0` removes the program."),
        (replace(killed, kept=True), "as --keep has it: `xdpdns attach eth0 --keep` goes on,"),
    ):
        present.status(Status((InterfaceStatus("eth0", 2, True, 1500, (program,) * 2),), True))
        lines = capsys.readouterr().out
        assert " ".join(lines.split()).count("is counted without an agent") == 1
        assert said in " ".join(lines.split())
        assert "no process" in lines


def test_since(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC) - timedelta(days=2, hours=1)
    present.status(with_program(replace(OURS, counting_since=before)))
    assert "(2 days, 1:00:0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("capabilities", "power"),
    [
        ("0000000000000000", "none"),
        ("000000c000001000", "CAP_NET_ADMIN CAP_PERFMON CAP_BPF"),
        ("000001ffffffffff", "41 of them"),
    ],
)
def test_what_a_holder_may(
    capsys: pytest.CaptureFixture[str], capabilities: str, power: str
) -> None:
    holder = replace(AGENT, capabilities=capabilities)
    present.status(with_program(replace(OURS, holders=(holder,))))
    said = " ".join(capsys.readouterr().out.split())
    assert f"pid 4711 xdpdns 23456 {power} 41.0 MB" in said


STATUS = """\
Name:\txdpdns
Uid:\t0\t23456\t0\t0
CapEff:\t0000000000001000
VmRSS:\t   40000 kB
"""


def make_process(proc: Path, pid: int, opened: dict[str, str]) -> None:
    """A process in a /proc of our own: its open files and their fdinfo."""
    for folder in ("fd", "fdinfo"):
        (proc / str(pid) / folder).mkdir(parents=True)
    for number, (kind, info) in enumerate(opened.items()):
        (proc / str(pid) / "fd" / str(number)).symlink_to(kind)
        (proc / str(pid) / "fdinfo" / str(number)).write_text(f"pos:\t0\n{info}\n")
    (proc / str(pid) / "status").write_text(STATUS)


def test_holders(tmp_path: Path) -> None:
    """Who holds the program, and who only a map: the agent needs no more than that."""
    make_process(tmp_path, 10, {"anon_inode:bpf-prog": "prog_id:\t7"})
    make_process(tmp_path, 9, {"anon_inode:bpf-map": "map_id:\t70", "/dev/null": "map_id:\t71"})
    make_process(tmp_path, 8, {"anon_inode:bpf-prog": "prog_id:\t70"})
    make_process(tmp_path, 11, {"anon_inode:bpf-map": "map_id:\t7"})
    make_process(tmp_path, 12, {"anon_inode:bpf-prog": "prog_id:\t7"})
    (tmp_path / "12" / "status").unlink()  # it ended since
    holders = Holders(tmp_path)
    assert [holder.pid for holder in holders.of(7, (70, 71))] == [9, 10]
    assert [holder.pid for holder in holders.of(7)] == [10]
    assert holders.of(71) == ()
    assert holders.of(7)[0] == Holder(10, "xdpdns", 23456, "0000000000001000", 40_960_000)
