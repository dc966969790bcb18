"""RSSAC002's measures from plain snapshots, their YAML, and two readings at midnight."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.unit.metrics_fixture import MARGINALS
from xdpdns.cli import main
from xdpdns.errors import SettingsError, UnreadableError
from xdpdns.rssac002 import counters
from xdpdns.rssac002.counters import Interface, Reading, ReportError
from xdpdns.rssac002.measures import (
    METRICS,
    Measures,
    added,
    between,
    check_service,
    file_name,
    lacks,
    measure,
    to_yaml,
)
from xdpdns.snapshot import Histogram, Snapshot, Tcp

DAY = date(2024, 2, 29)
STEPS = 4096
MIDNIGHT = datetime(2024, 2, 29, tzinfo=UTC).timestamp()


def sizes(found: Mapping[int, int]) -> Histogram:
    """A histogram of messages by their size, in 16-byte steps up to 65535."""
    counts = [0] * STEPS
    for size, count in found.items():
        counts[size // 16] += count
    bounds = tuple(range(15, 16 * (STEPS - 1), 16))
    return Histogram(bounds, tuple(counts), sum(size * n for size, n in found.items()))


def snapshot(
    dimensions: tuple[str, ...],
    rows: dict[tuple[str, ...], int],
    udp: Mapping[int, int],
    tcp: Mapping[int, int],
    overflow: int = 0,
) -> Snapshot:
    both = {size: udp.get(size, 0) + tcp.get(size, 0) for size in {*udp, *tcp}}
    return Snapshot(
        dimensions,
        rows,
        outcomes={},
        marginals=replace(MARGINALS, size=sizes(both)),
        overflow={"map_full": overflow, "map_error": 0},
        tcp=Tcp({}, {}, 0, 0, sizes(tcp)),
    )


QUERIES = snapshot(
    ("af", "proto", "qr", "do"),
    {
        ("ipv4", "udp", "0", "1"): 5,
        ("ipv4", "udp", "0", "0"): 2,
        ("ipv6", "udp", "0", "0"): 3,
        ("ipv6", "tcp", "0", "0"): 4,
        ("ipv4", "udp", "1", "0"): 1,
    },
    udp={31: 1, 32: 6, 287: 1, 288: 2, 1000: 1},
    tcp={40: 3, 20000: 1},
)
RESPONSES = snapshot(
    ("af", "proto", "rcode"),
    {
        ("ipv4", "udp", "NOERROR"): 1,
        ("ipv4", "udp", "NODATA"): 2,
        ("ipv6", "udp", "REFERRAL"): 4,
        ("ipv6", "tcp", "NXDOMAIN"): 8,
        ("ipv4", "tcp", "BADVERS"): 16,
        ("ipv4", "tcp", "BADCOOKIE"): 32,
        ("ipv4", "tcp", "~other"): 64,
    },
    udp={0: 1, 15: 1, 4095: 3, 4096: 1, 65535: 1},
    tcp={1232: 120},
)


def published(measures: Measures, metric: str, service: str = "a.root-servers.net") -> Any:
    return yaml.safe_load(to_yaml(metric, service, DAY, measures))


def head(metric: str) -> dict[object, object]:
    return {
        "version": "rssac002v5",
        "service": "a.root-servers.net",
        "start-period": datetime(2024, 2, 29, tzinfo=UTC),
        "metric": metric,
    }


def test_traffic_volume() -> None:
    assert published(measure(QUERIES, RESPONSES), "traffic-volume") == {
        **head("traffic-volume"),
        "dns-udp-queries-received-ipv4": 7,
        "dns-udp-queries-received-ipv6": 3,
        "dns-tcp-queries-received-ipv4": 0,
        "dns-tcp-queries-received-ipv6": 4,
        "dns-udp-responses-sent-ipv4": 3,
        "dns-udp-responses-sent-ipv6": 4,
        "dns-tcp-responses-sent-ipv4": 112,
        "dns-tcp-responses-sent-ipv6": 8,
    }


def test_traffic_sizes() -> None:
    assert published(measure(QUERIES, RESPONSES), "traffic-sizes") == {
        **head("traffic-sizes"),
        "udp-request-sizes": {"16-31": 1, "32-47": 6, "272-287": 1, "288-": 3},
        "udp-response-sizes": {"0-15": 2, "4080-4095": 3, "4096-": 2},
        "tcp-request-sizes": {"32-47": 3, "288-": 1},
        "tcp-response-sizes": {"1232-1247": 120},
    }


def test_rcode_volume() -> None:
    codes: dict[object, object] = {0: 7, 3: 8, 16: 16, 23: 32}
    assert published(measure(QUERIES, RESPONSES), "rcode-volume") == {
        **head("rcode-volume"),
        **codes,
    }


def test_what_is_lacking_is_said() -> None:
    full = replace(QUERIES, overflow={"map_full": 3, "map_error": 1})
    said = lacks(measure(full, RESPONSES))
    assert [text.split(" ")[:3] for text in said] == [
        ["traffic-volume", "lacks", "4"],
        ["the", "request", "sizes"],
        ["rcode-volume", "lacks", "64"],
    ]
    silent = replace(RESPONSES, queries={("ipv4", "udp", "NOERROR"): 1})
    assert lacks(measure(replace(QUERIES, queries={}), silent)) == []


def test_without_tcp_every_message_is_of_udp() -> None:
    measures = measure(replace(QUERIES, tcp=None), RESPONSES)
    assert measures["tcp-request-sizes"] == {}
    assert published(measures, "traffic-sizes")["tcp-request-sizes"] == {}
    assert sum(measures["udp-request-sizes"].values()) == 15


@pytest.mark.parametrize("label", ["af", "proto", "qr"])
def test_a_label_that_is_wanting(label: str) -> None:
    at = QUERIES.dimensions.index(label)
    poor = replace(
        QUERIES,
        dimensions=QUERIES.dimensions[:at] + QUERIES.dimensions[at + 1 :],
        queries={row[:at] + row[at + 1 :]: n for row, n in QUERIES.queries.items()},
    )
    with pytest.raises(UnreadableError, match=f"no {label}, .* --labels that has af,proto,qr"):
        measure(poor, RESPONSES)


def test_differences_and_sums() -> None:
    once = measure(QUERIES, RESPONSES)
    twice = added(once, once)
    assert twice["traffic-volume"]["dns-tcp-queries-received-ipv6"] == 8
    assert between(once, twice) == once
    assert between(twice, once) is None
    nothing = between(once, once)
    assert nothing is not None
    assert set(nothing["traffic-volume"].values()) == {0}
    assert nothing["rcode-volume"] == nothing["udp-request-sizes"] == nothing["lacks"] == {}
    # a code that was never seen before
    assert between(measure(QUERIES, replace(RESPONSES, queries={})), once) == {
        **nothing,
        "traffic-volume": once["traffic-volume"]
        | {key: 0 for key in once["traffic-volume"] if "queries" in key},
        "rcode-volume": once["rcode-volume"],
        "lacks": {"rcodes": 64},
    }


def test_names() -> None:
    assert file_name("rcode-volume", "k.root-servers.net", DAY) == (
        "k-root-20240229-rcode-volume.yaml"
    )
    assert file_name("traffic-sizes", "ns1.example", DAY) == (
        "ns1.example-20240229-traffic-sizes.yaml"
    )
    for name in ("a.root-servers.net", "ns_1", "1.5", "true"):
        assert (
            published(measure(QUERIES, RESPONSES), METRICS[0], check_service(name))["service"]
            == name
        )
    for name in ("", "../x", "a b", "-x", "a'b", "a\n", "x" * 254):
        with pytest.raises(SettingsError, match="--service"):
            check_service(name)


# --- two readings -------------------------------------------------------------------------------


def reading(days: float, times: int, maps: tuple[int, ...] = (5, 6), boot: str = "b") -> Reading:
    """Counters that have counted the day `times` times, read so many days after MIDNIGHT."""
    once = total = measure(QUERIES, RESPONSES)
    for _ in range(times - 1):
        total = added(total, once)
    return Reading(MIDNIGHT + days * 86400, boot, {"eth0": Interface(maps, total)})


def test_a_day_between_two_midnights() -> None:
    day, measures = counters.day(reading(0.0001, 1), reading(1.0002, 3))
    assert day == DAY
    assert measures == between(
        reading(0, 1).interfaces["eth0"].measures, reading(0, 3).interfaces["eth0"].measures
    )
    two = [
        replace(one, interfaces={**one.interfaces, "eth1": one.interfaces["eth0"]})
        for one in (reading(0, 1), reading(1, 2))
    ]
    assert counters.day(*two)[1] == added(measure(QUERIES, RESPONSES), measure(QUERIES, RESPONSES))


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (reading(0, 1), reading(2, 2), "of 2024-02-29, not of the day before"),
        (reading(1, 1), reading(0, 2), "not of the day before"),
        (reading(0, 1), reading(1, 2, maps=(5, 7)), "eth0 began again on 2024-02-29"),
        (reading(0, 1), reading(1, 2, boot="c"), "eth0 began again"),
        (reading(0, 2), reading(1, 1), "eth0 began again"),
        (replace(reading(0, 1), interfaces={}), reading(1, 2), "began with .*ended with eth0"),
    ],
)
def test_no_day_between(before: Reading, after: Reading, text: str) -> None:
    with pytest.raises(ReportError, match=text):
        counters.day(before, after)


def test_only_after_midnight() -> None:
    assert counters.day_begun(datetime(2024, 2, 29, 0, 10, tzinfo=UTC)) == DAY
    with pytest.raises(ReportError, match=r"it is 00:10 UTC"):
        counters.day_begun(datetime(2024, 2, 29, 0, 10, 1, tzinfo=UTC))
    with pytest.raises(ReportError, match=r"it is 23:59 UTC"):
        counters.day_begun(datetime(2024, 2, 29, 23, 59, tzinfo=UTC))


def test_the_state_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert counters.load(path) is None
    counters.save(path, reading(0, 1))
    assert counters.load(path) == reading(0, 1)
    for text in ("", "{}", "[]", '{"form": 2}', json.dumps({"form": 1, "interfaces": 3})):
        path.write_text(text)
        with pytest.raises(ReportError, match="is no state of this command"):
            counters.load(path)
    with pytest.raises(ReportError, match="can't be read"):
        counters.load(tmp_path)


# --- the command, with counters that are given --------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, now: Reading, code: int = 0) -> str:
    monkeypatch.setattr("xdpdns.kernel.require_root", lambda: None)
    monkeypatch.setattr(counters, "read", lambda names: now)
    arguments = ["--state", str(folder / "state"), "--output-dir", str(folder), "--service", "ns1"]
    done = CliRunner().invoke(main, ["report", "rssac002", *arguments, "eth0"])
    assert done.exit_code == code, done.output
    return done.output


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"state"}


def test_every_midnight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(monkeypatch, tmp_path, reading(0.001, 1))
    assert "2024-02-29 can be reported when it has ended" in caplog.text
    noted = counters.load(tmp_path / "state")
    run(monkeypatch, tmp_path, reading(0.002, 9))
    assert "noted at 00:01:26" in caplog.text
    assert "it is 12:00 UTC" in run(monkeypatch, tmp_path, reading(0.5, 9), code=1)
    assert counters.load(tmp_path / "state") == noted
    assert files(tmp_path) == set()

    names = {f"ns1-20240229-{metric}.yaml" for metric in METRICS}
    run(monkeypatch, tmp_path, reading(1.001, 2))
    assert files(tmp_path) == names
    volume = yaml.safe_load((tmp_path / "ns1-20240229-traffic-volume.yaml").read_text())
    assert volume["dns-udp-queries-received-ipv4"] == 7

    # a restart: that day is lost, the next one is not
    assert "began again" in run(monkeypatch, tmp_path, reading(2, 1, maps=(9, 10)), code=1)
    assert files(tmp_path) == names
    run(monkeypatch, tmp_path, reading(3, 3, maps=(9, 10)))
    assert files(tmp_path) == names | {f"ns1-20240302-{metric}.yaml" for metric in METRICS}
    volume = yaml.safe_load((tmp_path / "ns1-20240302-traffic-volume.yaml").read_text())
    assert volume["dns-udp-queries-received-ipv4"] == 14


def test_a_day_that_could_not_be_written_can_be_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, tmp_path, reading(0, 1))
    in_the_way = tmp_path / "ns1-20240229-rcode-volume.yaml"
    in_the_way.mkdir()
    assert "could not be written" in run(monkeypatch, tmp_path, reading(1, 2), code=1)
    in_the_way.rmdir()
    run(monkeypatch, tmp_path, reading(1.001, 2))
    assert in_the_way.is_file()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["lo"], "lo is an interface: give --state FILE"),
        (["--state", "x", "--date", "2024-02-29", "lo"], "--date is for captures"),
        (["--date", "2024-02-30", "x"], "does not match the format"),
        (["--service", "a b", "x"], "--service: 'a b' is no name of a service"),
        ([], "Missing argument"),
    ],
)
def test_bad_input(arguments: list[str], text: str) -> None:
    done = CliRunner().invoke(main, ["report", "rssac002", *arguments])
    assert done.exit_code == 2
    assert text in done.output
