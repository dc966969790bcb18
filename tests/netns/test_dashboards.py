"""Every panel's query against a real Prometheus that scraped real agents with known traffic.

See site.py for the agents and panels.py for the values; `pytest -s` prints the table of panels.
test_answers.py does the same for the dashboard *DNS answers*.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.netns import table
from tests.netns.foreign import in_place_of
from tests.netns.panels import Between, fleet, overview, triage
from tests.netns.site import ETH, LO, ROOT, Measured, measured

EXPECTED = {"xdpdns": overview, "xdpdns-fleet": fleet, "xdpdns-triage": triage}
# Prometheus's own scrapes go over the loopback, where an agent counts them: TCP to other ports.
SCRAPES = ("not_udp",)
EMPTY_WHEN_WELL = {"Not counted, and why/A"}
TIMED = {"Unanswered/A", "Every instance/J", "99 % within, by instance/A"}
"""Of *DNS fleet*, what needs response times: proven in test_answers.py."""
UNPROVEN_HERE = EMPTY_WHEN_WELL | TIMED


def targets() -> Iterator[tuple[str, str, str]]:
    """Dashboard, panel with its query's letter, and the query; blanks tell same titles apart."""
    for uid in (*EXPECTED, "xdpdns-answers"):
        seen: Counter[str] = Counter()
        for panel in json.loads((ROOT / "grafana" / f"{uid}.json").read_text())["panels"]:
            for target in panel.get("targets", []):
                name = f"{panel['title']}/{target['refId']}"
                yield uid, name + " " * seen[name], target["expr"]
                seen[name] += 1


TARGETS = list(targets())


@pytest.fixture(scope="module")
def site() -> Iterator[Measured]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not here: deploy/setup --dev installs it")
    with measured() as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def printed() -> Iterator[None]:
    start = len(table.ROWS)
    yield
    print(table.short(table.ROWS[start:]))


@pytest.mark.parametrize(
    ("uid", "name", "expr"),
    [
        pytest.param(*t, id=f"{t[0]}: {t[1]}")
        for t in TARGETS
        if t[0] in EXPECTED and t[1] not in UNPROVEN_HERE
    ],
)
def test_panel(site: Measured, uid: str, name: str, expr: str) -> None:
    expected = EXPECTED[uid](site)[name]
    got = site.panel(expr)
    assert got, f"no data: {expr}"
    got.pop(SCRAPES, None)
    table.compared(uid, name, expr, expected, got)
    if isinstance(expected, Between):
        assert len(got) == expected.count, got
        assert all(expected.low <= value <= expected.high for value in got.values()), got
    else:
        wanted = {key: value for key, value in expected.items() if value}
        assert {k: v for k, v in got.items() if v} == pytest.approx(wanted, rel=1e-6)


def test_no_expectation_is_left_over(site: Measured) -> None:
    for uid, expectations in EXPECTED.items():
        asked = {name for where, name, _ in TARGETS if where == uid}
        assert set(expectations(site)) | UNPROVEN_HERE >= asked
        assert set(expectations(site)) <= asked


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("Queries/A", "xdpdns_packets_total", "xdpdns_packet_total"),
        ("Over IPv6/A", "af=", "family="),
        ("Query types/A", "by (qtype)", "by (type)"),
        ("Packets by outcome/A", "by (outcome)", "by (result)"),
        ("Malformed/A", "name_.+", "names_.+"),
    ],
)
def test_a_wrong_query_shows(site: Measured, name: str, right: str, wrong: str) -> None:
    """A metric, a label or a value that does not exist fails the comparison above."""
    [expr] = [text for uid, panel, text in TARGETS if (uid, panel) == ("xdpdns", name)]
    assert right in expr
    got = site.panel(expr.replace(right, wrong))
    assert got != pytest.approx(overview(site)[name], rel=1e-6)


def test_an_interface_that_is_not_counted(site: Measured) -> None:
    """Last: another program takes the loopback's hook, and the panels say so."""
    in_place_of(site.on_loopback, site.lab, "generic", "lo")
    after = time.time() + 2
    site.prometheus.process.wait_until("scrapes", lambda: time.time() > after + 2)
    site.at = time.time()
    expr = {(uid, name): text for uid, name, text in TARGETS}
    [name] = EMPTY_WHEN_WELL
    why = site.panel(expr["xdpdns", name])
    assert why == {(LO, "lo", "replaced"): 1}
    table.compared("xdpdns", name, expr["xdpdns", name], {(LO, "lo", "replaced"): 1}, why)
    assert site.panel(expr["xdpdns", "Not counted/A"]) == {(): 1}
    assert site.panel(expr["xdpdns-fleet", "Interfaces not counted/A"]) == {(): 1}
    shown = site.panel(expr["xdpdns", "Interfaces/A"])
    assert {key[1:3]: value for key, value in shown.items() if ETH in key} == {
        (ETH, "eth0"): 1,
    }
    assert {value for key, value in shown.items() if LO in key} == {0}
