"""`xdpdns report rssac002` as a command: captures of two days with known contents, bad input."""

from __future__ import annotations

import struct
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.unit.test_capture import block, pcap, section
from tests.unit.test_capture import interface as description
from xdpdns.loader import LoadedProgram
from xdpdns.program import Compilation, Compiled
from xdpdns.rssac002 import captures
from xdpdns.rssac002.captures import by_day
from xdpdns.settings import ProgramSettings

pytestmark = pytest.mark.usefixtures("_root")

S = 1_000_000_000
MIDNIGHT = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp()) * S
"""Between the two days."""


@pytest.fixture(scope="module")
def _root() -> None:
    require_root()


QUERY = p.dns_query("example.com")  # 29 bytes
LONG = p.dns_query("example.com", additional=[p.opt(1232)], trailing=bytes(300))


def response(rcode: int = 0) -> bytes:
    return p.dns_query("example.com", qr=1, rcode=rcode)


def sent(dns: bytes, *, tcp: bool = False, v6: bool = False, back: bool = False) -> bytes:
    """A frame to the server, or from it."""
    ports = {"sport": 53, "dport": 40000} if back else {"sport": 40000, "dport": 53}
    number = p.TCP if tcp else p.UDP
    made = p.tcp(struct.pack("!H", len(dns)) + dns, **ports) if tcp else p.udp(dns, **ports)
    if v6:
        return p.ethernet(p.ipv6(made, proto=number, back=back), ethertype=p.IPV6)
    return p.ethernet(p.ipv4(made, proto=number, back=back))


FIRST = [
    *[sent(QUERY)] * 3,
    sent(QUERY, v6=True),
    sent(LONG),
    sent(QUERY, tcp=True),
    sent(p.dns_query("example.com", qr=1)),  # a response to the server's port
    sent(p.message(b"\x03com")),  # no whole question
    *[sent(response(), back=True)] * 2,  # NODATA
    sent(response(3), back=True, v6=True),
    sent(response(5), back=True, tcp=True),
    sent(QUERY, back=True),  # a query from the server's port
]
SECOND = [sent(QUERY, v6=True, tcp=True), sent(response(2), back=True, v6=True, tcp=True)]

FIRST_FILES: dict[str, dict[object, object]] = {
    "traffic-volume": {
        "dns-udp-queries-received-ipv4": 4,
        "dns-udp-queries-received-ipv6": 1,
        "dns-tcp-queries-received-ipv4": 1,
        "dns-tcp-queries-received-ipv6": 0,
        "dns-udp-responses-sent-ipv4": 2,
        "dns-udp-responses-sent-ipv6": 1,
        "dns-tcp-responses-sent-ipv4": 1,
        "dns-tcp-responses-sent-ipv6": 0,
    },
    "traffic-sizes": {
        "udp-request-sizes": {"16-31": 5, "288-": 1},
        "udp-response-sizes": {"16-31": 3},
        "tcp-request-sizes": {"16-31": 1},
        "tcp-response-sizes": {"16-31": 1},
    },
    "rcode-volume": {0: 2, 3: 1, 5: 1},
}
SECOND_FILES: dict[str, dict[object, object]] = {
    "traffic-volume": {
        key: int("tcp" in str(key) and "ipv6" in str(key)) for key in FIRST_FILES["traffic-volume"]
    },
    "traffic-sizes": {
        "udp-request-sizes": {},
        "udp-response-sizes": {},
        "tcp-request-sizes": {"16-31": 1},
        "tcp-response-sizes": {"16-31": 1},
    },
    "rcode-volume": {2: 1},
}


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xdpdns", "report", "rssac002", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done


def written(folder: Path, day: str) -> dict[str, dict[Any, Any]]:
    """The files of a day by metric, without what all have in front."""
    found = {}
    for metric in FIRST_FILES:
        made = yaml.safe_load((folder / f"b-root-{day}-{metric}.yaml").read_text())
        assert made.pop("version") == "rssac002v5"
        assert made.pop("service") == "b.root-servers.net"
        assert made.pop("start-period") == datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
        assert made.pop("metric") == metric
        found[metric] = made
    return found


