"""Can this machine run xdpdns? Each need with yes or no, and the command that mends it.

The last need is the proof: the real program is compiled, verified by the kernel, and given a query,
which must be counted. Nothing is attached.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import struct
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xdpdns import container, kernel, needs
from xdpdns.devices import Device, devices
from xdpdns.distro import distro, os_release
from xdpdns.errors import KernelError, MissingNeedError, XdpdnsError
from xdpdns.loader import LoadedProgram
from xdpdns.needs import Machine, Need
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings
from xdpdns.suggest import this_command
from xdpdns.surroundings import Hint, hints


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
    machine = look()
    folder = _bcc_folder()
    found = [
        needs.permission(machine, this_command()),
        _architecture(),
        needs.kernel_version(machine, platform.machine()),
        needs.bpf_syscall(machine, _map_error()),
        needs.bcc(machine, folder, folder is None and _system_has_bcc()),
    ]
    found.append(_proof(machine, all(need.met for need in found)))
    name = release.get("PRETTY_NAME", "Linux")
    return Report(
        f"{name}, Linux {platform.release()} on {platform.machine()}",
        tuple(found),
        tuple(hints()),
        tuple(_devices()),
    )


def look() -> Machine:
    """This machine, as far as the needs want to know it."""
    return Machine(
        distro=distro(os_release()),
        release=platform.release(),
        uid=os.geteuid(),
        missing=tuple(kernel.missing_capabilities()),
        bounded=bool(kernel.missing_capabilities("CapBnd")),
        container=container.container(),
        user_namespace=container.in_user_namespace(),
        filtered=container.filtered(),
        selinux=container.read(Path("/sys/fs/selinux/enforce")) == "1",
        sudo=next((name for name in ("sudo", "doas", "run0") if shutil.which(name)), ""),
    )


def to_json(report: Report) -> dict[str, Any]:
    """`{"met", "system", "needs", "hints", "interfaces"}`, fields named as in the dataclasses."""
    return {"met": report.met, **asdict(report)}


def _devices() -> list[Device]:
    """The interfaces; none where the kernel doesn't know the call that names programs on them."""
    try:
        return devices()
    except KernelError:
        return []


def _architecture() -> Need:
    problem = ""
    try:
        kernel.syscall_number()
    except MissingNeedError as error:
        problem = str(error)
    return needs.architecture(platform.machine(), sys.byteorder, problem)


def _map_error() -> int | None:
    """The errno of making a small map; None if it could be made."""
    try:
        spec = kernel.MapSpec("xdpdns_check", kernel.MAP_TYPE_ARRAY, 4, 8, 1)
        os.close(kernel.map_create(spec))
    except KernelError as error:
        return error.errno
    return None


def _bcc_folder() -> Path | None:
    """Where the module bcc is that would be imported; it isn't."""
    spec = importlib.util.find_spec("bcc")
    return Path(spec.origin).parent if spec and spec.origin else None


def _system_has_bcc() -> bool:
    if not Path(needs.SYSTEM_PYTHON).exists():
        return False
    script = "import sys, importlib.util as u; sys.exit(u.find_spec('bcc') is None)"
    done = subprocess.run([needs.SYSTEM_PYTHON, "-I", "-c", script], check=False, timeout=20)
    return done.returncode == 0


def _proof(machine: Machine, possible: bool) -> Need:
    """Compile, load and run the real program."""
    name = "the program"
    if not possible:
        return Need(name, None, "not tried, since not all of the above is so")
    settings = ProgramSettings()
    try:
        compiled = compile_program(settings)
        program = LoadedProgram(compiled, settings)
    except XdpdnsError as error:
        return needs.the_program(machine, error)
    try:
        kernel.TestRun(program.fd).run(query_frame())
        rows = program.snapshot().queries
        verified = program.info().verified_insns
    except XdpdnsError as error:
        return needs.the_program(machine, error)
    finally:
        program.close()
    if sum(rows.values()) != 1:
        found = f"a query was counted {sum(rows.values())} times"
        return Need(name, False, found, "please report it, with this table")
    found = f"compiled in {compiled.seconds:.1f} s, {len(compiled.main.insns) // 8:,} instructions"
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
