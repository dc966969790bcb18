"""Whatever is wrong is said in one sentence; the exit code tells wrong use from the rest."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.netns.actors import COMPILES, XDPDNS, Agent
from tests.netns.lab import PATIENCE, Lab

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def without(*capabilities: str) -> list[str]:
    """A prefix that runs as root without these capabilities."""
    dropped = ",".join(f"-{name}" for name in capabilities)
    return ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}"]


def attach(lab: Lab, *arguments: str, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """Exit code and standard error of an `xdpdns attach` that must end by itself."""
    done = lab.server.run([*prefix, XDPDNS, "attach", *arguments], check=False, timeout=PATIENCE)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    assert lab.server.xdp_program() is None
    assert lab.server.xdp_program("lo") is None
    return done.returncode, done.stderr


def sentence(stderr: str) -> str:
    """The one sentence that standard error must be."""
    [line] = stderr.splitlines()
    assert line.endswith((".", "?")), line
    assert len(line) < 400, line
    return line


def test_no_such_interface(lab: Lab) -> None:
    code, stderr = attach(lab, "eth7")
    assert (code, "eth7" in sentence(stderr)) == (1, True), stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eth0"], "The options can be used: eth0 would be counted at XDP, and served at :10530."),
        (["e*", "--hook", "tcx"], "eth0 and others as they come would be counted at TCX"),
        (["--all", "--exclude", "e*"], "no interface yet and others as they come would be"),
    ],
)
def test_a_dry_run_says_what_would_be_done(lab: Lab, arguments: list[str], said: str) -> None:
    done = lab.server.run([XDPDNS, "attach", *arguments, "--dry-run"])
    assert said in sentence(done.stdout)


@pytest.mark.parametrize(
    "arguments", [["eth7"], ["eth0", "eth7"], ["eth7*"], ["lo", "--netns", "eth7"]]
)
def test_what_is_absent_is_said_before_the_port_is(lab: Lab, arguments: list[str]) -> None:
    """By a dry run, and where an agent has the port."""
    code, stderr = attach(lab, *arguments, "--dry-run")
    assert (code, "eth7" in sentence(stderr)) == (1, True), stderr
    agent = Agent(lab)
    done = lab.server.run([XDPDNS, "attach", *arguments], check=False, timeout=PATIENCE)
    assert (done.returncode, "eth7" in sentence(done.stderr)) == (1, True), done.stderr
    agent.stop()


def test_one_of_two_interfaces_is_not_there(lab: Lab) -> None:
    code, stderr = attach(lab, "eth0", "eth7")
    assert (code, "eth7" in sentence(stderr)) == (1, True), stderr


def test_interface_down(lab: Lab) -> None:
    lab.server.run(["ip", "link", "set", "eth0", "down"])
    code, stderr = attach(lab, "eth0")
    assert code == 1
    assert "eth0 is down" in sentence(stderr)
    assert "ip link set eth0 up" in stderr


def test_no_root(lab: Lab) -> None:
    code, stderr = attach(lab, "eth0", prefix=NOBODY)
    assert code == 1
    assert "root" in sentence(stderr)


@pytest.mark.parametrize("command", ["detach", "dump", "top"])
def test_no_root_elsewhere(lab: Lab, command: str) -> None:
    folder = Path("/sys/fs/bpf/xdpdns")
    folder.mkdir(mode=0o700, exist_ok=True)  # as an `attach --keep` leaves it
    done = lab.server.run([*NOBODY, XDPDNS, command, "eth0"], check=False, timeout=PATIENCE)
    assert (done.returncode, "root" in sentence(done.stderr)) == (1, True), done.stderr


@pytest.mark.parametrize("dry", [False, True])
def test_a_key_that_the_user_cannot_read(lab: Lab, dry: bool) -> None:
    """Or it would be told when the certificate is renewed, and not sooner."""
    cert = trustme.CA().issue_cert("localhost")
    for folder in (lab.tmp, *lab.tmp.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    cert.private_key_pem.write_to_path(lab.tmp / "key.pem")
    cert.cert_chain_pems[0].write_to_path(lab.tmp / "cert.pem")
    (lab.tmp / "key.pem").chmod(0o600)
    web = lab.tmp / "web.yml"
    web.write_text("tls_server_config:\n  key_file: key.pem\n  cert_file: cert.pem\n")
    options = ["--user", "23456", "--web.config.file", str(web), *["--dry-run"] * dry]
    code, stderr = attach(lab, "eth0", *options)
    assert code == 2
    last = stderr.splitlines()[-1]
    assert "23456" in last
    assert str(lab.tmp / "key.pem") in last


@pytest.mark.parametrize(
    "missing", [("bpf", "sys_admin"), ("net_admin", "sys_admin"), ("perfmon", "sys_admin")]
)
def test_a_missing_capability(lab: Lab, missing: Sequence[str]) -> None:
    code, stderr = attach(lab, "eth0", prefix=without(*missing))
    assert code == 1
    assert f"CAP_{missing[0].upper()}" in sentence(stderr)


# What stands in for the distribution's Python packages, where python3-bpfcc puts bcc.
HIDE_PACKAGES = "mount -t tmpfs none /usr/lib/python3/dist-packages"


def test_no_python3_bpfcc(lab: Lab) -> None:
    hidden = ["unshare", "--mount", "bash", "-ec", f'{HIDE_PACKAGES}; exec "$@"', "hidden"]
    code, stderr = attach(lab, "eth0", prefix=hidden)
    assert code == 1
    assert "apt-get install python3-bpfcc" in sentence(stderr)


@pytest.mark.parametrize("content", ["", "raise OSError('libbcc.so.0: cannot open')"])
def test_a_bcc_that_is_not_bcc_or_is_broken(lab: Lab, content: str) -> None:
    (lab.tmp / "bcc.py").write_text(content)
    code, stderr = attach(lab, "eth0", prefix=["env", f"PYTHONPATH={lab.tmp}"])
    assert code == 1
    assert "python3-bpfcc" in sentence(stderr)


@pytest.mark.parametrize("address", [":10530", "127.0.0.1:10530", "[::1]:10530"])
def test_port_in_use(lab: Lab, address: str) -> None:
    def occupy() -> socket.socket:
        return socket.create_server(("::", 10530), family=socket.AF_INET6, dualstack_ipv6=True)

    with lab.server.inside(occupy):
        code, stderr = attach(lab, "eth0", "--web.listen-address", address)
    assert code == 1
    assert "10530" in sentence(stderr)


@pytest.mark.parametrize("address", ["192.0.2.99:10530", "[2001:db8::99]:10530"])
def test_an_address_that_is_not_ours(lab: Lab, address: str) -> None:
    code, stderr = attach(lab, "eth0", "--web.listen-address", address)
    assert code == 1
    assert address in sentence(stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--no-such-option", "eth0"],
        ["eth0", "--mode", "fast"],
        ["eth0", "--labels", "af,colour"],
        ["eth0", "--max-series", "0"],
        ["eth0", "--max-series", "many"],
        ["eth0", "--tlds", "@/nonexistent/tlds"],
        ["eth0", "--tlds", "com," + "x" * 64],
        ["eth0", "--web.listen-address", "localhost"],
        ["eth0", "--web.listen-address", ":70000"],
    ],
)
def test_bad_option_values(lab: Lab, arguments: Sequence[str]) -> None:
    code, stderr = attach(lab, *arguments)
    assert code == 2, stderr
    *usage, last = stderr.splitlines()
    assert last.endswith((".", "?")), stderr
    assert not usage or usage[0].startswith("Usage: "), stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[attach]\nmode = 'fast'\n", ":2: attach.mode"),
        ("[attach]\nkeep = true\nlables = ['af']\n", ":3: attach.lables"),
        ("[attach]\n\nmode = \n", ":3: "),
    ],
)
def test_a_config_file_with_an_error(lab: Lab, text: str, named: str) -> None:
    """Its line is named, and nothing is attached."""
    file = lab.tmp / "xdpdns.toml"
    file.write_text(text)
    argv = [XDPDNS, "--config", str(file), "attach", "eth0"]
    done = lab.server.run(argv, check=False, timeout=PATIENCE)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert str(file) in last
    assert named in last
    assert lab.server.xdp_program() is None


def test_a_failure_is_logged_in_the_form_that_was_asked_for(lab: Lab) -> None:
    code, stderr = attach(lab, "eth7", "--log-format", "json")
    [line] = stderr.splitlines()
    made = json.loads(line)
    assert (code, made["level"], "eth7" in made["message"]) == (1, "error", True)


@pytest.mark.parametrize("expired", [True, False])
def test_an_expired_certificate(lab: Lab, expired: bool) -> None:
    """It is served, for clients that don't check; the warning names the file and its line."""
    until = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
    cert = trustme.CA().issue_cert("localhost", not_after=until)
    cert.private_key_pem.write_to_path(lab.tmp / "key.pem")
    cert.cert_chain_pems[0].write_to_path(lab.tmp / "cert.pem")
    web = lab.tmp / "web.yml"
    web.write_text("tls_server_config:\n  key_file: key.pem\n  cert_file: cert.pem\n")
    argv = [XDPDNS, "attach", "eth0", "--web.config.file", str(web), "--log-format", "json"]
    agent = lab.start(lab.server, argv, "agent")
    agent.wait_until("the agent", lambda: "Serving https://" in agent.log, 30)
    argv = ["curl", "--silent", "--insecure", "https://127.0.0.1:10530/metrics"]
    assert "xdpdns_up" in lab.server.run(argv).stdout
    argv = ["curl", "--silent", "--cacert", str(lab.tmp / "cert.pem"), "https://127.0.0.1:10530/"]
    assert lab.server.run(argv, check=False).returncode != 0  # who checks doesn't trust it
    assert agent.stop() == 0
    warnings = [
        line["message"]
        for line in map(json.loads, agent.log.splitlines())
        if line["level"] == "warning" and "certificate" in line["message"]
    ]
    if not expired:
        assert warnings == []
        return
    [warning] = warnings
    assert f"{web}, line 3" in warning
    assert "certificate has expired" in warning
    assert "renew it" in warning


