"""The package and its service under a real systemd (machine.py): no count is ever lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.actors import dnsperf, start_nsd
from tests.netns.lab import Lab, wait_until
from tests.netns.machine import Machine
from tests.netns.scrape import scrape

# building the package and installing it are many small files, on a machine that others use too
pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]
UNIT = "xdpdns@eth0.service"
QUERIES = ["example.com. A"] * 100


def package_there(machine: Machine, package: Path) -> Path:
    """The package where the machine can read it."""
    there = machine.shared / package.name
    if not there.exists():
        shutil.copy(package, there)
    return there


def install(machine: Machine, package: Path, *more: str) -> list[str]:
    """Run deploy/install there; the steps that it took."""
    there = package_there(machine, package)
    argv = [str(ROOT / "deploy" / "install"), "--package", str(there)]
    done = machine.run([*argv, "--interface", "eth0", *more], check=False)
    assert done.returncode == 0, done.stderr + machine.run(["journalctl", "--unit", UNIT]).stdout
    return [line for line in done.stdout.splitlines() if line.startswith("+")]


@pytest.fixture
def machine(lab: Lab, package: Path, installed: Path) -> Iterator[Machine]:
    """A machine on which deploy/install has just been run, for the sake of speed a second time."""
    if not shutil.which("systemd-nspawn"):
        pytest.skip("systemd-nspawn is not here: deploy/setup --dev installs it")
    with Machine(lab, installed) as made:
        install(made, package)
        yield made
        made.run(["systemctl", "stop", UNIT], check=False)
        made.run(["xdpdns", "detach", "eth0"], check=False)


def journal(machine: Machine) -> list[dict[str, Any]]:
    """What the unit's processes logged, as journald has it."""
    argv = ["journalctl", "--unit", UNIT, "--output=json", "_TRANSPORT=stdout"]
    return [json.loads(line) for line in machine.run(argv).stdout.splitlines()]


def new_agent(machine: Machine, before: str) -> None:
    """Wait until another main process than that of before is ready."""
    there = (before, "0")
    wait_until("a new agent", lambda: machine.show(UNIT, "MainPID") not in there)
    machine.wait_for(UNIT, "ActiveState", "active")


def options(machine: Machine, text: str) -> None:
    """Give the service other options."""
    machine.run(["sh", "-c", f"echo 'XDPDNS_OPTIONS=\"{text}\"' >/etc/default/xdpdns-eth0"])


def test_installed_ready_and_harmless(lab: Lab, machine: Machine) -> None:
    assert machine.show(UNIT, "ActiveState") == "active"  # it said that it is ready
    assert machine.show(UNIT, "StatusText") == "Counting on eth0."
    assert machine.show(UNIT, "UnitFileState") == "enabled"
    start_nsd(lab)
    dnsperf(lab, QUERIES)
    assert scrape(lab.server).queries == 100

    pid = machine.main_pid(UNIT)
    status = Path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status
    uid = machine.run(["id", "-u", "xdpdns"]).stdout.strip()
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status

    lines = journal(machine)
    [counting] = [line for line in lines if line["MESSAGE"].startswith("Counting on eth0")]
    assert counting["PRIORITY"] == "6"  # info; the prefix that said so is gone

    # the interface's own story is told as it goes on
    lab.server.run(["ip", "link", "set", "eth0", "down"])
    machine.wait_for(UNIT, "StatusText", "eth0 is not counted: down.")
    lab.server.run(["ip", "link", "set", "eth0", "up"])
    machine.wait_for(UNIT, "StatusText", "Counting on eth0.")
    assert "4" in {line["PRIORITY"] for line in journal(machine)}  # the warning


