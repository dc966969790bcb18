"""One scrape: read the counters, write the text; whatever part fails, the rest is served."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import prometheus_client
from prometheus_client import openmetrics
from prometheus_client.registry import Collector

from xdpdns.exposition import OPENMETRICS_EOF, Renderer, compress
from xdpdns.families import AgentState, InterfaceState, agent_families, families

log = logging.getLogger(__name__)

Collect = Callable[[], Iterable[InterfaceState]]
"""Reads every interface's counters; blocking, called in one thread at a time."""

QUICK = 0.01
"""Seconds: a scrape that last took less can be made on the event loop itself."""

SELF: Mapping[str, Collector] = {
    "process": prometheus_client.PROCESS_COLLECTOR,
    "python": prometheus_client.PLATFORM_COLLECTOR,
    "gc": prometheus_client.GC_COLLECTOR,
}
"""prometheus_client's own metrics about this process, by the name under which failures count."""

SELF_EVERY = 1.0
"""Seconds for which they are good enough: to read /proc and all takes as long as the rows."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What a client asked for."""

    openmetrics: bool = False
    gzip: bool = False


@dataclass(slots=True)
class Failures:
    """Counts what failed by collector; logs each collector's failures once a minute at most."""

    counts: dict[str, int]
    every: float = 60.0
    _logged: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, collector: str, error: Exception) -> None:
        """Count one failure."""
        count = self.counts[collector] = self.counts.get(collector, 0) + 1
        now = time.monotonic()
        when, before = self._logged.get(collector, (-self.every, 0))
        if now - when >= self.every:
            self._logged[collector] = (now, count)
            log.warning(
                "%s is missing from /metrics (%s, %d times since the last such line): "
                "the rest is served.",
                collector,
                str(error) or type(error).__name__,
                count - before,
                exc_info=error if log.isEnabledFor(logging.DEBUG) else None,
            )


class Scraper:
    """Makes the body of /metrics; not for two threads at once.

    `collect` gives the interfaces' states; if it raises, the scrape has everything but them.
    `seconds` is how long the last one took; 0 before the first.
    """

    def __init__(self, collect: Collect, collectors: Mapping[str, Collector] = SELF) -> None:
        self._collect = collect
        self._collectors = collectors
        self._failures = Failures({"interfaces": 0, "render": 0} | dict.fromkeys(collectors, 0))
        self._interfaces, self._agent = Renderer(), Renderer()
        self._about_self: dict[bool, tuple[float, bytes]] = {}
        self.seconds = 0.0

    def scrape(self, variants: Collection[Variant]) -> dict[Variant, bytes]:
        """Read the counters once, and write them in each of the variants."""
        start = time.perf_counter()
        try:
            states = list(self._collect())
        except Exception as error:  # whatever it is, the rest must be served
            self._failures.add("interfaces", error)
            states = []
        texts = {om: self._text(states, om) for om in {v.openmetrics for v in variants}}
        bodies = {
            v: compress(texts[v.openmetrics]) if v.gzip else texts[v.openmetrics] for v in variants
        }
        self.seconds = time.perf_counter() - start
        return bodies

    def _text(self, states: list[InterfaceState], om: bool) -> bytes:
        parts = [
            self._interfaces.render(families(states, self._failures.add), om, self._failures.add)
        ]
        parts.append(self._self(om))
        agent = AgentState(self.seconds, self._failures.counts)  # last: it counts those failures
        parts.append(self._agent.render(agent_families(agent), om, self._failures.add))
        if om:
            parts.append(OPENMETRICS_EOF)
        return b"".join(parts)

    def _self(self, om: bool) -> bytes:
        """The metrics about this process, made once in SELF_EVERY seconds at most."""
        now = time.monotonic()
        made, text = self._about_self.get(om, (-SELF_EVERY, b""))
        if now - made < SELF_EVERY:
            return text
        parts = []
        for name, collector in self._collectors.items():
            try:
                parts.append(_generate(collector, om))
            except Exception as error:  # whatever it is, the rest must be served
                self._failures.add(name, error)
        text = b"".join(parts)
        if len(parts) == len(self._collectors):
            self._about_self[om] = now, text
        return text


def _generate(collector: Collector, om: bool) -> bytes:
    if not om:
        return prometheus_client.generate_latest(collector)
    text: bytes = openmetrics.exposition.generate_latest(collector)  # type: ignore[no-untyped-call]
    return text.removesuffix(OPENMETRICS_EOF)


@dataclass(slots=True)
class _Batch:
    """The requests that wait for one reading."""

    variants: set[Variant]
    task: asyncio.Task[dict[Variant, bytes]]


class SharedScraper:
    """Lets concurrent requests share readings: while one runs, all that come share the next.

    A request never joins a reading that has begun. So what it gets was counted after it asked, as
    if it were alone, and however many ask at once, they cost two readings.
    """

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="scrape")
        self._running = asyncio.Lock()
        self._next: _Batch | None = None

    def get_now(self, variant: Variant) -> bytes | None:
        """Make the body of /metrics in this thread; None if that might keep others waiting."""
        quick = 0.0 < self._scraper.seconds < QUICK
        if not quick or self._next is not None or self._running.locked():
            return None
        return self._scraper.scrape((variant,))[variant]

    async def get(self, variant: Variant) -> bytes:
        """Wait for the body of /metrics, of counts not older than this call."""
        if self._next is None:
            variants: set[Variant] = set()
            self._next = _Batch(variants, asyncio.create_task(self._run(variants)))
        batch = self._next
        batch.variants.add(variant)
        # a client that goes away must not take the others' reading with it
        return (await asyncio.shield(batch.task))[variant]

    async def _run(self, variants: set[Variant]) -> dict[Variant, bytes]:
        async with self._running:
            self._next = None  # this batch: from here on nobody can join it
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self._scraper.scrape, variants)

    def close(self) -> None:
        """Start no more readings; one that runs is not waited for."""
        self._worker.shutdown(wait=False, cancel_futures=True)