def replay(path: Path | str) -> tuple[int, str]:
    """Exit code and standard error of an `xdpdns replay` that can't succeed."""
    done = subprocess.run(
        [XDPDNS, "replay", str(path), "--output", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "content", [b"", b"\xd4\xc3\xb2", b"this is no capture, but text\n" * 10, b"\0" * 100]
)
def test_no_capture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dns.pcap"
    path.write_bytes(content)
    code, stderr = replay(path)
    assert (code, "dns.pcap" in sentence(stderr)) == (1, True), stderr


def test_a_truncated_capture(lab: Lab, tmp_path: Path) -> None:
    header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000")
    record = bytes.fromhex("00000000 00000000 40000000 40000000") + b"\0" * 64
    path = tmp_path / "cut.pcap"
    path.write_bytes(header + record + record[:40])
    code, stderr = replay(path)
    assert (code, "cut.pcap" in sentence(stderr)) == (1, True), stderr


def test_an_unreadable_capture(lab: Lab, tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pcap", tmp_path):
        code, stderr = replay(path)
        assert code in (1, 2)
        assert path.name in stderr.splitlines()[-1]


def test_a_failure_after_attaching_detaches(lab: Lab) -> None:
    """The port is taken: whichever comes first, attaching or listening, nothing stays."""
    agent = Agent(lab, interfaces=("lo",))
    done = lab.server.run([XDPDNS, "attach", "eth0"], check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert "10530" in sentence(done.stderr)
    assert lab.server.xdp_program() is None
    assert lab.server.xdp_program("lo") is not None
    agent.stop()


def silent(said: str) -> bool:
    """Whether there is no traceback but of a Python that was interrupted before our first line."""
    return "Traceback" not in said or not re.search(r'File "[^"]*/xdpdns/(cli|app)', said)


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_while_it_starts_leaves_nothing(lab: Lab, number: int) -> None:
    for delay in range(8):
        starting = lab.start(lab.server, [*COMPILES, XDPDNS, "attach", "eth0"], "starting")
        time.sleep(delay / 8)
        code = starting.stop(number)
        assert silent(starting.log), starting.log
        assert lab.server.xdp_program() is None, f"after {delay / 8} s, exit code {code}"


def test_ctrl_c_during_the_imports_is_silent() -> None:
    """Whatever is being imported, whether by the command line or by the command."""
    began = time.monotonic()
    argv = [XDPDNS, "attach", "--dry-run", "lo"]
    subprocess.run(argv, check=True, capture_output=True)
    whole = time.monotonic() - began
    codes = set()
    for number in range(20):
        starting = subprocess.Popen(argv, text=True, stderr=subprocess.PIPE)
        time.sleep(number / 20 * whole)
        starting.send_signal(signal.SIGINT)
        _, stderr = starting.communicate(timeout=PATIENCE)
        assert silent(stderr), stderr
        codes.add(starting.returncode)
    assert -signal.SIGINT in codes


def test_the_command_runs_by_this_python() -> None:
    """The tests speak of the xdpdns beside this interpreter, not of one on PATH."""
    first = Path(XDPDNS).read_text().splitlines()[0]
    assert Path(first.removeprefix("#!")).parent == Path(sys.executable).parent