def test_lintian_has_nothing_to_say(package: Path) -> None:
    if not shutil.which("lintian"):
        pytest.skip("lintian is not here: deploy/setup --dev installs it")
    # the one override is explained in deploy/debian/xdpdns.lintian-overrides
    argv = ["lintian", "--allow-root", "--fail-on=error,warning", str(package)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_what_is_installed_works(machine: Machine) -> None:
    """It runs from /usr, and not from this tree."""
    assert (
        machine.run(["readlink", "-f", "/usr/bin/xdpdns"]).stdout == "/usr/lib/xdpdns/bin/xdpdns\n"
    )
    assert re.match(r"xdpdns,? (version )?\d", machine.run(["xdpdns", "--version"]).stdout)
    said = json.loads(machine.run(["xdpdns", "check", "--output", "json"]).stdout)
    assert all(need["met"] for need in said["needs"]), said
    assert machine.run(["man", "--where", "xdpdns-attach"], check=False).returncode in (0, 127)
    for path in ("man/man1/xdpdns.1.gz", "bash-completion/completions/xdpdns", "xdpdns/bpf"):
        machine.run(["ls", f"/usr/share/{path}"])
    # every module that the package has can be imported by its own interpreter
    modules = (
        "import pkgutil, importlib, xdpdns\n"
        "for one in pkgutil.walk_packages(xdpdns.__path__, 'xdpdns.'):\n"
        "    if not one.name.endswith(('__main__', 'otlp')): importlib.import_module(one.name)\n"
        "print(xdpdns.__file__)"
    )
    where = machine.run(["/usr/lib/xdpdns/bin/python3", "-c", modules]).stdout
    assert where.startswith("/usr/lib/xdpdns/")


def test_an_upgrade_loses_nothing(lab: Lab, machine: Machine, package: Path) -> None:
    start_nsd(lab)
    dnsperf(lab, QUERIES)
    before = machine.show(UNIT, "MainPID")
    folder = machine.shared / "newer"
    machine.run(["dpkg-deb", "--raw-extract", str(package_there(machine, package)), str(folder)])
    control = folder / "DEBIAN" / "control"
    control.write_text(re.sub(r"(Version: \S+)", r"\1.newer", control.read_text()))
    newer = machine.shared / "newer.deb"
    machine.run(["dpkg-deb", "--build", "-Znone", str(folder), str(newer)])
    steps = install(machine, newer)
    assert any("apt-get" in step for step in steps)
    new_agent(machine, before)
    dnsperf(lab, QUERIES)
    assert scrape(lab.server).queries == 200


def test_installing_again_changes_nothing(machine: Machine, package: Path) -> None:
    before = machine.show(UNIT, "MainPID")
    assert install(machine, package) == []
    assert machine.show(UNIT, "MainPID") == before
    assert install(machine, package, "--interface", "lo", "--dry-run") == [
        "+ write /etc/default/xdpdns-lo",
        "+ 'systemctl' 'enable' 'xdpdns@lo'",
        "+ 'systemctl' 'start' 'xdpdns@lo'",
    ]
    assert machine.show("xdpdns@lo.service", "ActiveState") == "inactive"


SETUP_DONE = """
cd "$1"
printf '%s %s %s\\n' "$1" "$(readlink -f /usr/bin/python3)" '[dev]' >.venv/setup-fingerprint
cat pyproject.toml >>.venv/setup-fingerprint
"""


HIDDEN = ("/tmp", "/var/tmp", "/home", "/root", "/run/user")
"""What the unit's PrivateTmp= and ProtectHome= keep from the service."""


def test_installed_from_the_clone(lab: Lab) -> None:
    """As after a deploy/setup: the machine has no way to a package index."""
    if not shutil.which("systemd-nspawn"):
        pytest.skip("systemd-nspawn is not here: deploy/setup --dev installs it")
    with Machine(lab) as machine:
        machine.run(["bash", "-ec", SETUP_DONE, "setup", str(ROOT)])
        argv = [str(ROOT / "deploy" / "install"), "--tree", "--interface", "eth0"]
        if any(map(ROOT.is_relative_to, HIDDEN)):
            done = machine.run(argv, check=False)
            assert done.returncode == 1
            assert "may not look" in done.stderr
            return
        done = machine.run(argv)
        assert "+ 'systemctl' 'start' 'xdpdns@eth0'" in done.stdout
        assert machine.show(UNIT, "StatusText") == "Counting on eth0."
        assert scrape(lab.server).total("xdpdns_up") == 1
        done = machine.run(argv)
        assert [line for line in done.stdout.splitlines() if line.startswith("+")] == [
            f"+ '{ROOT}/deploy/setup'"
        ]
        machine.run(["systemctl", "disable", "--now", UNIT])
        machine.run(["xdpdns", "detach", "eth0"])
    assert lab.server.xdp_program() is None


def test_removing_the_package_leaves_nothing(lab: Lab, machine: Machine) -> None:
    assert lab.server.xdp_program() is not None
    machine.run(["apt-get", "-q", "-y", "purge", "xdpdns"])
    assert lab.server.xdp_program() is None
    for left in (
        "/usr/lib/xdpdns",
        "/usr/share/xdpdns",
        "/etc/default/xdpdns",
        "/sys/fs/bpf/xdpdns",
    ):
        assert machine.run(["ls", left], check=False).stdout == "", left


def test_a_reload_takes_new_options_and_loses_nothing(lab: Lab, machine: Machine) -> None:
    start_nsd(lab)
    dnsperf(lab, QUERIES)
    before = machine.show(UNIT, "MainPID")
    options(machine, "--web.listen-address :10540 --log-format json")
    done = machine.run(["systemctl", "reload", UNIT], check=False)
    assert done.returncode == 0, machine.run(["journalctl", "--unit", UNIT]).stdout
    dnsperf(lab, QUERIES)  # while the agent is away
    new_agent(machine, before)
    dnsperf(lab, QUERIES)
    assert scrape(lab.server, port=10540).queries == 300
    json_lines = [line for line in journal(machine) if line["MESSAGE"].startswith("{")]
    messages = [json.loads(line["MESSAGE"])["message"] for line in json_lines]
    assert "eth0: going on from the counters that were kept." in messages


@pytest.mark.parametrize("place", ["options", "file"])
def test_a_reload_with_an_error_changes_nothing(lab: Lab, machine: Machine, place: str) -> None:
    before = machine.show(UNIT, "MainPID")
    if place == "options":
        options(machine, "--mode fast")
        named = "fast"
    else:
        machine.run(["sh", "-c", "printf '[attach]\\nmode = \"fast\"\\n' >/etc/xdpdns.toml"])
        named = "/etc/xdpdns.toml:2: attach.mode"
    done = machine.run(["systemctl", "reload", UNIT], check=False)
    assert done.returncode != 0
    assert any(named in line["MESSAGE"] for line in journal(machine))
    # nor does a signal by hand, where the error can be seen by the agent
    if place == "file":
        machine.run(["systemctl", "kill", "--kill-whom=main", "--signal=HUP", UNIT])
        wait_until(
            "the agent's word",
            lambda: any("stay as they were" in line["MESSAGE"] for line in journal(machine)),
        )
    assert machine.show(UNIT, "MainPID") == before
    assert machine.show(UNIT, "ActiveState") == "active"
    assert scrape(lab.server).total("xdpdns_up") == 1


@pytest.mark.parametrize("victim", ["agent", "supervisor"])
def test_the_watchdog_ends_what_hangs(lab: Lab, machine: Machine, victim: str) -> None:
    machine.run(["sh", "-c", f"mkdir -p /run/systemd/system/{UNIT}.d"])
    drop_in = f"/run/systemd/system/{UNIT}.d/fast.conf"
    machine.run(["sh", "-c", f"printf '[Service]\\nWatchdogSec=2\\n' >{drop_in}"])
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "restart", UNIT])
    start_nsd(lab)
    dnsperf(lab, QUERIES)
    agent = machine.main_pid(UNIT)
    [supervisor] = map(int, Path(f"/proc/{agent}/task/{agent}/children").read_text().split())
    before = machine.show(UNIT, "MainPID")
    os.kill(agent if victim == "agent" else supervisor, signal.SIGSTOP)
    new_agent(machine, before)
    dnsperf(lab, QUERIES)
    assert scrape(lab.server).queries == 200


def test_restarts_and_kills_lose_nothing(lab: Lab, machine: Machine) -> None:
    start_nsd(lab)
    for number, action in enumerate(("restart", "kill --signal=KILL", "restart"), 1):
        before = machine.show(UNIT, "MainPID")
        machine.run(["systemctl", *action.split(), UNIT])
        dnsperf(lab, QUERIES)
        new_agent(machine, before)
        assert scrape(lab.server).queries == 100 * number
