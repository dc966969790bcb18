"""How many series a fleet of simulated instances comes to, and that its sums are still exact.

`pytest -s` prints the README's table.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.fleet import Store, configuration, start_prometheus
from tests.netns.lab import Lab, wait_until
from tests.netns.simulated import Pages, more, page, snapshot
from tests.netns.site import quick_rules

ROWS = 500
"""Rows of queries of each instance; there are nearly as many of responses."""
STORE = "127.0.0.1:8428"
SENT_BY_A_SITE = 150
"""The most series of an instance that leave a site: what site.yml promises."""


@pytest.fixture
def hub() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    for tool in ("victoria-metrics", "prometheus"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not here: deploy/setup --dev installs it")
    with Lab() as made:
        yield made


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("file", "instances", "most"),
    [("agent.yml", 10, 2 * ROWS + 300), ("site.yml", 100, SENT_BY_A_SITE)],
)
def test_series_stay_in_the_budget(hub: Lab, file: str, instances: int, most: int) -> None:
    before = {f"ns{number}": snapshot(ROWS, number) for number in range(instances)}
    after = {name: more(counters) for name, counters in before.items()}
    store = Store(hub)
    with hub.server.inside(lambda: Pages({})) as pages:
        pages.pages = {f"/{name}": page(counters) for name, counters in before.items()}
        address = f"127.0.0.1:{pages.server_port}"
        config = configuration(file, dict.fromkeys(before, address), STORE)
        config["global"]["scrape_interval"] = "3s"
        for static in config["scrape_configs"][0]["static_configs"]:
            static["labels"]["__metrics_path__"] = f"/{static['labels']['instance']}"
        options: tuple[str, ...] = ()
        if "rule_files" in config:
            [rules] = quick_rules(hub)
            rules.write_text(rules.read_text().replace("interval: 1s", "interval: 3s"))
            config["rule_files"] = [str(rules)]
            options = (f"--storage.tsdb.path={hub.tmp}/tsdb",)
        start_prometheus(hub, config, *options)
        store.wait_for(before, timeout=30)
        pages.pages = {f"/{name}": page(counters) for name, counters in after.items()}
        store.wait_for(before, timeout=30)
        store.wait_for(before, timeout=30)
        time.sleep(2.5)

        queries = 'xdpdns_packets_total{outcome="query"}'
        whole = sum(counters.outcomes["query"] for counters in after.values())
        assert store.value(f"sum({queries})") == whole
        assert store.value(f"sum(increase({queries}[2m]))") == ROWS * instances
        rows = store.ask("count(xdpdns_queries_total)")
        if file == "agent.yml":
            assert [float(one["value"][1]) for one in rows] == [ROWS * instances]
            assert store.value("sum(xdpdns_queries_total)") == whole
        else:
            assert not rows
            for rule in ("instance_qtype:", "instance_af:", "instance:"):
                query = f"sum by (instance) ({rule}xdpdns_queries:rate5m)"
                wait_until(rule, lambda q=query: set(store.by("instance", q)) == set(before), 60)  # type: ignore[misc]
            assert not store.ask("instance_tld:xdpdns_queries:rate5m")
        series = store.value('count({job="xdpdns"})')
        scraped = store.value("max(scrape_samples_scraped)")
        assert series / instances <= most
        memory = resident(store.process.pid)
        print(
            f"\n| {file} | {instances} | {scraped:.0f} | {series / instances:.0f} | {series:.0f} |"
            f" {memory / 1e6:.0f} MB |"
        )


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
