"""What is mistyped is answered with what was meant, in one sentence; colour only where it fits."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpdns import netns
from xdpdns.errors import AttachError
from xdpdns.suggest import did_you_mean

XDPDNS = [sys.executable, "-m", "xdpdns"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("atach eth0", 2, "Did you mean one of: 'attach', 'detach'?"),
        ("statsu", 2, "No such command 'statsu'. Did you mean 'status'?"),
        ("report ends", 2, "No such command 'ends'. Did you mean 'edns'?"),
        ("plan --lables af", 2, "No such option '--lables'. Did you mean '--labels'?"),
        ("attach eth0 --mode fast", 2, "'fast' is not one of 'auto', 'native', 'generic'"),
        ("plan --labels af,qtpye", 2, "--labels: qtpye is not a dimension: choose from af,"),
        ("plan --output yaml", 2, "'yaml' is not one of 'text', 'json'"),
        ("plan --port 99999", 2, "--port: 99999 is no port: give 1 to 65535."),
        ("plan --port 53;", 2, "'53;' is not a list of numbers such as 1232,1400."),
        ("plan --max-series many", 2, "'many' is not a valid integer"),
        ("plan --tlds @/nowhere", 2, "--tlds: /nowhere can't be read"),
        ("attach lo --web.listen-address 10530", 2, "'10530' is no address to listen on"),
        ("attach lo --web.config.file /nowhere", 2, "/nowhere can't be read"),
        ("attach lo --user nobdoy", 2, "--user: there is no user nobdoy"),
        ("status --netns nowhere", 1, "nowhere"),
        ("demo --rate 0", 2, "0.0 is not in the range 1<=x<=10000"),
        ("replay /nowhere.pcap", 1, "/nowhere.pcap"),
        ("--config /nowhere plan", 2, "/nowhere can't be read"),
        ("completion tcsh", 2, "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        ("config show plna", 2, "There is no command `plna`"),
    ],
)
def test_one_sentence(arguments: str, code: int, said: str) -> None:
    done = subprocess.run([*XDPDNS, *arguments.split()], text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert said in lines[-1]
    assert lines[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("QTYPES", "x", "Invalid value for XDPDNS_PLAN_QTYPES: 'x' is not one of"),
        ("MAX_SERIES", "x", "Invalid value for XDPDNS_PLAN_MAX_SERIES: 'x' is not a valid integer"),
        ("PORT", "x", "Invalid value for XDPDNS_PLAN_PORT: 'x' is not a list of numbers"),
        ("LABELS", "x", "XDPDNS_PLAN_LABELS: --labels: x is not a dimension"),
        ("MAX_SERIES", "0", "XDPDNS_PLAN_MAX_SERIES: --max-series: 0 is out of bounds"),
    ],
)
def test_a_value_of_the_environment(name: str, value: str, said: str) -> None:
    environment = {**os.environ, f"XDPDNS_PLAN_{name}": value}
    done = subprocess.run([*XDPDNS, "plan"], text=True, capture_output=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"Error: {said}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to get as far as the interface")
@pytest.mark.parametrize("command", ["detach", "attach"])
def test_an_interface(command: str) -> None:
    """`lo` is the one that is everywhere."""
    argv = [*XDPDNS, command, "ol"]
    argv += ["--web.listen-address", "127.0.0.1:0"] * (command == "attach")
    done = subprocess.run(argv, text=True, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("there is no interface ol: did you mean lo?")


def test_a_network_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "NAMED", tmp_path)
    (tmp_path / "customer").touch()
    with pytest.raises(AttachError, match=r"custmoer can't be opened .*: did you mean customer\?$"):
        netns.enter("custmoer")
    monkeypatch.setattr(netns, "NAMED", tmp_path / "absent")
    with pytest.raises(AttachError, match="`ip netns` lists"):
        netns.enter("custmoer")


@pytest.mark.parametrize(
    ("name", "among", "meant"),
    [
        ("ehto0", ["lo", "eth0", "eth1"], "did you mean eth0?"),
        ("eht1", ["lo", "eth0", "eth1"], "did you mean eth1?"),
        ("enp3s", ["enp3s0", "wlan0"], "did you mean enp3s0?"),
        ("zzz", ["lo", "eth0"], ""),
        ("eth0", [], ""),
    ],
)
def test_did_you_mean(name: str, among: list[str], meant: str) -> None:
    assert did_you_mean(name, among) == meant


@given(st.text(max_size=15), st.lists(st.text(max_size=15)))
def test_only_what_there_is_is_meant(name: str, among: list[str]) -> None:
    meant = did_you_mean(name, among)
    assert meant == "" or meant.removeprefix("did you mean ").removesuffix("?") in among


def on_terminal(*arguments: str, **variables: str) -> str:
    """What a command prints to a terminal."""
    terminal, end = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [*XDPDNS, *arguments],
        stdout=end,
        stderr=end,
        env={**environment, "TERM": "xterm-256color", **variables},
    )
    os.close(end)
    seen = b""
    try:
        while data := os.read(terminal, 65536):
            seen += data
    except OSError:  # EIO: the other end is closed
        assert seen
    os.close(terminal)
    assert process.wait(60) == 0
    return seen.decode()


def test_colour_on_a_terminal_only() -> None:
    assert "\x1b[1m" in on_terminal("plan")
    assert "\x1b[3" not in on_terminal("plan", NO_COLOR="1")
    piped = subprocess.run([*XDPDNS, "plan"], text=True, capture_output=True, timeout=60)
    assert "\x1b" not in piped.stdout
    assert on_terminal("plan", "--output", "json").startswith("{\r\n  ")
