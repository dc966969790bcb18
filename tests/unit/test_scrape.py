from __future__ import annotations

import gzip
import logging
from collections.abc import Iterable

import pytest
from prometheus_client.metrics_core import Metric

from tests.unit.metrics_fixture import STATE, parsed, series
from xdpdns.families import InterfaceState
from xdpdns.scrape import SELF, Failures, Scraper, Variant

TEXT, GZIP, OPENMETRICS = Variant(), Variant(gzip=True), Variant(openmetrics=True)


class Raising:
    def collect(self) -> Iterable[Metric]:
        raise PermissionError("no /proc")


def test_every_variant_comes_from_one_reading() -> None:
    readings = 0

    def collect() -> list[InterfaceState]:
        nonlocal readings
        readings += 1
        return [STATE]

    bodies = Scraper(collect, {}).scrape({TEXT, GZIP, OPENMETRICS, Variant(True, True)})
    assert readings == 1
    assert gzip.decompress(bodies[GZIP]) == bodies[TEXT]
    assert gzip.decompress(bodies[Variant(True, True)]) == bodies[OPENMETRICS]
    assert parsed(bodies[TEXT]) == parsed(bodies[OPENMETRICS], openmetrics=True)


@pytest.mark.parametrize("variant", [TEXT, OPENMETRICS])
def test_the_process_is_measured_too(variant: Variant) -> None:
    samples = parsed(Scraper(lambda: [STATE]).scrape({variant})[variant], variant.openmetrics)
    assert samples[series("process_resident_memory_bytes")] > 0
    assert any(name == "python_info" for name, _ in samples)
    assert any(name == "xdpdns_build_info" for name, _ in samples)


def test_a_failing_reading_costs_the_interfaces_only(caplog: pytest.LogCaptureFixture) -> None:
    def collect() -> list[InterfaceState]:
        raise OSError("the pin is gone")

    scraper = Scraper(collect)
    for n in (1, 2, 3):
        samples = parsed(scraper.scrape({TEXT})[TEXT])
        assert samples[series("xdpdns_collector_errors_total", collector="interfaces")] == n
        assert series("process_resident_memory_bytes") in samples
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "interfaces is missing from /metrics (the pin is gone, 1 times since the last such line):"
        " the rest is served."
    ]


def test_a_failing_collector_costs_itself_only() -> None:
    samples = parsed(Scraper(lambda: [STATE], {**SELF, "process": Raising()}).scrape({TEXT})[TEXT])
    assert samples[series("xdpdns_collector_errors_total", collector="process")] == 1
    assert samples[series("xdpdns_collector_errors_total", collector="gc")] == 0
    assert samples[series("xdpdns_up", interface="eth0")] == 1
    assert series("process_resident_memory_bytes") not in samples


def test_the_previous_scrape_is_timed() -> None:
    scraper = Scraper(lambda: [STATE])
    first = parsed(scraper.scrape({TEXT})[TEXT])[series("xdpdns_scrape_duration_seconds")]
    second = parsed(scraper.scrape({TEXT})[TEXT])[series("xdpdns_scrape_duration_seconds")]
    assert first == 0.0
    assert 0.0 < second < 5.0


def test_failures_are_logged_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures({}, every=0.0)
    with caplog.at_level(logging.DEBUG, logger="xdpdns"):
        failures.add("gc", ValueError())
        failures.add("gc", ValueError("again"))
    assert failures.counts == {"gc": 2}
    assert [record.args for record in caplog.records] == [
        ("gc", "ValueError", 1),
        ("gc", "again", 1),
    ]
    assert caplog.records[0].exc_info is not None
