"""The JSON shape of a snapshot."""

from __future__ import annotations

import json

from xdpdns.report_json import rows, to_json
from xdpdns.snapshot import Histogram, Marginals, Snapshot

HISTOGRAM = Histogram((16, 32, 48), (1, 0, 4, 2), 290)
SNAPSHOT = Snapshot(
    dimensions=("af", "do", "tld"),
    queries={
        ("ipv6", "0", "org"): 2,
        ("ipv4", "1", "\\255"): 2,
        ("ipv4", "0", "org"): 3,
        ("ipv4", "0", "com"): 2,
    },
    outcomes={"query": 10, "not_ip": 0, "tcp": 5},
    marginals=Marginals(
        opcodes={"QUERY": 10},
        flags={"rd": 4},
        classes={"IN": 10},
        edns_versions={"0": 3},
        size=HISTOGRAM,
        name_length=HISTOGRAM,
        name_labels=HISTOGRAM,
    ),
    overflow={"rows": 1},
    folded=6,
)


def test_rows_are_sorted_by_count_and_then_by_labels() -> None:
    assert rows(SNAPSHOT) == [
        (("ipv4", "0", "org"), 3),
        (("ipv4", "0", "com"), 2),
        (("ipv4", "1", "\\255"), 2),
        (("ipv6", "0", "org"), 2),
    ]


def test_to_json() -> None:
    histogram = {"buckets": {"16": 1, "48": 4, "+Inf": 2}, "count": 7, "sum": 290}
    assert json.loads(json.dumps(to_json(SNAPSHOT))) == {
        "packets": 15,
        "outcomes": {"query": 10, "not_ip": 0, "tcp": 5},
        "queries": [
            {"af": "ipv4", "do": "0", "tld": "org", "count": 3},
            {"af": "ipv4", "do": "0", "tld": "com", "count": 2},
            {"af": "ipv4", "do": "1", "tld": "\\255", "count": 2},
            {"af": "ipv6", "do": "0", "tld": "org", "count": 2},
        ],
        "overflow": {"rows": 1},
        "folded": 6,
        "marginals": {
            "opcodes": {"QUERY": 10},
            "flags": {"rd": 4},
            "classes": {"IN": 10},
            "edns_versions": {"0": 3},
            "size": histogram,
            "name_length": histogram,
            "name_labels": histogram,
        },
    }
