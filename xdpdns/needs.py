"""What xdpdns needs of a machine: rules on what was found there, each with the mend.

Pure: the machine is an argument, so that each rule can be tried on machines that we are not on.
check.py looks at this one.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from xdpdns.container import Kind, kind_of, let_through
from xdpdns.distro import Distro

OLDEST = (5, 12)
"""The oldest kernel: CAP_BPF (5.8), BPF_PROG_BIND_MAP (5.10), maps charged to the cgroup and not to
RLIMIT_MEMLOCK (5.11), atomic operations that give what was there before (5.12)."""
OLDEST_ARM64 = (5, 18)
"""Where the compiler of the kernel knows these for arm64 (arch/arm64/net/bpf_jit_comp.c)."""

SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True)
class Need:
    """Something that must be so.

    `met` is None where it could not be tried since an earlier need is not met. `found` says what
    is there; `mend` is a command or instruction, empty for what is met.
    """

    need: str
    met: bool | None
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the rules look at.

    Attributes:
        distro: whose packages are installed here, in a container the image's.
        release: the kernel's, as `uname -r` says.
        uid: the effective user.
        missing: capabilities that this process lacks, as kernel.missing_capabilities() has them.
        bounded: whether the bounding set keeps these from root, too.
        container: the kind, see container.container(); empty for none.
        user_namespace: whether this is in another user namespace than the first.
        filtered: whether a seccomp filter looks at system calls.
        selinux: whether SELinux enforces its rules.
        sudo: the command that becomes root here, such as `sudo`; empty if none is installed.
    """

    distro: Distro
    release: str
    uid: int = 0
    missing: tuple[str, ...] = ()
    bounded: bool = False
    container: str = ""
    user_namespace: bool = False
    filtered: bool = False
    selinux: bool = False
    sudo: str = "sudo"

    @property
    def kind(self) -> Kind | None:
        """How this container is started; None if this is none."""
        return kind_of(self.container) if self.container else None

    @property
    def version(self) -> tuple[int, int]:
        """The kernel's, (0, 0) if it can't be told."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    def as_root(self, command: str) -> str:
        """A command that needs root, as this user types it."""
        if self.uid == 0:
            return command
        return f"{self.sudo} {command}" if self.sudo else f"su -c {command!r}"

    def install(self, command: str) -> str:
        """A command that installs something which lasts."""
        if self.container:
            return f"in the image: {command}"
        return self.as_root(command)

    def on_host(self, command: str) -> str:
        """A command that changes the kernel, which a container shares with its host."""
        return f"on the host: {command}" if self.container else self.as_root(command)


def permission(machine: Machine, command: str) -> Need:
    """Whether this process may load and attach; `command` is how xdpdns is called by root."""
    name = "permission"
    if machine.user_namespace:
        mends = {
            "kubernetes": "in the pod: hostUsers: true",
            "podman": "start the container as root: sudo podman run ...",
            "docker": "start the container by a Docker that is not rootless and remaps no users",
        }
        mend = mends.get(machine.container, "run it outside of the user namespace, as root")
        return Need(name, False, "root here is an ordinary user to the kernel", mend)
    if not machine.missing:
        how = "root" if machine.uid == 0 else "capabilities"
        return Need(name, True, f"{how}: may load and attach BPF programs")
    found = f"{', '.join(machine.missing)} missing"
    if machine.kind is not None and (machine.uid == 0 or machine.bounded):
        user = "" if machine.uid == 0 else ", and as its user 0"
        return Need(name, False, found, machine.kind.capabilities + user)
    if machine.uid == 0:
        mend = "run it where root is not restricted: `capsh --print` shows it, in a systemd unit "
        return Need(name, False, found, mend + "CapabilityBoundingSet= does it")
    return Need(name, False, found, machine.as_root(f"{command} check"))


def architecture(machine: str, byteorder: str, problem: str = "") -> Need:
    """Whether the program's byte order fits; `problem` is that bpf(2) is not known here."""
    name = "architecture"
    if byteorder != "little":
        return Need(name, False, f"{machine} is big-endian", "use a little-endian machine")
    if problem:
        return Need(name, False, machine, problem)
    return Need(name, True, f"{machine}, little-endian")


def kernel_version(machine: Machine, architecture: str) -> Need:
    """Whether the kernel is new enough; the architecture is named as by `uname -m`."""
    oldest = OLDEST_ARM64 if architecture == "aarch64" else OLDEST
    wanted = f"at least {oldest[0]}.{oldest[1]}"
    if machine.version >= oldest:
        return Need("kernel", True, f"{machine.release}, {wanted}")
    mend = "install a newer kernel, then reboot" if machine.container else machine.distro.kernel
    return Need("kernel", False, f"{machine.release}, not {wanted}", machine.on_host(mend))


def bpf_syscall(machine: Machine, error: int | None) -> Need:
    """Whether a map could be made; `error` is the errno if it couldn't."""
    name = "bpf system call"
    if error is None:
        return Need(name, True, "works")
    if error == errno.EPERM and (machine.missing or machine.user_namespace):
        return Need(name, None, "refused for want of permission")
    if error in (errno.EPERM, errno.ENOSYS) and machine.filtered:
        return Need(name, False, "refused by a seccomp filter", let_through(machine.container))
    if error == errno.ENOSYS:
        mend = f"a kernel with CONFIG_BPF_SYSCALL=y: {machine.distro.kernel}"
        return Need(name, False, "absent", machine.on_host(mend) if machine.container else mend)
    if error == errno.EPERM and machine.selinux:
        found = "refused in spite of the capabilities; SELinux is enforcing"
        if machine.container in ("docker", "podman"):
            mend = f"{machine.container} run --security-opt label=disable ..."
        else:
            mend = machine.on_host("ausearch -m avc -ts recent | audit2allow")
        return Need(name, False, found, mend)
    if error == errno.EPERM:
        mend = machine.on_host("dmesg | grep -i -e bpf -e lockdown -e apparmor")
        return Need(name, False, "refused in spite of the capabilities", mend)
    if error == errno.ENOMEM:
        mend = "raise the container's memory limit" if machine.container else "free some memory"
        return Need(name, False, "no memory for a map", mend)
    return Need(name, False, f"fails: {os.strerror(error)}", machine.on_host("dmesg"))


def bcc(machine: Machine, folder: Path | None, system_has_it: bool) -> Need:
    """Whether the module bcc that this Python would import is BCC.

    `folder` is the module's, None if there is none; `system_has_it` is whether the system's Python
    finds one.
    """
    name = "BCC for Python"
    if folder is None:
        if system_has_it:
            found = f"this Python ({sys.executable}) does not see the system's packages"
            mend = f"{SYSTEM_PYTHON} -m venv --system-site-packages .venv, and install there"
            return Need(name, False, found, mend)
        return Need(name, False, "not installed", machine.install(machine.distro.bcc))
    if not (folder / "libbcc.py").exists():
        found = f"{folder} is not BCC, but an unrelated module of that name"
        mend = f"{sys.executable} -m pip uninstall bcc; {machine.install(machine.distro.bcc)}"
        return Need(name, False, found, mend)
    return Need(name, True, str(folder))


def the_program(machine: Machine, error: Exception) -> Need:
    """The real program did not compile, load or run."""
    name = "the program"
    number = getattr(error, "errno", 0)
    if number == errno.ENOMEM or "status -9" in str(error):
        mend = "raise the container's memory limit" if machine.container else "free some memory"
        return Need(name, False, str(error), f"{mend}: about 250 MB are needed at the start")
    return Need(name, False, str(error), "please report it, with this table")
