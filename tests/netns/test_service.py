"""The agent works with the rights that deploy/xdpdns@.service leaves it, and has no others.

systemd itself isn't needed: setpriv, a read-only mount and prctl(2) do here what the unit's lines
of the same meaning make systemd do.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.netns.actors import XDPDNS, Agent, dnsperf, start_nsd
from tests.netns.lab import Lab

UNIT = Path(__file__).parents[2] / "deploy" / "xdpdns@.service"
USER = "23456"  # nobody's
# linux/capability.h
NUMBERS = {"SETGID": 6, "SETUID": 7, "NET_ADMIN": 12, "PERFMON": 38, "BPF": 39}

# MemoryDenyWriteExecute= (PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN)
NO_WRITE_AND_EXECUTE = (
    "import ctypes, os, sys\n"
    "assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def sandbox(capabilities: list[str], tmp: Path) -> list[str]:
    """A prefix that runs a command as the unit does; `tmp` is the one place to write but bpffs."""
    names = ",".join("+" + name.lower() for name in capabilities)
    python = str(Path(XDPDNS).with_name("python3"))
    return [
        *("unshare", "--mount", "bash", "-ec"),
        # ProtectSystem=strict, PrivateTmp=
        f'mount -t tmpfs tmpfs {tmp}; mount -o remount,bind,ro /; TMPDIR={tmp} exec "$@"',
        *(
            "sandbox",
            "setpriv",
            "--no-new-privs",
            "--inh-caps=-all",
            f"--bounding-set=-all,{names}",
        ),
        *(python, "-c", NO_WRITE_AND_EXECUTE),
    ]


def units_capabilities() -> list[str]:
    [line] = [
        line for line in UNIT.read_text().splitlines() if line.startswith("CapabilityBoundingSet=")
    ]
    return [name.removeprefix("CAP_") for name in line.partition("=")[2].split()]


def test_the_units_rights_are_enough(lab: Lab) -> None:
    capabilities = units_capabilities()
    start_nsd(lab)
    options = ("--keep", "--user", USER)
    agent = Agent(lab, *options, prefix=sandbox(capabilities, lab.tmp))
    dnsperf(lab, ["example.com. A"] * 100)
    assert agent.scrape().queries == 100

    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{agent.process.pid}/status").read_text().splitlines()
    )
    assert int(status["CapBnd"], 16) == sum(1 << NUMBERS[name] for name in capabilities)
    for kind in ("CapEff", "CapPrm", "CapAmb"):
        # what the unit gives is for the start; what answers HTTP has none of it
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == [USER] * 4

    # and a second start takes over
    assert agent.process.stop(signal.SIGTERM) == 0
    agent = Agent(lab, *options, prefix=sandbox(capabilities, lab.tmp))
    dnsperf(lab, ["example.com. A"] * 100)
    assert agent.scrape().queries == 200
    assert agent.process.stop(signal.SIGTERM) == 0
    lab.server.run([XDPDNS, "detach", "eth0"])


@pytest.mark.parametrize("missing", ["SETGID", "SETUID", "NET_ADMIN", "PERFMON", "BPF"])
def test_none_of_the_units_rights_is_more_than_needed(lab: Lab, missing: str) -> None:
    capabilities = [name for name in units_capabilities() if name != missing]
    argv = [*sandbox(capabilities, lab.tmp), XDPDNS, "attach", "eth0", "--keep", "--user", USER]
    done = lab.server.run(argv, check=False, timeout=20)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert lab.server.xdp_program() is None
