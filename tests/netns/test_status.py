"""`xdpdns status` against the kernel's other witnesses: bpftool, ip, and what we did ourselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.netns.actors import kill_agent, supervisors
from tests.netns.foreign import by_bpftool
from tests.netns.lab import Lab, wait_until

XDPDNS = [sys.executable, "-m", "xdpdns"]


def said(lab: Lab, output: str) -> str:
    argv = [*XDPDNS, "status", "--netns", lab.server.name, "--output", output]
    done = subprocess.run(argv, text=True, capture_output=True, timeout=30, check=True)
    assert not done.stderr
    return done.stdout


def eth0(lab: Lab) -> list[dict[str, Any]]:
    [interface] = [
        one for one in json.loads(said(lab, "json"))["interfaces"] if one["interface"] == "eth0"
    ]
    assert interface["up"]
    programs: list[dict[str, Any]] = interface["programs"]
    return programs


@contextmanager
def agent(lab: Lab, *options: str) -> Iterator[int]:
    """A running agent's pid; killed at the end, and its program stays."""
    argv = [*XDPDNS, "attach", "eth0", "--keep", "--netns", lab.server.name, *options]
    argv += ["--web.listen-address", "127.0.0.1:0"]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        wait_until("the agent attaches", lab.server.xdp_program)
        yield process.pid
    finally:
        kill_agent(process.pid)
        process.wait()


def test_nothing(lab: Lab) -> None:
    assert eth0(lab) == []
    assert "No program is attached to " in said(lab, "text")


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_ours(lab: Lab, mode: str) -> None:
    before = datetime.now(UTC)
    with agent(lab, "--mode", mode, "--max-series", "4711", "--program-stats") as pid:
        for name in ("nl", "de", "nl"):
            argv = ["dig", "+tries=1", "+timeout=1", "@192.0.2.1", name, "NS"]
            lab.client.run(argv, check=False)
        program, responses = eth0(lab)
        assert (responses["hook"], responses["direction"]) == ("tcx", "egress")
        assert (responses["name"], responses["ours"]) == ("xdpdns_response", True)
        assert responses["rows"]["entries"] == 0
        assert program["id"] == lab.server.xdp_program()
        assert (program["hook"], program["direction"]) == ("xdp", "ingress")
        assert (program["ours"], program["mode"]) == (True, mode)
        assert program["rows"] == {"entries": 2, "max_entries": 4711}
        assert [holder["pid"] for holder in program["holders"]] == [pid, *supervisors(pid)]
        for holder in program["holders"]:
            truth = Path(f"/proc/{holder['pid']}/status").read_text()
            assert f"CapEff:\t{holder['capabilities']}\n" in truth
            assert re.search(rf"^Uid:\t\d+\t{holder['uid']}\t", truth, re.MULTILINE)
            assert f"Name:\t{holder['command']}\n" in truth
            assert 5e6 < holder["rss_bytes"] < 60e6
        assert int(program["holders"][0]["capabilities"], 16) == 0
        # the lab is silent: only the queries arrive
        assert program["runs"] == lab.server.rx_packets() == 3
        assert program["ns_per_run"] == pytest.approx(program["run_ns"] / 3, abs=0.1)
        loaded = datetime.fromisoformat(program["loaded_at"])
        assert -1 < (loaded - before).total_seconds() < 30
        table = said(lab, "text")
        assert "2 of 4,711" in table
        assert re.search(rf"pid {pid} \w+ +[1-9]\d* +none +\d+\.\d MB", table)

    program, responses = eth0(lab)
    assert program["holders"] == responses["holders"] == []
    assert program["rows"]["entries"] == 2
    assert "`xdpdns detach eth0` ends it" in said(lab, "text")
    lab.server.run([*XDPDNS, "detach", "eth0"])


def test_somebody_elses(lab: Lab) -> None:
    by_bpftool(lab, "native")
    [program] = eth0(lab)
    assert program["id"] == lab.server.xdp_program()
    assert (program["ours"], program["rows"]) == (False, None)
    assert program["name"] == "foreign_pass"
    table = said(lab, "text")
    assert "foreign_pass (not ours)" in table
    assert "xdpdns detach" not in table


def test_without_root(lab: Lab) -> None:
    by_bpftool(lab, "native")
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    done = lab.server.run([*argv, *XDPDNS, "status"], check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "run as root" in done.stderr
    assert "Traceback" not in done.stderr
