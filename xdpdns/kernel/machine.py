"""What bpf(2) asks of the process, and how many CPUs a per-CPU map is for."""

from __future__ import annotations

import errno
from functools import cache
from pathlib import Path

from xdpdns.errors import MissingNeedError
from xdpdns.suggest import this_command

_CAP_NET_ADMIN, _CAP_PERFMON, _CAP_BPF, _CAP_SYS_ADMIN = 12, 38, 39, 21


def capabilities(which: str = "CapEff") -> int:
    """A set of this process's capabilities as a bit mask (capabilities(7)), CapEff: the effective.

    The others are named as in /proc/self/status: CapBnd bounds what root can have.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1], 16)
    return 0


def missing_capabilities(which: str = "CapEff") -> list[str]:
    """What this process lacks to load and attach; CAP_SYS_ADMIN stands for BPF and PERFMON."""
    have = capabilities(which)
    needs = {"CAP_NET_ADMIN": _CAP_NET_ADMIN, "CAP_PERFMON": _CAP_PERFMON, "CAP_BPF": _CAP_BPF}
    return [
        name
        for name, bit in needs.items()
        if not have & 1 << bit and (name == "CAP_NET_ADMIN" or not have & 1 << _CAP_SYS_ADMIN)
    ]


def require_root() -> None:
    """Fail early where loading and attaching would be refused.

    Raises:
        MissingNeedError: naming the capabilities that are missing.
    """
    missing = missing_capabilities()
    if missing:
        are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        raise MissingNeedError(
            f"{' and '.join(missing)} {are} missing: run as root (`sudo {this_command()} ...`), or "
            f"give the process {them}.",
            errno.EPERM,
        )


def possible_cpus() -> int:
    """How many values a per-CPU map holds for a key: one for each CPU that may ever come up."""
    return sum(last - first + 1 for first, last in _possible())


def cpu_numbers() -> int:
    """One more than the highest number that a CPU may have; not every number below needs to be."""
    return max(last for _, last in _possible()) + 1


@cache
def _possible() -> list[tuple[int, int]]:
    """The numbers of the CPUs that may ever come up, as first and last of each run: 0-3,8-11."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    runs = (part.split("-") for part in text.split(","))
    return [(int(run[0]), int(run[-1])) for run in runs]
