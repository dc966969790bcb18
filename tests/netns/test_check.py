"""`xdpdns check` on this machine: everything met, and needs taken away one by one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.netns.foreign import by_bpftool
from tests.netns.lab import Lab
from xdpdns import container, devices

CHECK = [sys.executable, "-m", "xdpdns", "check"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it loads a BPF program")


def said(argv: list[str], **environment: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [*argv, "--output", "json"],
        text=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def needs(report: dict[str, Any]) -> dict[str, bool | None]:
    return {need["need"]: need["met"] for need in report["needs"]}


def test_all_is_met_here() -> None:
    code, report = said(CHECK)
    assert (code, report["met"]) == (0, True)
    assert set(needs(report).values()) == {True}
    assert [need["mend"] for need in report["needs"]] == [""] * len(report["needs"])
    assert report["needs"][-1]["found"].endswith("it counted a query")


def test_as_a_table() -> None:
    done = subprocess.run(CHECK, text=True, capture_output=True, timeout=60, check=True)
    assert "All needs are met" in done.stdout
    assert "lo " in done.stdout
    assert not done.stderr


def test_without_root() -> None:
    drop = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all"]
    code, report = said([*drop, *CHECK])
    assert (code, report["met"]) == (1, False)
    found = needs(report)
    assert found["permission"] is False
    assert found["the program"] is None
    assert found["BCC for Python"] is True
    [mend] = [need["mend"] for need in report["needs"] if need["met"] is False]
    assert f"{sys.executable} -m xdpdns check" in mend


def test_in_a_user_namespace() -> None:
    code, report = said(["unshare", "--user", "--map-root-user", *CHECK])
    assert (code, report["met"]) == (1, False)
    [permission] = [need for need in report["needs"] if need["need"] == "permission"]
    assert permission["met"] is False
    assert "ordinary user" in permission["found"]
    assert needs(report)["bpf system call"] is None


def behind_a_filter(answer: int, *arguments: str) -> list[str]:
    """A command line of xdpdns, for which a seccomp filter answers bpf(2) with this errno."""
    # struct sock_filter: load the system call's number; bpf(2) is answered, others are allowed
    script = f"""
import ctypes, os, struct, sys
from xdpdns.kernel import syscall_number
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, syscall_number()),
         (0x06, 0, 0, 0x50000 | {answer}), (0x06, 0, 0, 0x7FFF0000)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
program = struct.pack("=HxxxxxxQ", len(steps), ctypes.addressof(filters))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
os.execv(sys.executable, [sys.executable, "-m", "xdpdns", *sys.argv[1:]])
"""
    return [sys.executable, "-c", script, *arguments]


@pytest.mark.parametrize("answer", [errno.EPERM, errno.ENOSYS])
@pytest.mark.parametrize(
    "arguments", [("attach", "lo"), ("top", "--once", "lo"), ("status",), ("replay", "/dev/null")]
)
def test_a_seccomp_filter_is_named(lab: Lab, answer: int, arguments: tuple[str, ...]) -> None:
    done = lab.server.run(behind_a_filter(answer, *arguments), check=False)
    assert done.returncode == 1
    assert "a seccomp filter forbids bpf(2), which xdpdns needs to" in done.stderr
    assert container.let_through(container.container()) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("answer", [errno.EPERM, errno.ENOSYS])
def test_behind_a_seccomp_filter(answer: int) -> None:
    code, report = said(behind_a_filter(answer, "check"))
    assert (code, report["met"]) == (1, False)
    [call] = [need for need in report["needs"] if need["need"] == "bpf system call"]
    assert (call["met"], call["found"]) == (False, "refused by a seccomp filter")
    assert call["mend"]


def test_without_bcc() -> None:
    # as in a virtual environment that was made without --system-site-packages
    script = "import sys; sys.modules['bcc'] = None; from xdpdns.cli import main; main()"
    code, report = said([sys.executable, "-c", script, "check"])
    assert code == 1
    assert needs(report)["BCC for Python"] is False
    assert needs(report)["the program"] is None


def test_another_bcc(tmp_path: Path) -> None:
    (tmp_path / "bcc.py").touch()
    code, report = said(CHECK, PYTHONPATH=str(tmp_path))
    assert code == 1
    [need] = [need for need in report["needs"] if need["need"] == "BCC for Python"]
    assert need["met"] is False
    assert "unrelated module" in need["found"]


def test_somebody_elses_program_is_named(lab: Lab) -> None:
    by_bpftool(lab, "generic")
    code, report = said([*CHECK, "--netns", lab.server.name])
    assert code == 0
    [eth0] = [one for one in report["interfaces"] if one["interface"] == "eth0"]
    [program] = eth0["programs"]
    assert (eth0["driver"], eth0["native"]) == ("veth", True)
    assert (program["mode"], program["ours"]) == ("generic", False)
    assert "foreign_pass" in program["name"]


def test_lo_can_only_generic() -> None:
    [lo] = [one for one in devices.devices() if one.interface == "lo"]
    assert lo.driver == ""
    # a kernel before 6.3 can't be asked
    assert lo.native is (None if devices.xdp_features() is None else False)
