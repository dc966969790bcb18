"""Three nameservers, a Prometheus in agent mode beside each, one VictoriaMetrics: sums stay exact.

`pytest -s` prints what was sent and what the store says, and the table of the dashboard's panels.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.netns.fleet import SITES, TRAFFIC, Fleet, MeasuredFleet
from tests.netns.lab import wait_until
from tests.netns.panels import Between
from tests.netns.panels import fleet as panels
from tests.netns.table import brief
from tests.netns.test_dashboards import TIMED, targets
from tests.netns.traffic import Sent, odd, queries

NEEDED = ("victoria-metrics", "vmalert", "prometheus")

AFTER: dict[str, list[list[Sent]]] = {
    "ams": [queries(120, seed=21), queries(80, seed=22)],
    "lon": [queries(60, seed=23), [*queries(210, seed=24), *odd(1)]],
    "tyo": [queries(170, seed=25), queries(40, seed=26)],
}
"""What comes while the agents of lon and tyo are dead, and what comes once they are back."""


@pytest.fixture(scope="module")
def site() -> Iterator[Fleet]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    for tool in NEEDED:
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not here: deploy/setup --dev installs it")
    with Fleet() as fleet:
        yield fleet


def asked(*parts: list[Sent]) -> int:
    """How many of the packets are queries."""
    return sum(one.is_query for part in parts for one in part)


@pytest.mark.timeout(180)
def test_the_sums_of_a_fleet_are_exact_also_over_the_death_of_agents(site: Fleet) -> None:
    table = ["| what | sent | the store says |", "|---|---|---|"]

    def same(what: str, expected: float, got: float) -> None:
        table.append(f"| {what} | {expected:g} | {got:g} |")
        assert got == expected, what

    # Every row is there from the start, so that no series begins within a panel's window.
    every = {name: [one for t in TRAFFIC.values() for one in t[name]] for name in SITES}
    now, week = TRAFFIC[""], TRAFFIC["1w"]
    for name in SITES:
        site.send(name, every[name])
    before = {name: site.scrape(name) for name in SITES}
    for name in SITES:
        site.send(name, week[name])
    site.remember("1w", before, {name: site.scrape(name) for name in SITES})
    start = time.time()
    site.report()
    site.store.wait_for(SITES)
    site.store.wait_for(SITES)
    for name in SITES:
        site.send(name, now[name])
    site.store.wait_for(SITES)
    time.sleep(2.5)  # the store shows nothing that is younger than a second

    # The raw sums, whole and by each label.
    came = {name: [*every[name], *week[name], *now[name]] for name in SITES}
    sent = [one for each in came.values() for one in each if one.is_query]
    fleet = "sum(xdpdns_queries_total)"
    with suppress(TimeoutError):
        wait_until("the sum", lambda: site.store.value(fleet) == len(sent), 20)
    same("queries of the fleet", len(sent), site.store.value(fleet))
    for name in SITES:
        got = site.store.value(f'sum(xdpdns_queries_total{{instance="{name}"}})')
        same(f"queries of {name}", asked(came[name]), got)
    for label in ("af", "qr", "do", "ad", "edns", "qtype", "tld"):
        found = site.store.by(label, f"sum by ({label}) (xdpdns_queries_total)")
        assert found == Counter(one.label(label) for one in sent), label

    # The dashboard DNS fleet, panel by panel.
    at = round(time.time() - 1.2, 3)
    site.record(at)
    time.sleep(1)
    panels_are_right(MeasuredFleet(site, at), table)

    # Agents die. Without --keep lon counts nothing until it is back, and begins at 0; tyo goes on.
    for name in ("lon", "tyo"):
        site.agents[name].process.stop(signal.SIGKILL)
    lab = site.labs["lon"]
    wait_until("lon's program is taken off", lambda: lab.server.xdp_program() is None)
    assert site.labs["tyo"].server.xdp_program() is not None
    for name in SITES:
        site.send(name, AFTER[name][0])
    for name in ("lon", "tyo"):
        site.start(name)
    site.store.wait_for(SITES)  # the new beginning of lon is seen
    for name in SITES:
        site.send(name, AFTER[name][1])
    site.store.wait_for(SITES)
    raw = {
        "ams": asked(came["ams"], *AFTER["ams"]),
        "lon": asked(AFTER["lon"][1]),
        "tyo": asked(came["tyo"], *AFTER["tyo"]),
    }

    def stored(name: str) -> float:
        return site.store.value(f'sum(xdpdns_queries_total{{instance="{name}"}})')

    # what was written last shows a row at a time, on a busy machine seconds apart
    with suppress(TimeoutError):
        wait_until("the sums", lambda: all(stored(name) == n for name, n in raw.items()), 20)
    time.sleep(1.5)
    end = time.time() - 1.2

    counted = {
        "ams": [now["ams"], *AFTER["ams"]],
        "lon": [now["lon"], AFTER["lon"][1]],  # what came while it was dead, nobody saw
        "tyo": [now["tyo"], *AFTER["tyo"]],
    }
    for name, number in raw.items():
        same(f"{name} after the restart", number, stored(name))
    kinds = ("packets", "tcp_messages")
    query = " + ignoring (outcome) ".join(
        f'increase(xdpdns_{kind}_total{{outcome="query"}}[5m])' for kind in kinds
    )
    for name, parts in counted.items():
        got = site.store.by("instance", query)[name]
        same(f"increase of {name} over the restart", asked(*parts), got)
    whole = site.store.over(f"sum({query})", start, end)
    same(
        "increase of the fleet over the restart",
        sum(asked(*p) for p in counted.values()),
        whole[-1],
    )
    assert whole == sorted(whole), whole
    table.append(f"| seconds in which the fleet's sum fell, of {len(whole)} | 0 | 0 |")
    print("", *table, sep="\n")


def panels_are_right(measured: MeasuredFleet, table: list[str]) -> None:
    """Every query of the dashboard returns what was sent."""
    expected = panels(measured)
    rows = [(n, e) for uid, n, e in targets() if uid == "xdpdns-fleet" and n not in TIMED]
    assert {name for name, _ in rows} == set(expected)
    for name, expr in rows:
        got = measured.panel(expr)
        assert got, f"{name} has no data: {expr}"
        table.append(f"| panel {name} | {brief(expected[name])} | {brief(got)} |")
        values = expected[name]
        assert not isinstance(values, Between), name
        wanted = {key: value for key, value in values.items() if value}
        assert {k: v for k, v in got.items() if v} == pytest.approx(wanted, rel=1e-9), name
