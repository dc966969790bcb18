"""The agent works with the rights that deploy/xdpdns@.service leaves it, and has no others.

systemd itself isn't needed: setpriv, a read-only mount and prctl(2) do here what the unit's lines
of the same meaning make systemd do.
"""

from __future__ import annotations

from pathlib import Path

from tests.netns.actors import XDPDNS, Agent, dnsperf, start_nsd
from tests.netns.lab import Lab

UNIT = Path(__file__).parents[2] / "deploy" / "xdpdns@.service"
USER = "23456"  # nobody's
CAPABILITY_NUMBERS = {"CAP_NET_ADMIN": 12, "CAP_PERFMON": 38, "CAP_BPF": 39}  # linux/capability.h

# MemoryDenyWriteExecute= (PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN)
NO_WRITE_AND_EXECUTE = (
    "import ctypes, os, sys\n"
    "assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def sandbox(capabilities: list[str], tmp: Path) -> list[str]:
    """A prefix that runs a command as the unit does; `tmp` is the one place to write."""
    names = ",".join("+" + name.removeprefix("CAP_").lower() for name in capabilities)
    sets = [f"--{kind}=-all,{names}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    user = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    python = str(Path(XDPDNS).with_name("python3"))
    return [
        *("unshare", "--mount", "bash", "-ec"),
        # ProtectSystem=strict, PrivateTmp=
        f'mount -t tmpfs tmpfs {tmp}; mount -o remount,bind,ro /; TMPDIR={tmp} exec "$@"',
        *("sandbox", "setpriv", *user, "--no-new-privs", *sets),
        *(python, "-c", NO_WRITE_AND_EXECUTE),
    ]


def test_the_units_rights_are_enough(lab: Lab) -> None:
    lines = UNIT.read_text().splitlines()
    [ambient] = [line for line in lines if line.startswith("AmbientCapabilities=")]
    [bounding] = [line for line in lines if line.startswith("CapabilityBoundingSet=")]
    capabilities = ambient.partition("=")[2].split()
    assert capabilities == bounding.partition("=")[2].split()

    start_nsd(lab)
    agent = Agent(lab, prefix=sandbox(capabilities, lab.tmp))
    dnsperf(lab, ["example.com. A"] * 100)
    assert agent.scrape().queries == 100

    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{agent.process.pid}/status").read_text().splitlines()
    )
    mask = sum(1 << CAPABILITY_NUMBERS[name] for name in capabilities)
    assert int(status["CapBnd"], 16) == mask
    for kind in ("CapEff", "CapPrm", "CapAmb"):
        # what the unit gives is for the start; what answers HTTP has none of it
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == [USER] * 4
    agent.stop()