def test_two_days_in_two_files(tmp_path: Path) -> None:
    """One file goes over midnight; the other one has more of the second day."""
    times = [MIDNIGHT - S, *[MIDNIGHT - 1000] * (len(FIRST) - 1), MIDNIGHT]
    over = tmp_path / "over.pcap"
    over.write_bytes(pcap(list(zip(times, [*FIRST, SECOND[0]], strict=True))))
    rest = tmp_path / "rest.pcap"
    rest.write_bytes(pcap([(MIDNIGHT + 86_399 * S, SECOND[1])]))
    out = tmp_path / "out"
    out.mkdir()
    fixed = ("--service", "b.root-servers.net", "--output-dir", out)

    done = run(*fixed, "--date", "2024-03-01", over, rest)
    assert len(list(out.iterdir())) == 3
    assert written(out, "20240301") == SECOND_FILES
    assert done.stderr == ""

    done = run(*fixed, over, rest)
    assert written(out, "20240229") == FIRST_FILES
    assert written(out, "20240301") == SECOND_FILES
    assert sorted(done.stdout.split()) == sorted(map(str, out.iterdir()))
    assert "have 1 responses sent to the server's port" in done.stderr

    # a day of which there is nothing; a file that ends too soon
    done = run(*fixed, "--date", "2024-03-02", over, code=1)
    assert (done.stdout, "no packet of 2024-03-02" in done.stderr) == ("", True)
    rest.write_bytes(rest.read_bytes()[:-1])
    done = run(*fixed, over, rest, code=1)
    assert str(rest) in done.stderr
    assert written(out, "20240229") == FIRST_FILES
    done = run("--output-dir", out / "nowhere", over, code=1)
    assert f"there is no folder {out / 'nowhere'}: make it with" in done.stderr
    done = run(tmp_path / "none.pcap", code=1)
    assert "Traceback" not in done.stderr


# --- without the command ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs() -> list[tuple[Compiled, ProgramSettings]]:
    sides = [
        ProgramSettings(labels=("af", "proto", "qr"), max_series=100),
        ProgramSettings(labels=("af", "proto", "rcode"), max_series=100, side="responses"),
    ]
    made = []
    for one in sides:
        with closing(Compilation(one)) as compilation:
            made.append((compilation.result(), one))
    return made


def loaded(
    programs: list[tuple[Compiled, ProgramSettings]],
) -> tuple[LoadedProgram, LoadedProgram]:
    queries, responses = (LoadedProgram(*one) for one in programs)
    return queries, responses


def test_days_that_come_again(
    tmp_path: Path,
    programs: list[tuple[Compiled, ProgramSettings]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With fewer programs than days, a day's counts are added up."""
    monkeypatch.setattr(captures, "_OPEN", 2)
    loads: list[tuple[LoadedProgram, LoadedProgram]] = []

    def load() -> tuple[LoadedProgram, LoadedProgram]:
        loads.append(loaded(programs))
        return loads[-1]

    day = captures.DAY
    frame, answer = sent(QUERY), sent(response(), back=True)
    order = [0, 1, 0, 1, 2, 0, 2, 0, 1]
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([(MIDNIGHT + n * day, one) for n in order for one in (frame, answer)]))
    found = by_day([path], load)
    asked = {
        key.day: measures["traffic-volume"]["dns-udp-queries-received-ipv4"]
        for key, measures in found.days.items()
    }
    assert asked == {1: 4, 2: 3, 3: 2}
    assert {m["rcode-volume"]["0"] for m in found.days.values()} == {2, 3, 4}
    assert len(loads) == 5
    assert {program.fd for pair in loads for program in pair} == {-1}


def test_packets_without_time_are_in_no_day(
    tmp_path: Path, programs: list[tuple[Compiled, ProgramSettings]]
) -> None:
    frame = sent(QUERY)
    simple = block(3, struct.pack("<I", len(frame)) + frame + bytes(-len(frame) % 4))
    path = tmp_path / "a.pcapng"
    path.write_bytes(section() + description() + simple * 2)
    found = by_day([path], lambda: loaded(programs))
    assert (found.days, found.untimed) == ({}, 2)


def test_the_first_day_of_time(
    tmp_path: Path, programs: list[tuple[Compiled, ProgramSettings]]
) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([(S, sent(QUERY)), (S, b"short")]))
    found = by_day([path], lambda: loaded(programs))
    assert list(found.days) == [date(1970, 1, 1)]
