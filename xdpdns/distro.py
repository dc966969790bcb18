"""Which command installs a package on this distribution (os-release(5))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


@dataclass(frozen=True, slots=True)
class Distro:
    """A family of distributions that share package names.

    `bcc` installs BCC's Python module, `kernel` a newer kernel.
    """

    family: str
    bcc: str
    kernel: str


_FAMILIES = (
    Distro(
        "ubuntu",
        "apt-get install python3-bpfcc",
        "apt-get install linux-generic, then reboot",
    ),
    Distro(
        "debian",
        "apt-get install python3-bpfcc",
        "apt-get install linux-image-$(dpkg --print-architecture), then reboot",
    ),
    Distro("fedora", "dnf install python3-bcc", "dnf upgrade kernel, then reboot"),
    Distro("alpine", "apk add py3-bcc", "apk add --upgrade linux-lts, then reboot"),
    Distro("suse", "zypper install python3-bcc", "zypper update kernel-default, then reboot"),
    Distro("arch", "pacman -S python-bcc", "pacman -Syu, then reboot"),
)
_ALIASES = {"rhel": "fedora", "centos": "fedora", "opensuse": "suse", "sles": "suse"}
_OTHER = Distro(
    "other",
    "install BCC's Python module (Debian calls it python3-bpfcc)",
    "install a newer kernel, then reboot",
)


def read_os_release(text: str) -> dict[str, str]:
    """The variables of an os-release file: `NAME=value`, the value perhaps in quotes."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = value.strip("\"'")
    return found


def os_release() -> dict[str, str]:
    """This machine's; empty where there is no such file."""
    for path in _OS_RELEASE:
        if path.exists():
            return read_os_release(path.read_text(errors="replace"))
    return {}


def distro(release: Mapping[str, str]) -> Distro:
    """The family by ID, else by the first of ID_LIKE that is known."""
    known = {family.family: family for family in _FAMILIES}
    for ident in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        if family := known.get(_ALIASES.get(ident, ident)):
            return family
    return _OTHER
