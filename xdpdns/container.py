"""Which container this is, if any, and how one of its kind is given what xdpdns needs.

Nothing in a container can mend what is missing: it has to be started otherwise, or the host has to
be changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FIRST_PIDS = f"pid:[{0xEFFFFFFC}]"
"""The process-id namespace that a machine starts with (PROC_PID_INIT_INO)."""

_ALL_IDS = 4294967295
"""How many user ids the first user namespace maps; any other maps fewer."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What to write where a container of this kind is started.

    `capabilities` lets it load and attach, `system_call` lets bpf(2) through its filter, `pins`
    brings the host's BPF file system, `network` the host's interfaces.
    """

    name: str
    capabilities: str
    system_call: str
    pins: str
    network: str


def _command_line(name: str, system_call: str) -> Kind:
    return Kind(
        name,
        f"{name} run --cap-add=BPF --cap-add=PERFMON --cap-add=NET_ADMIN ...",
        system_call,
        f"{name} run --mount type=bind,source=/sys/fs/bpf,target=/sys/fs/bpf ...",
        f"{name} run --network=host ...",
    )


_KINDS = (
    # moby lets CAP_BPF through since 23.0 (moby#43988), the profile of podman does not yet
    _command_line(
        "docker",
        "docker run --security-opt seccomp=unconfined ... (before Docker 23 its filter knows "
        "no CAP_BPF)",
    ),
    _command_line("podman", "podman run --security-opt seccomp=unconfined ..."),
    Kind(
        "kubernetes",
        "in the pod: securityContext.capabilities.add: [BPF, PERFMON, NET_ADMIN]",
        "in the pod: securityContext.seccompProfile.type: Unconfined",
        "in the pod: a hostPath volume of /sys/fs/bpf, mounted there",
        "in the pod: hostNetwork: true",
    ),
    Kind(
        "lxc",
        "a privileged container, and no bpf, perfmon or net_admin in its lxc.cap.drop",
        "in the container's configuration: lxc.seccomp.profile =",
        "in the container's configuration: "
        "lxc.mount.entry = /sys/fs/bpf sys/fs/bpf none bind,create=dir",
        "in the container's configuration: lxc.net.0.type = none",
    ),
    Kind(
        "systemd-nspawn",
        "systemd-nspawn --capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN ...",
        "systemd-nspawn --system-call-filter=bpf ...",
        "systemd-nspawn --bind=/sys/fs/bpf ...",
        "systemd-nspawn without --network-veth and --private-network",
    ),
)
_ANY = Kind(
    "container",
    "start the container with the capabilities BPF, PERFMON and NET_ADMIN",
    "let the container's seccomp filter allow bpf(2)",
    "mount the host's /sys/fs/bpf into the container",
    "start the container in the host's network namespace",
)


def container(root: Path = Path("/")) -> str:
    """What kind of container this is, as far as it can be seen; empty for none.

    `root` is where the files of the machine are.
    """
    # before docker, which may be what runs the pods
    if _environment(root, "KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if (root / ".dockerenv").exists() and not _machine_of_image(root):
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    return read(root / "run/systemd/container") or _environment(root, "container")


def _machine_of_image(root: Path) -> bool:
    """Whether a whole machine was started from a container's image, as microVMs are."""
    try:
        first = str((root / "proc/self/ns/pid").readlink()) == _FIRST_PIDS
    except OSError:
        return False
    mounts = [line.split() for line in (read(root / "proc/self/mounts") or "").splitlines()]
    # a container's root is an overlay or the like, a machine's a device
    return first and any(
        place == "/" and source.startswith("/dev/") for source, place, *_ in mounts
    )


def kind_of(name: str) -> Kind:
    """How to start a container of a kind that container() named."""
    return next((one for one in _KINDS if one.name == name), _ANY)


def let_through(name: str) -> str:
    """How a seccomp filter is made to allow bpf(2), in this kind of container; empty for none."""
    return kind_of(name).system_call if name else "in the systemd unit: SystemCallFilter=bpf"


def in_user_namespace(root: Path = Path("/")) -> bool:
    """Whether root here is an ordinary user outside: then its capabilities are none for BPF."""
    words = (read(root / "proc/self/uid_map") or "").split()
    return bool(words) and words != ["0", "0", str(_ALL_IDS)]


def filtered(root: Path = Path("/")) -> bool:
    """Whether a seccomp filter looks at this process's system calls."""
    lines = (read(root / "proc/self/status") or "").splitlines()
    return any(line.split() == ["Seccomp:", "2"] for line in lines)


def _environment(root: Path, wanted: str) -> str:
    """A variable of the container's first process, or of this one."""
    for process in ("1", "self"):
        for variable in (read(root / f"proc/{process}/environ") or "").split("\0"):
            name, _, value = variable.partition("=")
            if name == wanted:
                return value
    return ""


def read(path: Path) -> str | None:
    """A small file's text; None if it isn't there or not for us."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
