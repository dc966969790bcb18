"""What deploy/ holds, judged by the tools that will read it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def run(*argv: str | Path) -> str:
    """What a tool prints, on either stream; skips where it isn't installed."""
    tool = str(argv[0])
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not here: deploy/setup --dev installs it")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """An instance of the unit, whose command is the one of this clone and so exists."""
    command = Path(sys.executable).with_name("xdpdns")
    text = (DEPLOY / "xdpdns@.service").read_text()
    assert "ExecStart=xdpdns " in text
    path = tmp_path / "xdpdns@eth0.service"
    path.write_text(text.replace("=xdpdns ", f"={command} "))
    return path


def test_the_unit_verifies_without_a_word(unit: Path) -> None:
    assert run("systemd-analyze", "verify", unit) == ""


def test_the_unit_is_locked_down(unit: Path) -> None:
    """An exposure level under 2.5; the option wants it times ten."""
    out = run("systemd-analyze", "security", "--offline=true", "--threshold=24", unit)
    assert "Overall exposure level for xdpdns@eth0.service" in out


def test_prometheus_takes_its_configuration() -> None:
    for file in ("prometheus.yml", "prometheus/site.yml", "prometheus/agent.yml"):
        assert "SUCCESS" in run("promtool", "check", "config", DEPLOY / file)
    agent = DEPLOY / "prometheus" / "agent.yml"
    assert "SUCCESS" in run("promtool", "check", "config", "--agent", agent)


def test_the_scripts_are_clean() -> None:
    scripts = [
        DEPLOY / "setup",
        DEPLOY / "quickstart",
        DEPLOY / "deb",
        DEPLOY / "install",
        ROOT / "tests" / "run",
        ROOT / ".ci" / "run",
    ]
    assert run("shellcheck", *scripts) == ""


def test_setup_explains_itself_and_refuses_what_it_does_not_know() -> None:
    assert "deploy/setup --dev" in run(DEPLOY / "setup", "--help")
    wrong = subprocess.run([DEPLOY / "setup", "--fast"], capture_output=True, text=True, timeout=30)
    assert wrong.returncode == 2
    assert "--fast" in wrong.stderr
