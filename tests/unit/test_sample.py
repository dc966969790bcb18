"""A sample's counts to verdicts, JSON and text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from tests.schemas import schema, valid
from xdpdns.sample import present, report
from xdpdns.sample.counts import Address, Counts, Exchange, Side, Way, address, ranked
from xdpdns.sample.take import Ended, Sample, SampleSettings
from xdpdns.sample.verdict import Thresholds, Verdict, judge

SETTINGS = SampleSettings("eth0", 1000, None)


def counts(
    server: tuple[int, int] = (0, 0),
    client: tuple[int, int] = (0, 0),
    *,
    top: int = 0,
    any_queries: int = 0,
    truncated: int = 0,
) -> Counts:
    """Queries and answers on each side; `top` queries are one client's."""
    peers: tuple[tuple[Address, Exchange], ...] = ()
    if top:
        rest = Exchange(server[0] - top, server[1])
        peers = ((ip_address("192.0.2.2"), Exchange(top)), (ip_address("2001:db8::2"), rest))
    incoming = Way(server[0] + client[1], server[0], client[1], any_queries=any_queries)
    outgoing = Way(client[0] + server[1], client[0], server[1], truncated_answers=truncated)
    return Counts(incoming, outgoing, Side(Exchange(*server), peers), Side(Exchange(*client)))


def verdicts(found: Counts, **thresholds: float) -> dict[str, Verdict]:
    made = {one.name: one for one in judge(found, Thresholds(**thresholds))}  # type: ignore[arg-type]
    assert len(made) == 7
    return made


@pytest.mark.parametrize(
    ("name", "found", "state", "value"),
    [
        ("throttled", counts((850, 50)), "yes", 50 / 850),
        ("throttled", counts((100, 79)), "yes", 0.79),
        ("throttled", counts((100, 80)), "no", 0.8),
        ("throttled", counts((100, 1)), "yes", 0.01),
        ("throttled", counts((100, 0)), "no", 0.0),
        ("throttled", counts((100, 130)), "no", 1.3),
        ("throttled", counts((49, 1)), "insufficient", 1 / 49),
        ("throttled", counts((50, 1)), "yes", 0.02),
        ("throttled", counts(), "insufficient", None),
        ("throttled", counts(client=(850, 50)), "insufficient", None),
        ("silent", counts((100, 0)), "yes", 0.0),
        ("silent", counts((100, 1)), "no", 0.01),
        ("silent", counts((49, 0)), "insufficient", 0.0),
        ("unanswered", counts(client=(170, 10)), "yes", 10 / 170),
        ("unanswered", counts(client=(100, 0)), "yes", 0.0),
        ("unanswered", counts(client=(100, 80)), "no", 0.8),
        ("unanswered", counts((850, 50)), "insufficient", None),
        ("unasked", counts(client=(0, 900)), "yes", 1.0),
        ("unasked", counts(client=(100, 201)), "yes", 101 / 201),
        ("unasked", counts(client=(100, 200)), "no", 0.5),
        ("unasked", counts(client=(100, 90)), "no", 0.0),
        ("unasked", counts(client=(100, 40)), "insufficient", 0.0),
        ("one_client", counts((100, 100), top=51), "yes", 0.51),
        ("one_client", counts((100, 100), top=50), "no", 0.5),
        ("one_client", counts((40, 40), top=39), "insufficient", 39 / 40),
        ("one_client", counts((100, 100)), "no", 0.0),
        ("mostly_any", counts((100, 100), any_queries=51), "yes", 0.51),
        ("mostly_any", counts((100, 100), any_queries=50), "no", 0.5),
        ("mostly_truncated", counts((100, 60), truncated=31), "yes", 31 / 60),
        ("mostly_truncated", counts((100, 60), truncated=30), "no", 0.5),
        ("mostly_truncated", counts((1000, 49), truncated=49), "insufficient", 1.0),
    ],
)
def test_verdict(name: str, found: Counts, state: str, value: float | None) -> None:
    one = verdicts(found)[name]
    assert (one.state, one.value) == (state, value)
    assert one.flag is {"yes": True, "no": False, "insufficient": None}[state]
    assert one.value == (one.count / one.of if one.of else None)
    assert f"{one.count:,}" in one.figures
    assert f"{one.of:,}" in one.figures


def test_thresholds() -> None:
    found = counts((100, 70), (100, 70), top=40)
    options = {"throttle_ratio": 0.7, "unanswered_ratio": 0.71, "top_share": 0.39}
    made = verdicts(found, **options)
    assert [made[name].flag for name in ("throttled", "unanswered", "one_client")] == [
        False,
        True,
        True,
    ]
    assert [made[name].threshold for name in ("throttled", "unanswered", "one_client")] == [
        *options.values()
    ]
    assert {one.flag for one in verdicts(found, min_messages=101).values()} == {None}


