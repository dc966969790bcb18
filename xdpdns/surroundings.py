"""What is good to know about a machine but not needed: hints of `xdpdns check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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


def read(path: Path) -> str | None:
    """A small file's text; None if it isn't there or not for us."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def container(root: Path = Path("/")) -> str:
    """What kind of container this is, as far as it can be seen; empty for none."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    if kind := read(root / "run/systemd/container"):
        return kind
    for variable in (read(root / "proc/1/environ") or "").split("\0"):
        name, _, value = variable.partition("=")
        if name == "container":
            return value
        if name == "KUBERNETES_SERVICE_HOST":
            return "kubernetes"
    return ""


def _jit(root: Path) -> Hint | None:
    value = read(root / "proc/sys/net/core/bpf_jit_enable")
    if value == "0":
        return Hint(
            "BPF JIT",
            "off: every packet costs some five times more",
            "sysctl -w net.core.bpf_jit_enable=1",
        )
    # other network namespaces than the first don't show it; kernels mostly force it on
    return Hint("BPF JIT", "on") if value else None


def _btf(root: Path) -> Hint:
    there = (root / "sys/kernel/btf/vmlinux").exists()
    return Hint("BTF", ("there" if there else "absent") + "; not needed, nor are kernel headers")


def _bpffs(root: Path) -> Hint:
    mounts = read(root / "proc/self/mounts") or ""
    if any(line.split()[1:3] == [_BPFFS, "bpf"] for line in mounts.splitlines()):
        return Hint("BPF file system", f"mounted on {_BPFFS}; not needed")
    return Hint("BPF file system", "not mounted; only pins need it", f"mount -t bpf bpf {_BPFFS}")


def _unprivileged(root: Path) -> Hint | None:
    value = read(root / "proc/sys/kernel/unprivileged_bpf_disabled")
    if value == "0":
        return Hint(
            "unprivileged BPF",
            "allowed to everybody on this machine; xdpdns does not use it",
            "sysctl -w kernel.unprivileged_bpf_disabled=1",
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
            "sysctl -w kernel.bpf_stats_enabled=1",
        )
    return None


def _container(root: Path) -> Hint | None:
    kind = container(root)
    if not kind:
        return None
    return Hint(
        "container",
        f"looks like {kind}: only interfaces of this network namespace can be counted on "
        "(the host's with --network=host)",
    )


_LOOKS: tuple[Callable[[Path], Hint | None], ...] = (
    *(_jit, _btf, _bpffs, _unprivileged, _lockdown, _stats, _container),
)
