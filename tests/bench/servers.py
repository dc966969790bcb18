"""Nameservers that can watch themselves: Knot and Unbound by dnstap, BIND by its query log.

Each is started twice, bare and watched, on ports of its own, and answers from the same root zone as
NSD does, with one worker. Whoever is not asked is idle. A dnstap reader (fstrm_capture) throws all
away that it gets, as tcpdump does in its row.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.netns.actors import ROOT_ZONE
from tests.netns.lab import SERVER4, Lab, Process

ZONE = ROOT_ZONE["."]


@dataclass(frozen=True, slots=True)
class Watched:
    """A nameserver that runs twice.

    `bare` and `watched` are its ports; `written()` is how many bytes its own telemetry has come to.
    """

    bare: int
    watched: int
    written: Callable[[], int]


def start(lab: Lab, name: str) -> Watched | None:
    """Start one of SERVERS; None: something that it needs is not installed."""
    programs, make, ports = SERVERS[name]
    if not all(shutil.which(program) for program in programs):
        return None
    if name == "Knot" and not list(Path("/usr/lib").glob("*/knot/modules-*/dnstap.so")):
        return None
    zone = lab.tmp / "root.zone"
    zone.write_text(ZONE)
    return Watched(*ports, make(lab, zone, *ports))


def _folder(lab: Lab, name: str) -> Path:
    folder = lab.tmp / name
    folder.mkdir()
    return folder


def _run(lab: Lab, name: str, argv: list[str], port: int) -> Process:
    """Start a server, and wait until it answers (which is counted nowhere: the lab is silent)."""
    process = lab.start(lab.server, argv, name)
    ask = ["dig", f"@{SERVER4}", "-p", str(port), "+tries=1", "+time=1", "www.example.com", "A"]
    process.wait_until(
        f"{name}'s answer",
        lambda: "NOERROR" in lab.client.run(ask, check=False).stdout,
        timeout=20,
    )
    return process


def _reader(lab: Lab, name: str) -> tuple[Path, Callable[[], int]]:
    """A dnstap reader: its socket, and how many bytes it has written (to /dev/null) so far."""
    path = lab.tmp / f"{name}.sock"
    argv = ["fstrm_capture", "-t", "protobuf:dnstap.Dnstap", "-u", str(path), "-w", "/dev/null"]
    process = lab.start(lab.server, argv, f"{name}-reader")
    process.wait_until("the dnstap reader's socket", path.exists)

    def written() -> int:
        lines = Path(f"/proc/{process.pid}/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["wchar"])

    return path, written


def _knot(lab: Lab, zone: Path, bare: int, watched: int) -> Callable[[], int]:
    socket, written = _reader(lab, "knot")
    for port in (bare, watched):
        folder = _folder(lab, f"knot-{port}")
        tap = port == watched
        lines = [
            "server:",
            f"    listen: {SERVER4}@{port}",
            f"    rundir: {folder}",
            *("    udp-workers: 1", "    tcp-workers: 1", "    background-workers: 1"),
            "database:",
            f"    storage: {folder}",
            *(("mod-dnstap:", "  - id: tap", f"    sink: unix:{socket}") if tap else ()),
            *(("    log-queries: on", "    log-responses: on") if tap else ()),
            "template:",
            "  - id: default",
            *(("    global-module: mod-dnstap/tap",) if tap else ()),
            f"    storage: {folder}",
            "    zonefile-sync: -1",
            *("zone:", "  - domain: .", f"    file: {zone}"),
        ]
        (folder / "knot.conf").write_text("\n".join(lines) + "\n")
        _run(lab, f"knot-{port}", ["knotd", "-c", f"{folder}/knot.conf"], port)
    return written


def _unbound(lab: Lab, zone: Path, bare: int, watched: int) -> Callable[[], int]:
    socket, written = _reader(lab, "unbound")
    for port in (bare, watched):
        lines = [
            "server:",
            *('  username: ""', '  chroot: ""', '  directory: ""', '  pidfile: ""'),
            *("  do-daemonize: no", "  use-syslog: no", "  num-threads: 1"),
            f"  interface: {SERVER4}@{port}",
            "  access-control: 192.0.2.0/24 allow",
            '  module-config: "iterator"',
            *("remote-control:", "  control-enable: no"),
            *("auth-zone:", '  name: "."', f'  zonefile: "{zone}"'),
            *("  for-downstream: yes", "  for-upstream: no", "  fallback-enabled: no"),
        ]
        if port == watched:
            lines += ["dnstap:", "  dnstap-enable: yes", f'  dnstap-socket-path: "{socket}"']
            lines += ["  dnstap-log-client-query-messages: yes"]
            lines += ["  dnstap-log-client-response-messages: yes"]
        path = _folder(lab, f"unbound-{port}") / "unbound.conf"
        path.write_text("\n".join(lines) + "\n")
        _run(lab, f"unbound-{port}", ["unbound", "-d", "-c", str(path)], port)
    return written


def _bind(lab: Lab, zone: Path, bare: int, watched: int) -> Callable[[], int]:
    log = lab.tmp / "queries.log"
    for port in (bare, watched):
        folder = _folder(lab, f"bind-{port}")
        lines = [
            "options {",
            f'  directory "{folder}"; pid-file none; session-keyfile none;',
            f"  listen-on port {port} {{ {SERVER4}; }}; listen-on-v6 {{ none; }};",
            "  recursion no; dnssec-validation no; notify no;",
            f"  querylog {'yes' if port == watched else 'no'};",
            "};",
            "controls { };",
            "logging {",
            f'  channel log {{ file "{log}" versions 1 size 100m; print-time yes; }};',
            "  category queries { log; };",
            "};",
            f'zone "." {{ type primary; file "{zone}"; }};',
        ]
        (folder / "named.conf").write_text("\n".join(lines) + "\n")
        _run(lab, f"bind-{port}", ["named", "-f", "-n", "1", "-c", f"{folder}/named.conf"], port)
    return lambda: sum(path.stat().st_size for path in lab.tmp.glob("queries.log*"))


SERVERS: dict[
    str, tuple[tuple[str, ...], Callable[[Lab, Path, int, int], Callable[[], int]], tuple[int, int]]
] = {
    "Knot": (("knotd", "fstrm_capture"), _knot, (5301, 5302)),
    "Unbound": (("unbound", "fstrm_capture"), _unbound, (5311, 5312)),
    "BIND": (("named",), _bind, (5321, 5322)),
}
"""What each needs, what starts it, and its two ports."""