def test_the_schema_has_every_verdict() -> None:
    names = [one.name for one in judge(counts(), Thresholds())]
    properties = schema("sample")["properties"]
    assert list(properties["flags"]["properties"]) == names
    assert properties["verdicts"]["items"]["properties"]["name"]["enum"] == names


def test_address() -> None:
    assert address(bytes(10) + b"\xff\xff\xc0\0\2\1") == IPv4Address("192.0.2.1")
    assert address(IPv6Address("2001:db8::1").packed) == IPv6Address("2001:db8::1")
    assert address(bytes(15) + b"\1") == IPv6Address("::1")


def test_ranked() -> None:
    some = {"2001:db8::1": 1, "192.0.2.9": 1, "192.0.2.10": 1, "192.0.2.1": 2}
    found = ranked((ip_address(where), Exchange(count)) for where, count in some.items())
    order = ["192.0.2.1", "192.0.2.9", "192.0.2.10", "2001:db8::1"]
    assert [str(where) for where, _ in found] == order


def sample(ended: Ended = "packets", found: Counts | None = None) -> Sample:
    """944 queries of 12 clients, the last of which found no room; one in 17 answered."""
    numbers = [(100 - number, 5) for number in range(11)]
    peers = tuple(
        (ip_address(f"192.0.2.{number}"), Exchange(*one)) for number, one in enumerate(numbers, 1)
    )
    left = Exchange(100, 1)
    total = Exchange(sum(a for a, _ in numbers) + 100, 56)
    made = Counts(
        Way(total.queries + 30, total.queries, 0, 7, 11, any_queries=3),
        Way(60, 0, 56, 0, 4, truncated_answers=2),
        Side(total, peers, left),
        Side(Exchange()),
    )
    when = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)
    return Sample(SETTINGS, "eth0", "tcx", when, 1.5, ended, found or made)


def test_json() -> None:
    one = sample()
    made = report.to_json(one, judge(one.counts, Thresholds()), 10)
    assert valid("sample", json.dumps(made)) == made
    assert made["started"] == "2026-01-02T03:04:05.678+00:00"
    assert made["in"]["other_packets"] == 12
    assert made["out"]["other_packets"] == 0
    side = made["server"]
    assert side["queries_per_answer"] == round(1145 / 56, 6)
    assert (side["addresses"], len(side["clients"])) == (11, 10)
    assert side["clients"][0] == {
        "address": "192.0.2.1",
        "queries": 100,
        "answers": 5,
        "queries_per_answer": 20.0,
    }
    assert side["others"] == {"queries": 90, "answers": 5, "queries_per_answer": 18.0}
    assert side["unlisted"] == {"queries": 100, "answers": 1, "queries_per_answer": 100.0}
    assert made["client"]["queries_per_answer"] is None
    assert made["flags"]["throttled"] is True
    assert made["flags"]["unanswered"] is None


@pytest.mark.parametrize("ended", ["packets", "seconds", "interrupted", "gone"])
def test_every_end_is_in_the_schema(ended: Ended) -> None:
    one = sample(ended, counts())
    valid("sample", json.dumps(report.to_json(one, judge(one.counts, Thresholds()), 10)))


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    one = sample("interrupted")
    present.text(one, judge(one.counts, Thresholds()), 10)
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "eth0: 1,235 packets in 1.500 s, interrupted"
    for line in (
        "packets 1,175 60",
        "DNS queries (UDP) 1,145 0",
        "of type ANY 3 0",
        "truncated 0 2",
        "192.0.2.10 91 5 18.20",
        "1 other clients 90 5 18.00",
        "others (the table is full) 100 1 100.00",
        "all, as a server 1,145 56 20.45",
        "throttled yes 4.9% < 80% 56 answers left, 1,145 queries came",
        "one_client no 8.7% > 50% 100 of 1,145 queries that came are one client's",
    ):
        assert line in lines
    assert "192.0.2.11" not in out
    assert "as a client" not in out
    assert "unanswered" not in out  # of nothing there is nothing to say
    assert "\x1b" not in out


def test_text_without_dns(capsys: pytest.CaptureFixture[str]) -> None:
    one = sample("seconds", counts())
    present.text(one, judge(one.counts, Thresholds()), 10)
    out = capsys.readouterr().out
    assert "No DNS over UDP was seen" in out
    assert "verdict" not in out
