"""Can this machine run xdpdns? Each need with yes or no, and the command that mends it.

The last need is the proof: the real program is compiled, verified by the kernel, and given a query,
which must be counted. Nothing is attached.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import re
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xdpdns import kernel
from xdpdns.devices import Device, devices
from xdpdns.distro import Distro, distro, os_release
from xdpdns.errors import KernelError, MissingNeedError, XdpdnsError
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings
from xdpdns.surroundings import Hint, container, hints

OLDEST = (5, 10)
"""The oldest kernel: batched map reads (5.6), XDP_FLAGS_REPLACE (5.7), CAP_BPF (5.8), LTS."""
_NO_MEMLOCK = (5, 11)
"""Since then maps are charged to the cgroup, not to RLIMIT_MEMLOCK."""

_SYSTEM_PYTHON = "/usr/bin/python3"

_CAPABILITIES = "--cap-add=BPF --cap-add=PERFMON --cap-add=NET_ADMIN"


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
class Report:
    """All needs, what else is good to know, and the interfaces."""

    system: str
    needs: tuple[Need, ...]
    hints: tuple[Hint, ...]
    interfaces: tuple[Device, ...]

    @property
    def met(self) -> bool:
        """Whether every need is."""
        return all(need.met for need in self.needs)


def check() -> Report:
    """Look at the machine, and try."""
    release = os_release()
    family = distro(release)
    needs = [
        permission(kernel.missing_capabilities(), os.geteuid(), container()),
        architecture(platform.machine(), sys.byteorder),
        kernel_version(platform.release(), family),
        _bpf_syscall(),
        _memlock(platform.release()),
        _bcc(family),
    ]
    needs.append(_proof(all(need.met for need in needs)))
    name = release.get("PRETTY_NAME", "Linux")
    return Report(
        f"{name}, Linux {platform.release()} on {platform.machine()}",
        tuple(needs),
        tuple(hints()),
        tuple(devices()),
    )


def to_json(report: Report) -> dict[str, Any]:
    """`{"met", "system", "needs", "hints", "interfaces"}`, fields named as in the dataclasses."""
    return {"met": report.met, **asdict(report)}


def permission(missing: list[str], uid: int, kind: str) -> Need:
    """Whether this process may load and attach; `kind` is that of the container, or empty."""
    name = "permission"
    if not missing:
        how = "root" if uid == 0 else "capabilities"
        return Need(name, True, f"{how}: may load and attach BPF programs")
    found = f"{', '.join(missing)} missing"
    if uid == 0 and kind:
        return Need(name, False, found, f"start the container with {_CAPABILITIES}")
    if uid == 0:
        return Need(name, False, found, "run it where root is not restricted (capsh --print)")
    return Need(name, False, found, f"sudo {_this_command()} check")


def _this_command() -> str:
    """How to call us with certainty: root's PATH may not have what ours has."""
    command = Path(sys.argv[0])
    return str(command.absolute()) if command.name == "xdpdns" else f"{sys.executable} -m xdpdns"


def architecture(machine: str, byteorder: str) -> Need:
    """Whether the program's byte order and the bpf system call's number are known here."""
    name = "architecture"
    if byteorder != "little":
        return Need(name, False, f"{machine} is big-endian", "use a little-endian machine")
    try:
        kernel.syscall_number()
    except MissingNeedError as error:
        return Need(name, False, machine, str(error))
    return Need(name, True, f"{machine}, little-endian")


def kernel_version(release: str, family: Distro) -> Need:
    """Whether the kernel is new enough."""
    wanted = f"at least {OLDEST[0]}.{OLDEST[1]}"
    version = _version(release)
    if version >= OLDEST:
        return Need("kernel", True, f"{release}, {wanted}")
    return Need("kernel", False, f"{release}, not {wanted}", family.kernel)


