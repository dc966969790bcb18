"""Every format of `xdpdns dump` says what the counters say, to a parser that isn't ours."""

from __future__ import annotations

import csv
import io
import re
import shutil
import stat
import subprocess
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.schemas import valid
from tests.unit.metrics_fixture import LEAVING, ROW, SNAPSHOT, STATE, Samples, parsed
from xdpdns import vocab
from xdpdns.cli.dump import OUTPUTS
from xdpdns.dump import FORMATS
from xdpdns.dump.files import WriteError, replace_file
from xdpdns.dump.reading import Reading
from xdpdns.families import InterfaceState
from xdpdns.snapshot import Snapshot

HOSTILE = tuple(
    vocab.tld_text(label)
    for label in (b'quo"te', b"back\\slash", b"a,b=c d;e", b"new\nline", b"\xff\xfe", b"x.y", b"~x")
)
Rows = dict[tuple[str, ...], int]
ROWS: Rows = {
    ROW: 4,
    (*ROW[:6], "~other", "~other"): 7,
    ("ipv6", "udp", "0", "0", "1", "no_edns", "TYPE65281", "."): 2,
    ("ipv4", "udp", "1", "0", "0", "no_edns", "A", "nl"): 3,
}
ROWS |= {(*ROW[:7], tld): 10 + number for number, tld in enumerate(HOSTILE)}
HEADER2 = tuple(index + 1 for index in range(256))


def counted(rows: Mapping[tuple[str, ...], int]) -> Snapshot:
    marginals = replace(SNAPSHOT.marginals, header2=HEADER2)
    return replace(SNAPSHOT, queries=dict(rows), marginals=marginals)


UP = replace(STATE, snapshot=counted(ROWS), runs=None, run_seconds=None)
DOWN = InterfaceState("eth1", up=False, reason="detached")
READING = Reading(1_700_000_000.25, 1_699_999_900.0, (UP, LEAVING, DOWN))


def written(name: str, reading: Reading = READING) -> bytes:
    return FORMATS[name].write(reading)


def scraped() -> Samples:
    """What all formats must say: the text format, by prometheus_client's parser."""
    return parsed(written("prometheus"))


def test_the_command_offers_every_format() -> None:
    assert set(OUTPUTS) == set(FORMATS)


def test_prometheus_passes_promtool() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not here: deploy/setup --dev installs it")
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=written("prometheus"),
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_openmetrics_says_the_same() -> None:
    assert written("openmetrics").endswith(b"\n# EOF\n")
    assert parsed(written("openmetrics"), openmetrics=True) == scraped()


def test_prometheus_has_rows_and_states() -> None:
    rows = {labels: n for (name, labels), n in scraped().items() if name == "xdpdns_queries_total"}
    assert sorted(rows.values()) == sorted(ROWS.values())
    up = {dict(labels)["interface"]: n for (name, labels), n in scraped().items() if "_up" in name}
    assert up == {"eth0": 1, "eth1": 0}


def test_json() -> None:
    lines = written("json").splitlines()
    assert len(lines) == 1
    made = valid("dump", lines[0].decode())
    assert (made["time"], made["since"]) == ("2023-11-14T22:13:20.250Z", "2023-11-14T22:11:40.000Z")
    up, leaving, down = made["programs"]
    assert (up["direction"], up["counters"]["of"], up["counters"]["timing"]) == (
        "ingress",
        "queries",
        None,
    )
    assert (leaving["direction"], leaving["counters"]["of"]) == ("egress", "responses")
    assert up["counters"]["tcp"]["segments"] == {"syn": 2, "messages": 1}
    assert leaving["counters"]["tcp"] is None
    assert [row["rcode"] for row in leaving["counters"]["rows"]] == ["NODATA"]
    assert leaving["counters"]["timing"]["matched"] == 21
    assert {row["tld"]: row["count"] for row in up["counters"]["rows"]}.items() >= {
        "com": 4,
        ".": 2,
    }.items()
    assert sum(row["count"] for row in up["counters"]["rows"]) == sum(ROWS.values())
    assert up["counters"]["outcomes"] == SNAPSHOT.outcomes
    assert down == {
        "interface": "eth1",
        "up": False,
        "reason": "detached",
        "direction": "ingress",
        "mode": "",
        "program_id": 0,
        "counters": None,
    }


def test_csv() -> None:
    text = (FORMATS["csv"].head + written("csv")).decode()
    found: Samples = {}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        assert row.pop("time") == "1700000000.250"
        name, value = row.pop("metric"), float(row.pop("value"))
        key = name, frozenset((label, text) for label, text in row.items() if text)
        assert key not in found
        found[key] = value
    assert found == scraped()
    assert FORMATS["csv"].head.count(b"\r\n") == 1


# The line protocol's grammar as its reference has it: commas, spaces and equals signs escaped.
_KEY = r"((?:[^,= \\\n]|\\.)+)"
_LINE = re.compile(rf"xdpdns((?:,{_KEY}={_KEY})*) {_KEY}=([0-9.e+-]+)(i?) (\d+)\n")


def test_influx_by_its_grammar() -> None:
    """VictoriaMetrics reads it in tests/netns/test_dump.py."""
    found: Samples = {}
    for line in written("influx").decode().splitlines(keepends=True):
        match = _LINE.fullmatch(line)
        assert match, line
        assert match[7] == "1700000000250000000"
        tags = re.findall(rf",{_KEY}={_KEY}", match[1])
        labels = frozenset((key, re.sub(r"\\([,= ])", r"\1", value)) for key, value in tags)
        found[f"xdpdns_{match[4]}", labels] = float(match[5])
        assert match[6] == ("i" if match[5].isdigit() else "")
    assert found == scraped()


