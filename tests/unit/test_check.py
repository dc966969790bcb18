"""Each need of `xdpdns check` where it isn't met, and the hints, of machines that we are not on."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from xdpdns import check, needs
from xdpdns.container import container, filtered, in_user_namespace
from xdpdns.distro import distro, read_os_release
from xdpdns.errors import CompileError, KernelError
from xdpdns.needs import Machine
from xdpdns.surroundings import Hint, hints

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
    machine = Machine(distro(read_os_release(RELEASES[release])), "6.1")
    need = needs.bcc(machine, None, False)
    assert (need.met, need.found, need.mend) == (False, "not installed", command)
    image = replace(machine, container="docker")
    assert needs.bcc(image, None, False).mend == f"in the image: {command}"


HERE = Machine(distro({"ID": "debian"}), "6.1.0-28-amd64")
USER = replace(HERE, uid=1000, missing=("CAP_BPF",))


def test_how_a_user_becomes_root() -> None:
    assert needs.bcc(USER, None, False).mend == "sudo apt-get install python3-bpfcc"
    alpine = replace(USER, distro=distro({"ID": "alpine"}), sudo="doas")
    assert needs.bcc(alpine, None, False).mend == "doas apk add py3-bcc"
    bare = replace(USER, sudo="")
    assert needs.bcc(bare, None, False).mend == "su -c 'apt-get install python3-bpfcc'"


def test_bcc_that_this_python_does_not_see() -> None:
    need = needs.bcc(HERE, None, True)
    assert need.met is False
    assert "--system-site-packages" in need.mend


def test_a_module_that_is_not_bcc(tmp_path: Path) -> None:
    need = needs.bcc(HERE, tmp_path, True)
    assert need.met is False
    assert "pip uninstall bcc" in need.mend
    assert "apt-get install python3-bpfcc" in need.mend
    (tmp_path / "libbcc.py").touch()
    assert needs.bcc(HERE, tmp_path, True).met is True


@pytest.mark.parametrize(
    ("release", "met"),
    [
        ("6.18.44", True),
        ("5.12.0-28-amd64", True),
        ("5.10.0-28-amd64", False),
        ("5.9.16", False),
        ("5.4.0-150-generic", False),
        ("4.18.0-553.el8", False),
        ("6.1", True),
        ("strange", False),
    ],
)
def test_the_kernels_version(release: str, met: bool) -> None:
    need = needs.kernel_version(replace(HERE, release=release), "x86_64")
    assert need.met is met
    assert bool(need.mend) is not met


@pytest.mark.parametrize(("release", "met"), [("5.15.0-91-generic", False), ("5.18.0", True)])
def test_the_kernels_version_on_arm64(release: str, met: bool) -> None:
    assert needs.kernel_version(replace(HERE, release=release), "aarch64").met is met


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
    old = Machine(distro({"ID": family}), "5.4.0")
    assert needs.kernel_version(old, "x86_64").mend.startswith(command)
    # the image's distribution is not the host's
    inside = replace(old, container="kubernetes")
    assert (
        needs.kernel_version(inside, "x86_64").mend
        == "on the host: install a newer kernel, then reboot"
    )


def test_permission() -> None:
    assert needs.permission(HERE, "xdpdns").met is True
    user = needs.permission(USER, "/opt/xdpdns")
    assert (user.met, user.found) == (False, "CAP_BPF missing")
    assert user.mend == "sudo /opt/xdpdns check"
    bounded = needs.permission(replace(USER, uid=0), "xdpdns")
    assert "CapabilityBoundingSet" in bounded.mend


@pytest.mark.parametrize(
    ("kind", "capabilities", "system_call", "rootless"),
    [
        (
            "docker",
            "docker run --cap-add=BPF --cap-add=PERFMON --cap-add=NET_ADMIN ...",
            "docker run --security-opt seccomp=unconfined ...",
            "not rootless",
        ),
        (
            "podman",
            "podman run --cap-add=BPF --cap-add=PERFMON --cap-add=NET_ADMIN ...",
            "podman run --security-opt seccomp=unconfined ...",
            "sudo podman run",
        ),
        (
            "kubernetes",
            "securityContext.capabilities.add: [BPF, PERFMON, NET_ADMIN]",
            "securityContext.seccompProfile.type: Unconfined",
            "hostUsers: true",
        ),
        ("lxc", "lxc.cap.drop", "lxc.seccomp.profile", "outside"),
        (
            "systemd-nspawn",
            "--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN",
            "--system-call-filter=bpf",
            "outside",
        ),
        ("garden", "BPF, PERFMON and NET_ADMIN", "seccomp", "outside"),
    ],
)
def test_the_mends_of_a_container(
    kind: str, capabilities: str, system_call: str, rootless: str
) -> None:
    inside = replace(HERE, container=kind)
    less = replace(inside, missing=("CAP_BPF", "CAP_PERFMON"))
    need = needs.permission(less, "xdpdns")
    assert (need.met, need.found) == (False, "CAP_BPF, CAP_PERFMON missing")
    assert capabilities in need.mend
    bounded = replace(less, uid=99, bounded=True)
    assert needs.permission(bounded, "xdpdns").mend == f"{need.mend}, and as its user 0"
    # the container has them, but this user has not
    assert needs.permission(replace(less, uid=99), "xdpdns").mend == "sudo xdpdns check"
    need = needs.bpf_syscall(replace(inside, filtered=True), errno.EPERM)
    assert (need.met, need.found) == (False, "refused by a seccomp filter")
    assert system_call in need.mend
    need = needs.permission(replace(inside, user_namespace=True), "xdpdns")
    assert (need.met, rootless in need.mend) == (False, True)


@pytest.mark.parametrize(
    ("machine", "error", "met", "found", "mend"),
    [
        (HERE, None, True, "works", ""),
        (USER, errno.EPERM, None, "want of permission", ""),
        (replace(HERE, user_namespace=True), errno.EPERM, None, "want of permission", ""),
        (replace(HERE, filtered=True), errno.EPERM, False, "seccomp", "SystemCallFilter=bpf"),
        (replace(HERE, filtered=True), errno.ENOSYS, False, "seccomp", "SystemCallFilter=bpf"),
        (HERE, errno.ENOSYS, False, "absent", "CONFIG_BPF_SYSCALL=y: apt-get install linux-image"),
        (replace(HERE, selinux=True), errno.EPERM, False, "SELinux", "ausearch -m avc"),
        (
            replace(HERE, selinux=True, container="podman"),
            errno.EPERM,
            False,
            "SELinux",
            "podman run --security-opt label=disable",
        ),
        (HERE, errno.EPERM, False, "in spite of", "dmesg | grep -i -e bpf -e lockdown"),
        (replace(HERE, container="lxc"), errno.EPERM, False, "in spite of", "on the host: dmesg"),
        (HERE, errno.ENOMEM, False, "no memory", "free some memory"),
        (replace(HERE, container="docker"), errno.ENOMEM, False, "no memory", "memory limit"),
        (HERE, errno.EINVAL, False, "Invalid argument", "dmesg"),
    ],
)
def test_the_system_call(
    machine: Machine, error: int | None, met: bool | None, found: str, mend: str
) -> None:
    need = needs.bpf_syscall(machine, error)
    assert need.met is met
    assert found in need.found
    assert mend in need.mend
    assert bool(need.mend) == (met is False)


def test_architecture() -> None:
    assert needs.architecture("x86_64", "little").met is True
    big = needs.architecture("s390x", "big")
    assert (big.met, big.found) == (False, "s390x is big-endian")
    strange = needs.architecture("vax", "little", "use another")
    assert (strange.met, strange.mend) == (False, "use another")


def test_the_program_that_does_not_load() -> None:
    inside = replace(HERE, container="docker")
    need = needs.the_program(inside, KernelError("no memory", errno.ENOMEM))
    assert (need.met, need.found) == (False, "no memory")
    assert need.mend.startswith("raise the container's memory limit")
    killed = needs.the_program(HERE, CompileError("the compiler ended with status -9: x"))
    assert killed.mend.startswith("free some memory")
    assert "report" in needs.the_program(HERE, CompileError("no")).mend


def test_one_unmet_need_is_enough() -> None:
    yes, untried = needs.Need("a", True, ""), needs.Need("b", None, "")
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


BPFFS = "bpf /sys/fs/bpf bpf rw,nosuid 0 0\n"


def test_hints_of_a_locked_down_machine(tmp_path: Path) -> None:
    files = {
        "proc/sys/net/core/bpf_jit_enable": "0\n",
        "proc/sys/kernel/unprivileged_bpf_disabled": "0\n",
        "proc/sys/kernel/bpf_stats_enabled": "1\n",
        "proc/self/mounts": f"tmpfs / tmpfs rw 0 0\n{BPFFS}",
        "sys/kernel/security/lockdown": "none integrity [confidentiality]\n",
        "sys/kernel/btf/vmlinux": "",
    }
    found = {hint.about: hint for hint in hints(put(tmp_path, files))}
    assert found["BPF JIT"].mend == "sysctl -w net.core.bpf_jit_enable=1"
    assert found["unprivileged BPF"].mend == "sysctl -w kernel.unprivileged_bpf_disabled=1"
    assert found["BPF run times"].found.startswith("taken")
    assert found["BPF file system"] == Hint(
        "BPF file system", "mounted on /sys/fs/bpf: `attach --keep` can pin there"
    )
    assert found["kernel lockdown"].found.startswith("confidentiality")
    assert found["BTF"].found.startswith("there")
    assert "container" not in found


def test_hints_in_a_container(tmp_path: Path) -> None:
    files = {
        "proc/sys/net/core/bpf_jit_enable": "0\n",
        "proc/sys/kernel/bpf_stats_enabled": "0\n",
        "proc/1/environ": "PATH=/bin\0container=lxc\0",
    }
    found = {hint.about: hint for hint in hints(put(tmp_path, files))}
    assert found["BPF JIT"].mend == "on the host: sysctl -w net.core.bpf_jit_enable=1"
    assert found["BPF run times"].mend == "on the host: sysctl -w kernel.bpf_stats_enabled=1"
    assert found["container"].found.startswith("looks like lxc")
    assert "lxc.net.0.type" in found["container"].mend
    assert "lxc.mount.entry" in found["BPF file system"].mend


@pytest.mark.parametrize(
    ("files", "mend"),
    [
        ({"run/systemd/system/x": ""}, "mount -t bpf bpf /sys/fs/bpf"),
        (
            {},
            "mount -t bpf bpf /sys/fs/bpf; echo 'bpf /sys/fs/bpf bpf defaults 0 0' >> /etc/fstab",
        ),
        ({"proc/self/mounts": BPFFS.replace("rw", "ro")}, "mount -o remount,rw /sys/fs/bpf"),
        (
            {"proc/self/mounts": BPFFS.replace("rw", "ro"), ".dockerenv": ""},
            "docker run --mount type=bind,source=/sys/fs/bpf,target=/sys/fs/bpf ...",
        ),
        (
            {"run/.containerenv": ""},
            "podman run --mount type=bind,source=/sys/fs/bpf,target=/sys/fs/bpf ...",
        ),
        (
            {"proc/self/environ": "KUBERNETES_SERVICE_HOST=10.0.0.1"},
            "in the pod: a hostPath volume of /sys/fs/bpf, mounted there",
        ),
        ({"proc/self/mounts": BPFFS}, ""),
    ],
)
def test_the_bpf_file_system(tmp_path: Path, files: dict[str, str], mend: str) -> None:
    found = {hint.about: hint for hint in hints(put(tmp_path, files))}
    assert found["BPF file system"].mend == mend


@pytest.mark.parametrize(
    ("release", "hook"),
    [("6.6.0", "tcx"), ("7.0-rc1", "tcx"), ("6.18.44-x", "tcx"), ("6.5.9", "clsact")],
)
def test_hint_of_the_hook_at_tc(tmp_path: Path, release: str, hook: str) -> None:
    found = {
        hint.about: hint for hint in hints(put(tmp_path, {"proc/sys/kernel/osrelease": release}))
    }
    assert f"`attach --hook {hook}`" in found["TCX"].found


def test_hints_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert [hint.about for hint in hints(tmp_path)] == ["BTF", "BPF file system"]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, ""),
        ({".dockerenv": ""}, "docker"),
        ({".dockerenv": "", "proc/self/mounts": "overlay / overlay rw 0 0"}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn"),
        ({"proc/1/environ": "A=b\0KUBERNETES_SERVICE_HOST=10.0.0.1\0"}, "kubernetes"),
        ({"proc/self/environ": "KUBERNETES_SERVICE_HOST=10.0.0.1", ".dockerenv": ""}, "kubernetes"),
        ({"proc/1/environ": "container=lxc\0"}, "lxc"),
    ],
)
def test_containers(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert container(put(tmp_path, files)) == kind


@pytest.mark.parametrize(("first", "kind"), [(True, ""), (False, "docker")])
def test_a_machine_that_was_made_of_an_image(tmp_path: Path, first: bool, kind: str) -> None:
    """The image's file is there, but it is the machine's own root and its first processes."""
    put(tmp_path, {".dockerenv": "", "proc/self/mounts": "/dev/vda / ext4 rw 0 0"})
    (tmp_path / "proc/self/ns").mkdir()
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026531836]" if first else "pid:[4026532001]")
    assert container(tmp_path) == kind


@pytest.mark.parametrize(
    ("uid_map", "inside"),
    [
        ("         0          0 4294967295\n", False),
        ("         0       1000          1\n", True),
        ("         0     100000      65536\n", True),
        ("", False),
    ],
)
def test_user_namespaces(tmp_path: Path, uid_map: str, inside: bool) -> None:
    assert in_user_namespace(put(tmp_path, {"proc/self/uid_map": uid_map})) is inside


@pytest.mark.parametrize(("mode", "there"), [("0", False), ("1", False), ("2", True)])
def test_seccomp(tmp_path: Path, mode: str, there: bool) -> None:
    status = f"NoNewPrivs:\t1\nSeccomp:\t{mode}\nSeccomp_filters:\t1\n"
    assert filtered(put(tmp_path, {"proc/self/status": status})) is there
