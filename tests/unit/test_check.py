"""Each need of `xdpdns check` where it isn't met, and the hints of machines that we are not on."""

from __future__ import annotations

from pathlib import Path

import pytest

from xdpdns import check
from xdpdns.distro import distro, read_os_release
from xdpdns.surroundings import Hint, container, hints

RELEASES = {
    "debian": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
    "ubuntu": "ID=ubuntu\nID_LIKE=debian\n",
    "mint": 'ID=linuxmint\nID_LIKE="ubuntu debian"\n',
    "raspbian": "ID=raspbian\nID_LIKE=debian\n",
    "fedora": "# a comment\nID=fedora\nVERSION_ID=41\n",
    "rocky": 'ID="rocky"\nID_LIKE="rhel centos fedora"\n',
    "rhel": 'ID="rhel"\nID_LIKE="fedora"\n',
    "alpine": 'NAME="Alpine Linux"\nID=alpine\n',
    "leap": 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n',
    "arch": "ID=arch\n",
    "nixos": "ID=nixos\n",
    "none": "",
}


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("debian", "apt-get install python3-bpfcc"),
        ("ubuntu", "apt-get install python3-bpfcc"),
        ("mint", "apt-get install python3-bpfcc"),
        ("raspbian", "apt-get install python3-bpfcc"),
        ("fedora", "dnf install python3-bcc"),
        ("rocky", "dnf install python3-bcc"),
        ("rhel", "dnf install python3-bcc"),
        ("alpine", "apk add py3-bcc"),
        ("leap", "zypper install python3-bcc"),
        ("arch", "pacman -S python-bcc"),
        ("nixos", "install BCC's Python module (Debian calls it python3-bpfcc)"),
        ("none", "install BCC's Python module (Debian calls it python3-bpfcc)"),
    ],
)
def test_no_bcc(release: str, command: str) -> None:
    family = distro(read_os_release(RELEASES[release]))
    need = check.bcc(None, lambda: False, family)
    assert (need.met, need.found, need.mend) == (False, "not installed", command)


def test_bcc_that_this_python_does_not_see() -> None:
    need = check.bcc(None, lambda: True, distro({}))
    assert need.met is False
    assert "--system-site-packages" in need.mend


def test_a_module_that_is_not_bcc(tmp_path: Path) -> None:
    need = check.bcc(tmp_path, lambda: True, distro({"ID": "debian"}))
    assert need.met is False
    assert "pip uninstall bcc" in need.mend
    assert "apt-get install python3-bpfcc" in need.mend
    (tmp_path / "libbcc.py").touch()
    assert check.bcc(tmp_path, lambda: True, distro({})).met is True


@pytest.mark.parametrize(
    ("release", "met"),
    [
        ("6.18.44", True),
        ("5.10.0-28-amd64", True),
        ("5.9.16", False),
        ("5.4.0-150-generic", False),
        ("4.18.0-553.el8", False),
        ("6.1", True),
        ("strange", False),
    ],
)
def test_the_kernels_version(release: str, met: bool) -> None:
    need = check.kernel_version(release, distro({"ID": "debian"}))
    assert need.met is met
    assert bool(need.mend) is not met


@pytest.mark.parametrize(
    ("family", "command"),
    [
        ("ubuntu", "apt-get install linux-generic"),
        ("debian", "apt-get install linux-image-"),
        ("fedora", "dnf upgrade kernel"),
        ("alpine", "apk add --upgrade linux-lts"),
    ],
)
def test_an_old_kernels_mend(family: str, command: str) -> None:
    assert check.kernel_version("5.4.0", distro({"ID": family})).mend.startswith(command)


def test_permission() -> None:
    assert check.permission([], 0, "").met is True
    user = check.permission(["CAP_BPF"], 1000, "")
    assert (user.met, user.found) == (False, "CAP_BPF missing")
    assert user.mend.startswith("sudo ")
    assert "--cap-add=BPF" in check.permission(["CAP_BPF"], 0, "docker").mend


def test_architecture() -> None:
    assert check.architecture("x86_64", "little").met is True
    big = check.architecture("s390x", "big")
    assert (big.met, big.found) == (False, "s390x is big-endian")


def test_one_unmet_need_is_enough() -> None:
    yes, untried = check.Need("a", True, ""), check.Need("b", None, "")
    assert check.Report("", (yes, yes), (), ()).met
    assert not check.Report("", (yes, untried), (), ()).met
    made = check.to_json(check.Report("here", (yes,), (), ()))
    assert made == {
        "met": True,
        "system": "here",
        "needs": ({"need": "a", "met": True, "found": "", "mend": ""},),
        "hints": (),
        "interfaces": (),
    }


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_hints_of_a_locked_down_machine(tmp_path: Path) -> None:
    files = {
        "proc/sys/net/core/bpf_jit_enable": "0\n",
        "proc/sys/kernel/unprivileged_bpf_disabled": "0\n",
        "proc/sys/kernel/bpf_stats_enabled": "1\n",
        "proc/self/mounts": "bpf /sys/fs/bpf bpf rw,nosuid 0 0\n",
        "sys/kernel/security/lockdown": "none integrity [confidentiality]\n",
        "sys/kernel/btf/vmlinux": "",
        "proc/1/environ": "PATH=/bin\0container=lxc\0",
    }
    found = {hint.about: hint for hint in hints(put(tmp_path, files))}
    assert found["BPF JIT"].mend == "sysctl -w net.core.bpf_jit_enable=1"
    assert found["unprivileged BPF"].mend == "sysctl -w kernel.unprivileged_bpf_disabled=1"
    assert found["BPF run times"].found.startswith("taken")
    assert found["BPF file system"] == Hint("BPF file system", "mounted on /sys/fs/bpf; not needed")
    assert found["kernel lockdown"].found.startswith("confidentiality")
    assert found["BTF"].found.startswith("there")
    assert found["container"].found.startswith("looks like lxc")


def test_hints_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert [hint.about for hint in hints(tmp_path)] == ["BTF", "BPF file system"]
    assert hints(tmp_path)[1].mend == "mount -t bpf bpf /sys/fs/bpf"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, ""),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn"),
        ({"proc/1/environ": "A=b\0KUBERNETES_SERVICE_HOST=10.0.0.1\0"}, "kubernetes"),
    ],
)
def test_containers(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert container(put(tmp_path, files)) == kind
