"""Every metric that xdpdns defines: name, type, labels and help text, each exactly once.

What the README's table, the dashboards' tests and :mod:`xdpdns.families` share. The metrics about
the process itself (`process_*`, `python_*`) are prometheus_client's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from xdpdns.vocab import DIMENSIONS, RESPONSE_DIMENSIONS

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One line of the catalogue, equal to itself only: none is looked up by all of its text.

    `name` is the one that PromQL uses: counters end in `_total`, information in `_info`.
    `labels` are all that it can have, in order; `--labels` takes some from the query rows.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


_INTERFACE = ("interface",)
_PROGRAM = ("interface", "direction")
_SIDE = (*_PROGRAM, "side")

UP = Metric(
    "xdpdns_up",
    "gauge",
    _INTERFACE,
    "Whether the packets of this interface are counted (1) or not (0).",
)
DOWN = Metric(
    "xdpdns_interface_down_info",
    "info",
    ("interface", "reason"),
    "Why the packets of this interface are not counted; absent while they are.",
)
INTERFACE = Metric(
    "xdpdns_interface_info",
    "info",
    ("interface", "direction", "mode", "program_id"),
    "The hook and the kernel's id of the program that counts what arrives (ingress) or leaves "
    "(egress).",
)
QUERIES = Metric(
    "xdpdns_queries_total",
    "counter",
    (*_PROGRAM, *DIMENSIONS),
    "DNS messages with opcode QUERY and one whole question, by their features.",
)
RESPONSES = Metric(
    "xdpdns_responses_total",
    "counter",
    (*_PROGRAM, *RESPONSE_DIMENSIONS),
    "DNS responses with a whole question or none, by their features; the rcode of NOERROR without "
    "an answer is `NODATA` or `REFERRAL`.",
)
PACKETS = Metric(
    "xdpdns_packets_total",
    "counter",
    (*_SIDE, "outcome"),
    "Packets of each direction, each with exactly one outcome, by the side (`queries` or "
    "`responses`) whose program counted it; `query` and `response` are in rows.",
)
TCP_SEGMENTS = Metric(
    "xdpdns_tcp_segments_total",
    "counter",
    (*_SIDE, "segment"),
    "TCP segments to a watched port (of responses: from one) by what they are.",
)
TCP_MESSAGES = Metric(
    "xdpdns_tcp_messages_total",
    "counter",
    (*_SIDE, "outcome"),
    "Messages over TCP by outcome, as packets have it; `split` ones no segment held whole, "
    "`unread` ones came behind 30 others in one, and nothing else is known of them.",
)
OPCODES = Metric(
    "xdpdns_query_opcodes_total",
    "counter",
    (*_PROGRAM, "opcode"),
    "DNS messages of the queries' direction with a whole header, by opcode.",
)
CLASSES = Metric(
    "xdpdns_query_classes_total",
    "counter",
    (*_PROGRAM, "qclass"),
    "Queries by class of the question.",
)
FLAGS = Metric(
    "xdpdns_query_flags_total",
    "counter",
    (*_PROGRAM, "flag"),
    "DNS messages of the queries' direction with a whole header in which this bit is set.",
)
EDNS_VERSIONS = Metric(
    "xdpdns_query_edns_versions_total",
    "counter",
    (*_PROGRAM, "version"),
    "Queries by the version in their OPT record.",
)
EDNS_EXACT = Metric(
    "xdpdns_edns_exact_queries_total",
    "counter",
    (*_PROGRAM, "size", "do"),
    "Queries with QR and TC clear by their exact EDNS size, `~other` if it is not on a fixed list; "
    "only with --exact-edns.",
)
SIZE = Metric(
    "xdpdns_query_size_bytes",
    "histogram",
    _PROGRAM,
    "Size of the queries as DNS messages, in bytes.",
)
NAME_LENGTH = Metric(
    "xdpdns_query_name_length_bytes",
    "histogram",
    _PROGRAM,
    "Length of the queried names in wire format, in bytes with the final zero.",
)
NAME_LABELS = Metric(
    "xdpdns_query_name_labels",
    "histogram",
    _PROGRAM,
    "Number of labels in the queried names; the root name has 0.",
)
RESPONSE_SIZE = Metric(
    "xdpdns_response_size_bytes",
    "histogram",
    _PROGRAM,
    "Size of the responses as DNS messages, in bytes.",
)
DURATION = Metric(
    "xdpdns_response_duration_seconds",
    "histogram",
    (*_PROGRAM, "af", "proto"),
    "Time between a query and its response, in seconds; of the sampled ones (--latency-sample).",
)
PAIRING = Metric(
    "xdpdns_response_pairing_total",
    "counter",
    (*_PROGRAM, "result"),
    "Sampled queries by what became of them: `matched` with a response, `expired` after 8.6 s "
    "without, `displaced` by another, or a `duplicate` of one that waits; and `orphan` responses.",
)
WAITING = Metric(
    "xdpdns_waiting_queries",
    "gauge",
    _PROGRAM,
    "Sampled queries that wait for their response.",
)
SAMPLE = Metric(
    "xdpdns_latency_sample_ratio",
    "gauge",
    _PROGRAM,
    "The share of the queries that is sampled for response times.",
)
OVERFLOW = Metric(
    "xdpdns_overflow_total",
    "counter",
    (*_SIDE, "reason"),
    "Queries or responses that are in no row, since none could be made.",
)
FOLDED = Metric(
    "xdpdns_folded_queries_total",
    "counter",
    _SIDE,
    "Queries or responses whose TLD was counted as ~other since the map was full.",
)
MAP_ENTRIES = Metric(
    "xdpdns_map_entries", "gauge", (*_PROGRAM, "map"), "Entries in use in a BPF map."
)
MAP_MAX_ENTRIES = Metric(
    "xdpdns_map_max_entries", "gauge", (*_PROGRAM, "map"), "Entries that a BPF map can hold."
)
RUNS = Metric(
    "xdpdns_program_runs_total",
    "counter",
    _PROGRAM,
    "Runs of the BPF program by the kernel's count; only with kernel.bpf_stats_enabled=1.",
)
RUN_SECONDS = Metric(
    "xdpdns_program_run_seconds_total",
    "counter",
    _PROGRAM,
    "Seconds spent in the BPF program by the kernel's count; only with kernel.bpf_stats_enabled=1.",
)
BUILD = Metric(
    "xdpdns_build_info", "info", ("version", "python"), "The version of xdpdns and of its Python."
)
SCRAPE_SECONDS = Metric(
    "xdpdns_scrape_duration_seconds",
    "gauge",
    (),
    "Seconds that the previous scrape took to read the maps and write the text.",
)
ERRORS = Metric(
    "xdpdns_collector_errors_total",
    "counter",
    ("collector",),
    "Failures of a part of a scrape; that part is missing, the rest was served.",
)

CATALOGUE: tuple[Metric, ...] = (
    UP,
    DOWN,
    INTERFACE,
    QUERIES,
    RESPONSES,
    PACKETS,
    TCP_SEGMENTS,
    TCP_MESSAGES,
    OPCODES,
    CLASSES,
    FLAGS,
    EDNS_VERSIONS,
    EDNS_EXACT,
    SIZE,
    NAME_LENGTH,
    NAME_LABELS,
    RESPONSE_SIZE,
    DURATION,
    PAIRING,
    WAITING,
    SAMPLE,
    OVERFLOW,
    FOLDED,
    MAP_ENTRIES,
    MAP_MAX_ENTRIES,
    RUNS,
    RUN_SECONDS,
    BUILD,
    SCRAPE_SECONDS,
    ERRORS,
)
"""Every metric that xdpdns defines itself, in the order of the output."""

EDGES: Mapping[Metric, tuple[int, ...]] = {
    # header, short question: up to 31; plus OPT: 47; plus cookie: 63 and 79; 512 was DNS's limit
    SIZE: (31, 47, 63, 79, 95, 127, 191, 255, 511, 1023),
    NAME_LENGTH: (1, 8, 16, 24, 32, 48, 64, 96, 128, 192, 255),
    # 512: without EDNS; 1232 and 1472: what an MTU of 1280 and of 1500 takes
    RESPONSE_SIZE: (63, 95, 127, 191, 255, 383, 511, 767, 1023, 1231, 1471, 2047, 4095),
    # 34 labels: a whole IPv6 address under ip6.arpa.
    NAME_LABELS: (0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 33, 34, 64, 127),
}
"""The upper edges that the histograms are exported with (far fewer than the kernel counts in)."""


def catalogue_table() -> str:
    """Write the catalogue as the README's Markdown table."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.help} |"
        for m in CATALOGUE
    ]
    return "\n".join(lines) + "\n"
