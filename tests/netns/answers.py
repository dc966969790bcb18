"""What each panel of the dashboard *DNS answers* must show, worked out from the responses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from tests.netns.answered import AGAIN, LATE_ONES, ORPHANS, SILENT, Answered, MeasuredAnswers
from tests.netns.panels import Between, Values
from tests.netns.site import ETH, WINDOW, Key
from xdpdns.catalogue import EDGES, RESPONSE_SIZE

Where = Callable[[Answered], bool]


def answers(site: MeasuredAnswers) -> dict[str, Values | Between]:
    """By panel and query."""
    factor = site.factors[""][ETH]
    total = len(site.said)
    over_time = factor / WINDOW

    def by(*names: str, where: Where = lambda one: True) -> dict[Key, float]:
        """How often each value of these labels occurs."""
        counts = Counter(tuple(map(one.label, names)) for one in site.said if where(one))
        return dict(counts)

    def rates(counts: dict[Key, float]) -> Values:
        return {key: count * over_time for key, count in counts.items()}

    def portion(where: Where) -> Values:
        return {(): sum(map(where, site.said)) / total}

    def code(name: str) -> Values:
        return portion(lambda one: one.rcode == name)

    def truncated() -> Values:
        return {(): by("tc", "proto")["1", "udp"] / by("proto")["udp",]}

    matched = sum(one.timed for one in site.said) - ORPHANS
    results = {"matched": matched, "expired": SILENT, "duplicate": AGAIN, "orphan": ORPHANS}
    unanswered: Values = {(): SILENT / (matched + SILENT)}
    sizes = sorted(len(one.wire) for one in site.said)
    edges = (*(float(edge) for edge in EDGES[RESPONSE_SIZE]), math.inf)
    up_to: dict[Key, float] = {
        (f"{edge:.1f}" if edge < math.inf else "+Inf",): sum(size <= edge for size in sizes)
        * factor
        for edge in edges
    }
    codes = by("rcode")

    def size_of(part: float) -> Between:
        """Between the edges of the bucket in which the quantile lies."""
        exact = sizes[math.ceil(part * total) - 1]
        below = max((edge for edge in edges if edge < exact), default=0.0)
        return Between(below, min(edge for edge in edges if edge >= exact), 1)

    quick, late = Between(1e-6, 0.1, 4), Between(0.268, 0.537, 1)
    assert 0.01 < LATE_ONES / matched < 0.05
    return {
        "Responses/A": {(): total * over_time},
        "Answers per query/A": {(): total / site.queries},
        "Unanswered/A": unanswered,
        "99 % within/A": late,
        "NXDOMAIN/A": code("NXDOMAIN"),
        "SERVFAIL/A": code("SERVFAIL"),
        "REFUSED/A": code("REFUSED"),
        "Truncated/A": truncated(),
        "Queries and responses/A": {(): site.queries * over_time},
        "Queries and responses/B": {(): total * over_time},
        "Answers per query by instance/A": {(ETH,): total / site.queries},
        "Response codes/A": rates(codes),
        "Every response code/A": {key: count * factor for key, count in codes.items()},
        "Every response code/B": {key: count / total for key, count in codes.items()},
        "Every response code/C": {key: count * factor for key, count in codes.items()},
        "Errors/A": code("NXDOMAIN"),
        "Errors/B": code("SERVFAIL"),
        "Errors/C": code("REFUSED"),
        "Nothing in the answer/A": code("NODATA"),
        "Nothing in the answer/B": code("REFERRAL"),
        "Header and EDNS bits/A": portion(lambda one: one.label("aa") == "1"),
        "Header and EDNS bits/B": portion(lambda one: one.label("do") == "1"),
        "Responses by family and transport/A": rates(by("af", "proto")),
        "Failures by type/A": rates(
            by("qtype", "rcode", where=lambda one: one.rcode in {"SERVFAIL", "REFUSED"})
        ),
        "Response sizes/A": up_to,
        "Quantiles of the sizes/A": size_of(0.5),
        "Quantiles of the sizes/B": size_of(0.95),
        "Quantiles of the sizes/C": size_of(0.99),
        "Quantiles of the sizes/D": {(): sum(sizes) / total},
        "Truncated over UDP/A": truncated(),
        "Truncated by type/A": rates(by("qtype", where=lambda one: one.label("tc") == "1")),
        "Over TCP/A": portion(lambda one: one.proto == "tcp"),
        "Quantiles of the response times/A": quick,
        "Quantiles of the response times/B": quick,
        "Quantiles of the response times/C": Between(1e-6, 0.537, 4),
        "Response times/A": Between(0, matched * factor * 1.000001, 21),
        "What became of timed queries/A": rates({(name,): n for name, n in results.items()}),
        "Unanswered/A ": unanswered,
        "Orphan responses/A": {(): ORPHANS / (matched + ORPHANS)},
        "Waiting queries/A": {},
        "Sampled share/A": {("egress", ETH, "eth0"): 1},
        "Packets by outcome/A": rates({("response",): by("proto")["udp",]}),
    }
