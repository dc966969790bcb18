"""Every panel of *DNS answers* against a real Prometheus, a real agent and NSD's real answers.

See answered.py for what is asked and answers.py for the values; `pytest -s` prints the table.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.netns import table
from tests.netns.answered import LATE_ONES, MeasuredAnswers, answering
from tests.netns.answers import answers
from tests.netns.panels import Between
from tests.netns.site import ETH, WINDOW
from tests.netns.test_dashboards import TIMED, targets

TARGETS = {name: expr for uid, name, expr in targets() if uid == "xdpdns-answers"}
OF_THE_FLEET = {n: e for uid, n, e in targets() if uid == "xdpdns-fleet" and n in TIMED}


@pytest.fixture(scope="module")
def site() -> Iterator[MeasuredAnswers]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    for tool in ("prometheus", "/usr/sbin/nsd"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not here: deploy/setup --dev installs it")
    start = len(table.ROWS)
    with answering() as made:
        yield made
    print(table.short(table.ROWS[start:]))


@pytest.mark.parametrize("name", OF_THE_FLEET)
def test_panel_of_the_fleet(site: MeasuredAnswers, name: str) -> None:
    """What *DNS fleet* says of an instance is what *DNS answers* says of it alone."""
    same = {"99 % within, by instance/A": "99 % within/A"}.get(name, "Unanswered/A")
    expected, got = answers(site)[same], site.panel(OF_THE_FLEET[name])
    table.compared("xdpdns-fleet", name, OF_THE_FLEET[name], expected, got)
    assert set(got) == {(ETH,)}
    if isinstance(expected, Between):
        assert expected.low <= got[ETH,] <= expected.high
    else:
        assert got[ETH,] == pytest.approx(expected[()], rel=1e-6)


def test_all_that_is_timed_is_proven() -> None:
    assert set(OF_THE_FLEET) == TIMED


@pytest.mark.parametrize("name", TARGETS)
def test_panel(site: MeasuredAnswers, name: str) -> None:
    expected = answers(site)[name]
    got = site.panel(TARGETS[name])
    assert got, f"no data: {TARGETS[name]}"
    table.compared("xdpdns-answers", name, TARGETS[name], expected, got)
    if ("tcp",) in got:
        # from the answer to the SYN to that to the FIN, which may go with others
        connections = sum(one.proto == "tcp" for one in site.said) * site.factors[""][ETH] / WINDOW
        assert 3 * connections <= got.pop(("tcp",)) <= 6 * connections
    if isinstance(expected, Between):
        assert len(got) == expected.count, got
        assert all(expected.low <= value <= expected.high for value in got.values()), got
    else:
        wanted = {key: value for key, value in expected.items() if value}
        assert {k: v for k, v in got.items() if v} == pytest.approx(wanted, rel=1e-6)


def test_no_expectation_is_left_over(site: MeasuredAnswers) -> None:
    assert set(answers(site)) == set(TARGETS)


def test_the_late_ones_are_in_their_bucket(site: MeasuredAnswers) -> None:
    """The heat map's buckets: all but the late responses are quicker than the late ones were."""
    buckets = {float(le): count for (le,), count in site.panel(TARGETS["Response times/A"]).items()}
    edges = sorted(buckets)
    [below] = [edge for edge in edges if 0.26 < edge < 0.3]
    above = edges[edges.index(below) + 1]
    factor = site.factors[""][ETH]
    assert (buckets[above] - buckets[below]) / factor == pytest.approx(LATE_ONES)
    assert buckets[above] == buckets[float("inf")]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("Response codes/A", "by (rcode)", "by (code)"),
        ("Truncated/A", 'tc="1"', 'tc="0"'),
        ("Unanswered/A", "expired", "orphan"),
        ("Answers per query/A", 'outcome="response"', 'outcome="query"'),
    ],
)
def test_a_wrong_query_shows(site: MeasuredAnswers, name: str, right: str, wrong: str) -> None:
    assert right in TARGETS[name]
    got = site.panel(TARGETS[name].replace(right, wrong))
    assert got != pytest.approx(answers(site)[name], rel=1e-6)