def _version(release: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _bpf_syscall() -> Need:
    name = "bpf system call"
    try:
        spec = kernel.MapSpec("xdpdns_check", kernel.MAP_TYPE_ARRAY, 4, 8, 1)
        os.close(kernel.map_create(spec))
    except KernelError as error:
        if error.errno == errno.ENOSYS:
            return Need(name, False, "absent", "boot a kernel that has CONFIG_BPF_SYSCALL=y")
        if error.errno != errno.EPERM:
            return Need(name, False, str(error), "see the kernel's log (dmesg)")
        if kernel.missing_capabilities():
            return Need(name, None, "refused for want of permission")
        mend = "let the container's seccomp profile allow bpf(2), or use seccomp=unconfined"
        return Need(name, False, "refused in spite of the capabilities", mend)
    return Need(name, True, "works")


def _memlock(release: str) -> Need:
    name = "lockable memory"
    if _version(release) >= _NO_MEMLOCK:
        return Need(name, True, "this kernel charges maps to the cgroup, not to ulimit -l")
    kernel.unlimit_memlock()
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit == resource.RLIM_INFINITY:
        return Need(name, True, "unlimited")
    mend = "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)"
    return Need(name, False, f"{limit:,} bytes", mend)


def _bcc(family: Distro) -> Need:
    spec = importlib.util.find_spec("bcc")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    return bcc(folder, _system_has_bcc, family)


def bcc(folder: Path | None, system_has_it: Callable[[], bool], family: Distro) -> Need:
    """Whether the module bcc that this Python would import is BCC; it isn't imported.

    `folder` is the module's; `system_has_it` is asked whether the system's Python finds one.
    """
    name = "BCC for Python"
    if folder is None:
        if system_has_it():
            found = f"this Python ({sys.executable}) does not see the system's packages"
            mend = f"{_SYSTEM_PYTHON} -m venv --system-site-packages .venv, and install there"
            return Need(name, False, found, mend)
        return Need(name, False, "not installed", family.bcc)
    if not (folder / "libbcc.py").exists():
        found = f"{folder} is not BCC, but an unrelated module of that name"
        return Need(name, False, found, f"{sys.executable} -m pip uninstall bcc; {family.bcc}")
    return Need(name, True, str(folder))


def _system_has_bcc() -> bool:
    if not Path(_SYSTEM_PYTHON).exists():
        return False
    script = "import sys, importlib.util as u; sys.exit(u.find_spec('bcc') is None)"
    done = subprocess.run([_SYSTEM_PYTHON, "-I", "-c", script], check=False, timeout=20)
    return done.returncode == 0


def _proof(possible: bool) -> Need:
    """Compile, load and run the real program."""
    name = "the program"
    if not possible:
        return Need(name, None, "not tried, since not all of the above is so")
    settings = ProgramSettings()
    try:
        compiled = compile_program(settings)
        program = LoadedProgram(compiled, settings)
    except XdpdnsError as error:
        return Need(name, False, str(error), "please report it, with this table")
    try:
        kernel.TestRun(program.fd).run(query_frame())
        rows = program.snapshot().queries
        verified = program.info().verified_insns
    except XdpdnsError as error:
        return Need(name, False, str(error), "please report it, with this table")
    finally:
        program.close()
    if sum(rows.values()) != 1:
        found = f"a query was counted {sum(rows.values())} times"
        return Need(name, False, found, "please report it, with this table")
    found = f"compiled in {compiled.seconds:.1f} s, {len(compiled.insns) // 8:,} instructions"
    found += f", {verified:,} verified; " if verified else "; "
    return Need(name, True, found + "it counted a query")


def query_frame() -> bytes:
    """An Ethernet frame with a query for example.com A, over IPv4 and UDP; checksums are left 0."""
    question = b"\x07example\x03com\x00" + struct.pack("!2H", 1, 1)
    message = struct.pack("!6H", 0, 0x0100, 1, 0, 0, 0) + question
    udp = struct.pack("!4H", 4711, 53, 8 + len(message), 0) + message
    addresses = bytes((192, 0, 2, 2, 192, 0, 2, 1))
    ip = struct.pack("!BBHIBBH", 0x45, 0, 20 + len(udp), 0, 64, 17, 0) + addresses
    return bytes(12) + b"\x08\x00" + ip + udp