def test_graphite_by_its_rules() -> None:
    found = Counter[str]()
    for line in written("graphite").decode().splitlines():
        series, value, when = line.split(" ")
        assert when == "1700000000"
        name, *tags = series.split(";")
        assert name.startswith("xdpdns_")
        for tag in tags:
            key, text = tag.split("=", 1)
            assert key
            assert text
            assert text[0] != "~"
        found[series] += 1
        assert float(value) >= 0
    assert max(found.values()) == 1
    assert len(found) == len(scraped())
    assert any(";tld=.other" in series for series in found)
    assert any(";tld=a,b=c\\032d\\059e" in series for series in found)


def arrays(text: bytes) -> dict[str, dict[tuple[bytes, bytes], int]]:
    """DSC's tables by their names, as a presenter reads them."""
    root = ET.fromstring(text)
    assert root.tag == "dscdata"
    found: dict[str, dict[tuple[bytes, bytes], int]] = {}
    for array in root:
        assert array.tag == "array"
        assert array.attrib["dimensions"] == "2"
        types = [one.attrib["type"] for one in array.findall("dimension")]
        assert [one.attrib["number"] for one in array.findall("dimension")] == ["1", "2"]
        table = found[array.attrib["name"]] = {}
        data = array.find("data")
        assert data is not None
        for outer in data:
            assert outer.tag == types[0]
            for inner in outer:
                assert inner.tag == types[1]
                key = value(outer), value(inner)
                assert key not in table
                table[key] = int(inner.attrib["count"])
    return found


def value(element: ET.Element) -> bytes:
    text = element.attrib["val"]
    return b64decode(text) if element.get("base64") == "1" else text.encode()


def test_dsc_xml() -> None:
    assert b'start_time="1699999900" stop_time="1700000000"' in written("dsc-xml")
    found = arrays(written("dsc-xml"))
    asked = {row: count for row, count in ROWS.items() if row[2] == "0"}  # QR clear
    assert sum(found["qtype"].values()) == sum(asked.values())
    assert found["qtype"][b"ALL", b"28"] == sum(n for r, n in asked.items() if r[6] == "AAAA")
    assert found["qtype"][b"ALL", b"65281"] == 2
    assert found["qtype"][b"ALL", b"-:SKIPPED_SUM:-"] == 7
    assert (b"ALL", b"1") not in found["qtype"]  # that one had QR set
    assert found["transport_vs_qtype"][b"udp", b"65281"] == 2
    assert found["dns_ip_version_vs_qtype"][b"IPv6", b"65281"] == 2
    assert found["qtype_vs_tld"][b"28", b"com"] == 4
    assert found["qtype_vs_tld"][b"28", b'quo"te'] == 10
    assert found["qtype_vs_tld"][b"28", b"new\nline"] == 13
    assert found["qtype_vs_tld"][b"28", b"\xff\xfe"] == 14
    assert found["do_bit"] == {
        (b"ALL", b"set"): sum(n for r, n in asked.items() if r[3] == "1"),
        (b"ALL", b"clr"): sum(n for r, n in asked.items() if r[3] == "0"),
    }
    assert found["rcode"] == {(b"ALL", b"0"): 3}  # NODATA is NOERROR
    # opcode 4 (NOTIFY) has the third bytes 0x20 to 0x27, RD is the lowest bit
    assert found["opcode"][b"ALL", b"4"] == sum(HEADER2[0x20:0x28])
    assert found["rd_bit"] == {
        (b"ALL", b"set"): sum(HEADER2[1:128:2]),
        (b"ALL", b"clr"): sum(HEADER2[0:128:2]),
    }


def test_dsc_xml_of_an_interval() -> None:
    later = dict(ROWS)
    later[ROW] += 5
    state = replace(UP, snapshot=counted(later))
    text = written("dsc-xml", Reading(READING.time + 60, 0.0, (state,), READING))
    assert b'start_time="1700000000" stop_time="1700000060"' in text
    assert arrays(text)["qtype_vs_tld"] == {(b"28", b"com"): 5}
    # an agent that has begun again: what it counted since
    state = replace(UP, snapshot=counted({ROW: 1}))
    text = written("dsc-xml", Reading(READING.time + 60, 0.0, (state,), READING))
    assert arrays(text)["qtype_vs_tld"] == {(b"28", b"com"): 1}


def test_dsc_xml_of_both_roles_is_the_servers() -> None:
    """A client's queries alone are counted; beside a server's on one interface they are not."""
    asking = replace(UP, direction="egress")
    both = replace(READING, states=(UP, asking))
    assert arrays(written("dsc-xml", both)) == arrays(
        written("dsc-xml", replace(READING, states=(UP,)))
    )
    client = replace(READING, states=(asking,))
    assert arrays(written("dsc-xml", client)) == arrays(written("dsc-xml", both))


def test_dsc_xml_without_a_dimension() -> None:
    snapshot = replace(SNAPSHOT, dimensions=("qtype",), queries={("A",): 3})
    found = arrays(written("dsc-xml", replace(READING, states=(replace(UP, snapshot=snapshot),))))
    assert found == {"qtype": {(b"ALL", b"1"): 3}}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "xdpdns.prom"
    replace_file(path, b"1\n")
    with path.open("rb") as reader:
        replace_file(path, b"22\n")
        assert reader.read() == b"1\n"  # who had it open has all of the old one
    assert path.read_bytes() == b"22\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "xdpdns.prom"
    folder.mkdir()
    with pytest.raises(WriteError, match=r"xdpdns\.prom could not be written \(Is a directory\)"):
        replace_file(folder, b"1\n")
    with pytest.raises(WriteError, match="No such file"):
        replace_file(tmp_path / "none" / "xdpdns.prom", b"1\n")
    assert list(tmp_path.iterdir()) == [folder]
