"""The JSON of every command that needs root, held against its schema where it has most to say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.netns.foreign import by_bpftool
from tests.netns.lab import Lab
from tests.netns.test_status import agent
from tests.schemas import valid

XDPDNS = [sys.executable, "-m", "xdpdns"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it loads a BPF program")


def said(schema: str, *words: str | Path, code: int = 0, **environment: str) -> Any:
    """What a command prints, checked; on one line, since this is no terminal."""
    argv = [*XDPDNS, *map(str, words), "--output", "json"]
    done = subprocess.run(
        argv, text=True, capture_output=True, timeout=90, env={**os.environ, **environment}
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.count("\n") == 1
    return valid(schema, done.stdout)


def test_status_and_detach(lab: Lab) -> None:
    with agent(lab, "--program-stats", "--mode", "generic"):
        lab.client.run(["dig", "+tries=1", "+timeout=1", "@192.0.2.1", "nl", "NS"], check=False)
        made = said("status", "status", "--netns", lab.server.name)
        [eth0] = [one for one in made["interfaces"] if one["interface"] == "eth0"]
        assert all(program["ours"] for program in eth0["programs"])
        [program] = [one for one in eth0["programs"] if one["direction"] == "ingress"]
        assert program["ns_per_run"] > 0
        assert len(program["holders"]) > 1
        said("check", "check", "--netns", lab.server.name)
    made = said("detach", "detach", "eth0", "--netns", lab.server.name)
    [eth0] = made["interfaces"]
    assert eth0["interface"] == "eth0"
    assert eth0["done"]
    assert lab.server.xdp_program() is None


def test_somebody_elses(lab: Lab) -> None:
    by_bpftool(lab, "native")
    made = said("status", "status", "--netns", lab.server.name)
    assert [one["ours"] for i in made["interfaces"] for one in i["programs"]] == [False]
    made = said("check", "check", "--netns", lab.server.name)
    assert [one["ours"] for i in made["interfaces"] for one in i["programs"]] == [False]


def test_a_check_that_fails(tmp_path: Path) -> None:
    (tmp_path / "bcc.py").touch()
    made = said("check", "check", code=1, PYTHONPATH=f"{tmp_path}:{Path.cwd()}")
    assert not made["met"]


@pytest.mark.parametrize("damage", [0, 5])
def test_captures(captures: Path, tmp_path: Path, damage: int) -> None:
    whole = (captures / "PacketQ__sample.pcap").read_bytes()
    path = tmp_path / "some.pcap"
    path.write_bytes(whole[: len(whole) - damage])
    made = said("replay", "replay", path, code=int(damage > 0))
    assert made["queries"]
    assert bool(made["warnings"]) == (damage > 0)
    made = said("replay", "replay", path, path, "--labels", "af", code=int(damage > 0))
    assert made["file"] is None
    made = said("report-edns", "report", "edns", path, code=int(damage > 0))
    assert made["table1"]["packets"] > 0


def test_an_empty_capture(captures: Path, tmp_path: Path) -> None:
    path = tmp_path / "none.pcap"
    path.write_bytes((captures / "PacketQ__sample.pcap").read_bytes()[:24])
    assert said("replay", "replay", path)["first"] is None
    made = said("report-edns", "report", "edns", path)
    assert made["table2"]["E"]["fraction_of_remaining"] is None


def test_demo() -> None:
    made = said("demo", "demo", "--seconds", "1", "--web.listen-address", "127.0.0.1:0")
    assert made["equal"]
    assert made["dimensions"]["tld"]
