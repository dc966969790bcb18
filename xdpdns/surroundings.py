"""What is good to know about a machine but not needed: hints of `xdpdns check`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xdpdns.container import container, kind_of, read

_BPFFS = "/sys/fs/bpf"


@dataclass(frozen=True, slots=True)
class Hint:
    """What was found; `mend` is a command for those who want it otherwise, or empty."""

    about: str
    found: str
    mend: str = ""


def hints(root: Path = Path("/")) -> list[Hint]:
    """All hints; `root` is where the files of the machine are."""
    found = []
    for look in _LOOKS:
        hint = look(root)
        if hint is not None:
            found.append(hint)
    return found


def _on_host(root: Path, command: str) -> str:
    """A sysctl's command: a container can't set it."""
    return f"on the host: {command}" if container(root) else command


def _jit(root: Path) -> Hint | None:
    value = read(root / "proc/sys/net/core/bpf_jit_enable")
    if value == "0":
        return Hint(
            "BPF JIT",
            "off: every packet costs some five times more",
            _on_host(root, "sysctl -w net.core.bpf_jit_enable=1"),
        )
    # other network namespaces than the first don't show it; kernels mostly force it on
    return Hint("BPF JIT", "on") if value else None


def _btf(root: Path) -> Hint:
    there = (root / "sys/kernel/btf/vmlinux").exists()
    return Hint("BTF", ("there" if there else "absent") + "; not needed, nor are kernel headers")


def _bpffs(root: Path) -> Hint:
    about = "BPF file system"
    kind = kind_of(container(root)) if container(root) else None
    for line in (read(root / "proc/self/mounts") or "").splitlines():
        _, place, file_system, options, *_ = line.split()
        if (place, file_system) == (_BPFFS, "bpf"):
            if "ro" not in options.split(","):
                return Hint(about, f"mounted on {_BPFFS}: `attach --keep` can pin there")
            mend = kind.pins if kind else f"mount -o remount,rw {_BPFFS}"
            return Hint(about, "mounted read-only; `attach --keep` needs to write there", mend)
    found = "not mounted; only `attach --keep` needs it"
    if kind is not None:
        return Hint(about, found, kind.pins)
    mend = f"mount -t bpf bpf {_BPFFS}"
    if not (root / "run/systemd/system").exists():
        # systemd mounts it at every boot, OpenRC and others do not
        mend += f"; echo 'bpf {_BPFFS} bpf defaults 0 0' >> /etc/fstab"
    return Hint(about, found, mend)


def _tcx(root: Path) -> Hint | None:
    release = re.match(r"(\d+)\.(\d+)", read(root / "proc/sys/kernel/osrelease") or "")
    if release is None:
        return None
    if (int(release[1]), int(release[2])) >= (6, 6):
        return Hint("TCX", "there: `attach --hook tcx` where another program has XDP")
    return Hint("TCX", "came with Linux 6.6: `attach --hook clsact` where another program has XDP")


def _unprivileged(root: Path) -> Hint | None:
    value = read(root / "proc/sys/kernel/unprivileged_bpf_disabled")
    if value == "0":
        return Hint(
            "unprivileged BPF",
            "allowed to everybody on this machine; xdpdns does not use it",
            _on_host(root, "sysctl -w kernel.unprivileged_bpf_disabled=1"),
        )
    return Hint("unprivileged BPF", "off, as it should be") if value else None


def _lockdown(root: Path) -> Hint | None:
    text = read(root / "sys/kernel/security/lockdown") or ""
    mode = text.partition("[")[2].partition("]")[0]
    if mode in ("integrity", "confidentiality"):
        return Hint("kernel lockdown", f"{mode}; XDP programs load all the same")
    return None


def _stats(root: Path) -> Hint | None:
    value = read(root / "proc/sys/kernel/bpf_stats_enabled")
    if value == "1":
        return Hint("BPF run times", "taken, at 20 to 40 ns a packet")
    if value == "0":
        return Hint(
            "BPF run times",
            "not taken; `attach --program-stats` does while it runs",
            _on_host(root, "sysctl -w kernel.bpf_stats_enabled=1"),
        )
    return None


def _container(root: Path) -> Hint | None:
    name = container(root)
    if not name:
        return None
    found = f"looks like {name}: only interfaces of its network namespace can be counted on"
    return Hint("container", found, kind_of(name).network)


_LOOKS: tuple[Callable[[Path], Hint | None], ...] = (
    *(_jit, _btf, _bpffs, _tcx, _unprivileged, _lockdown, _stats, _container),
)
