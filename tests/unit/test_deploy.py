"""What deploy/ holds, judged by the tools that will read it."""

from __future__ import annotations

import os
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


# Stands for ssh: notes the host, and runs the command here by the shell that a login there has.
SSH = """#!/bin/sh
shift 2
echo "$1" >>"$SSH_LOG"
[ "$1" != down.example ] || exit 255
shift
exec sh -c "$*"
"""


def install(
    tmp_path: Path, *arguments: str, check: bool = True
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """`deploy/install --dry-run`, and the hosts that it went to."""
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    log = tmp_path / "hosts"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SSH_LOG": str(log)}
    argv = [str(DEPLOY / "install"), "--dry-run", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment)
    if check:
        assert done.returncode == 0, done.stderr
    return done, log.read_text().split() if log.exists() else []


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with nothing in it."""
    control = tmp_path / "package" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    control.write_text(
        "Package: xdpdns\nVersion: 99\nArchitecture: all\nMaintainer: x <x@y.example>\n"
        "Description: x\n"
    )
    path = tmp_path / "x.deb"
    run("dpkg-deb", "--build", control.parent.parent, path)
    return path


def steps(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("+")]


def test_install_here(tmp_path: Path, package: Path) -> None:
    done, hosts = install(tmp_path, "--interface", "lo", "--package", str(package))
    apt, *rest = steps(done.stdout)
    assert "apt-get" in apt
    assert str(package) in apt
    assert rest == ["+ 'systemctl' 'enable' 'xdpdns@lo'", "+ 'systemctl' 'start' 'xdpdns@lo'"]
    assert hosts == []


def test_install_there(tmp_path: Path, package: Path) -> None:
    """The script and the package arrive over ssh and do there what they would here."""
    options = ("--package", str(package), "--options", "--port 53,5353")
    done, hosts = install(tmp_path, "--interface", "lo", *options, "ns1.example", "ns2.example")
    assert hosts == ["ns1.example", "ns2.example"]
    there = steps(done.stdout)
    assert len(there) == 2 * 4
    assert there[1:4] == [
        "+ write /etc/default/xdpdns",
        "+ 'systemctl' 'enable' 'xdpdns@lo'",
        "+ 'systemctl' 'start' 'xdpdns@lo'",
    ]


def test_a_host_that_fails_is_named_and_the_others_are_done(tmp_path: Path, package: Path) -> None:
    options = ("--interface", "lo", "--package", str(package))
    done, hosts = install(tmp_path, *options, "down.example", "ns2.example", check=False)
    assert done.returncode == 1
    assert hosts == ["down.example", "ns2.example"]
    assert "failed on down.example:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--interface eth0"),
        (("--interface",), "--interface needs a value"),
        (("--interface", "a/b"), "a/b"),
        (("--interface", "lo", "--fast"), "--fast"),
        (("--interface", "lo", "--tree", "ns1.example"), "--tree"),
        (("--interface", "lo", "--tree", "--package", "x.deb"), "--tree"),
        (("--interface", "lo", "--options", "--tlds 'nl'"), "quotes"),
    ],
)
def test_install_refuses_wrong_use(tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    done, _ = install(tmp_path, *arguments, check=False)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert named in line
    assert line.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--interface", "eth99", "--tree"), "eth99"),
        (("--interface", "lo", "--package", "/nonexistent/x.deb"), "/nonexistent/x.deb"),
    ],
)
def test_install_says_what_is_not_there(
    tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    done, _ = install(tmp_path, *arguments, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert named in line


def test_the_scripts_explain_themselves() -> None:
    assert "--interface NAME" in run(DEPLOY / "install", "--help")
    assert "dist/" in run(DEPLOY / "deb", "--help")
