"""What each panel of the dashboards must show, worked out from the traffic that was sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.netns.site import WINDOW, Key, Measured
from tests.netns.traffic import FLAGS, SEGMENTS, Sent
from xdpdns.catalogue import EDGES, NAME_LABELS, NAME_LENGTH, SIZE, Metric

MALFORMED = {
    "dns_truncated",
    "qdcount",
    "name_compressed",
    "name_truncated",
    "question_truncated",
}
MESSAGES = MALFORMED | {"query", "opcode"}

Values = Mapping[Key, float]


@dataclass(frozen=True)
class Between:
    """A value that is only known to lie between two others, for every series."""

    low: float
    high: float
    count: int = 2


Where = Callable[[Sent], int]
"""Whether a packet is counted, or how often."""


def everything(site: Measured, *names: str) -> Iterator[Sent]:
    """All packets that ever came to these agents, or to any."""
    for traffic in site.traffic.values():
        for name in names or site.agents:
            yield from traffic[name]


class Expected:
    """What rates must be, worked out from the traffic that was sent."""

    def __init__(self, site: Measured) -> None:
        self.site = site

    def rate(self, where: Where, when: str = "", only: str = "", window: int = WINDOW) -> float:
        """Packets a second, of all agents or only one."""
        factors = self.site.factors[when]
        traffic = self.site.traffic["" if when == "recorded" else when]
        names = [only] if only else list(self.site.agents)
        counts = [factors[name] * sum(map(where, traffic[name])) for name in names]
        return sum(counts) / (300 if when == "recorded" else window)

    def by(self, key: Callable[[Sent], Key | None], when: str = "", only: str = "") -> Values:
        """Packets a second, for each key; None for packets that aren't counted."""
        keys = {key(one) for one in everything(self.site)} - {None}
        return {k: self.rate(lambda one, k=k: key(one) == k, when, only) for k in keys if k}  # type: ignore[misc]

    def label(self, *names: str, when: str = "") -> Values:
        """Queries a second by labels of the row."""
        return self.by(
            lambda one: tuple(one.label(n) for n in names) if one.is_query else None, when
        )

    def packets(self, outcome: str, when: str = "", only: str = "") -> float:
        """Packets of the queries' direction a second, with this outcome."""
        return self.rate(lambda one: one.packets.count(outcome), when, only)

    def outcome(self, when: str = "") -> Values:
        """Packets of the queries' direction a second, by outcome."""
        found = {outcome for one in everything(self.site) for outcome in one.packets}
        return {(outcome,): self.packets(outcome, when) for outcome in found}

    def tcp_share(self, only: str = "") -> float:
        """TCP segments as a share of these and the messages over UDP."""
        tcp = self.packets("tcp", only=only)
        return tcp / (tcp + self.messages(only))

    def messages(self, only: str = "") -> float:
        """Messages over UDP a second, whole and broken."""
        return sum(self.packets(outcome, only=only) for outcome in MESSAGES)

    def malformed(self, only: str = "") -> float:
        """The broken ones as a share of the messages over UDP."""
        return sum(self.packets(name, only=only) for name in MALFORMED) / self.messages(only)

    def share(self, part: Where, whole: Where, only: str = "") -> float:
        return self.rate(part, only=only) / self.rate(whole, only=only)

    def per_agent(self, value: Callable[[str], float]) -> Values:
        return {(name,): value(name) for name in self.site.agents}


def is_query(one: Sent) -> bool:
    return one.is_query


def is_response(one: Sent) -> bool:
    return bool(one.rcode)


def divided(values: Values, by: float) -> Values:
    return {key: value / by for key, value in values.items()}


def minus(first: Values, second: Values) -> Values:
    keys = {*first, *second}
    return {key: first.get(key, 0) - second.get(key, 0) for key in keys}


def cumulative(expected: Expected, metric: Metric, values: Callable[[Sent], int]) -> Values:
    """A histogram's increase: queries up to each edge."""

    def up_to(edge: float) -> float:
        return expected.rate(lambda one: one.is_query and values(one) <= edge) * WINDOW

    # a label more, and it is the last bucket: 127 labels and 255 bytes are the most there can be
    last = {NAME_LABELS: 126, NAME_LENGTH: 254}.get(metric, EDGES[metric][-1])
    found: dict[Key, float] = {(f"{min(edge, last):.1f}",): up_to(edge) for edge in EDGES[metric]}
    return found | {("+Inf",): up_to(math.inf)}


def entries(site: Measured) -> Values:
    """The share of the rows in use: rows that were sent, of the 100,000 there may be."""
    rows = {
        name: len(
            {
                tuple(
                    one.label(x) for x in ("af", "proto", "qr", "do", "ad", "edns", "qtype", "tld")
                )
                for one in everything(site, name)
                if one.is_query
            }
        )
        for name in site.agents
    }
    queries: dict[Key, float] = {
        ("ingress", name, at, "queries"): rows[name] / 100000 for name, at in site.agents.items()
    }
    codes = {name: {one.rcode for one in everything(site, name)} - {""} for name in site.agents}
    return queries | {
        ("egress", name, at, "responses"): len(codes[name]) / 100000
        for name, at in site.agents.items()
    }


def overview(site: Measured) -> dict[str, Values | Between]:
    e = Expected(site)

    def bit(name: str) -> Values:
        return {(): e.share(lambda one: one.is_query and one.label(name) == "1", is_query)}

    headers = e.rate(lambda one: one.has_header)
    fill = entries(site)
    cost = Between(1e-8, 1e-4, 1)  # only one of the agents takes it

    def average(value: Callable[[Sent], int]) -> float:
        total = sum(
            site.factors[""][name]
            * sum(value(one) for one in site.traffic[""][name] if one.is_query)
            for name in site.agents
        )
        return total / WINDOW / e.rate(is_query)

    return {
        "Queries/A": {(): e.rate(is_query)},
        "Over IPv6/A": {
            (): e.share(lambda one: one.is_query and one.af == "ipv6", is_query),
        },
        "DNSSEC wanted/A": bit("do"),
        "Malformed/A": {(): e.malformed()},
        "In no row/A": {},
        "Not counted/A": {},
        "Map fill/A": {(): max(fill.values())},
        "Cost of a packet/A": cost,
        "Queries by family and transport/A": e.label("af", "proto"),
        "Header bits/A": bit("do"),
        "Header bits/B": bit("ad"),
        "Header bits/C": bit("qr"),
        "Query types/A": e.label("qtype"),
        "EDNS sizes/A": e.label("edns"),
        "Top-level domains/A": e.label("tld"),
        "Top TLDs/A": e.label("tld"),
        "Top types/A": e.label("qtype"),
        "Packets by outcome/A": e.outcome(),
        "Malformed messages/A": divided(
            e.by(lambda one: (one.outcome,) if one.outcome in MALFORMED else None), e.messages()
        ),
        "TCP/A": {(): e.tcp_share()},
        "TCP segments/A": {
            (kind,): e.rate(lambda one, kind=kind: one.segments.count(kind))  # type: ignore[misc]
            for kind in SEGMENTS
        },
        "Opcodes other than QUERY/A": e.by(
            lambda one: (one.opcode,) if one.has_header and one.opcode != "QUERY" else None
        ),
        "Header flags/A": {
            (flag,): e.rate(lambda one, flag=flag: one.has_header and one.flag(flag)) / headers  # type: ignore[misc]
            for flag in FLAGS
        },
        "Query sizes/A": cumulative(e, SIZE, lambda one: len(one.wire)),
        "Name lengths/A": cumulative(e, NAME_LENGTH, lambda one: one.name_length),
        "Labels in a name/A": cumulative(e, NAME_LABELS, lambda one: one.name_labels),
        "Average size and name length/A": {(): average(lambda one: len(one.wire))},
        "Average size and name length/B": {(): average(lambda one: one.name_length)},
        "EDNS versions/A": e.by(lambda one: (one.version,) if one.is_query else None),
        "Classes other than IN/A": e.by(
            lambda one: (one.qclass,) if one.is_query and one.qclass != "IN" else None
        ),
        "Interfaces/A": Between(1, 1, 4),
        "Entries in the maps/A": fill,
        "Without a row of their own/A": {},
        "Without a row of their own/B": {},
        "Cost of a packet/A ": Between(1e-8, 1e-4),
        "A CPU's time in the programs/A": Between(1e-9, 0.1, 1),
        "Duration of a scrape/A": Between(1e-5, 1),
        "Failed parts of scrapes/A": {},
        "The agent's memory/A": Between(10e6, 200e6),
        "The agent's CPU/A": Between(1e-4, 1),
    }


def fleet(site: Measured) -> dict[str, Values | Between]:
    e = Expected(site)

    def rate(name: str, when: str = "") -> float:
        return e.rate(is_query, when, only=name)

    def answered(name: str) -> float:
        return e.share(is_response, is_query, only=name)

    def code(*rcodes: str) -> Values:
        silent = {name for name in site.agents if not e.rate(is_response, only=name)}
        return {
            (name,): e.share(lambda one: one.rcode in rcodes, is_response, only=name)
            for name in set(site.agents) - silent
        }

    total, week = e.rate(is_query), e.rate(is_query, "1w")
    each = e.per_agent(rate)
    mean = total / len(each)
    spread = math.sqrt(sum((value - mean) ** 2 for value in each.values()) / len(each))
    against = e.per_agent(lambda name: rate(name) / rate(name, "1w"))
    return {
        "Queries/A": {(): total},
        "Against last week/A": {(): total / week},
        "Agents that don't answer/A": {},
        "Imbalance/A": {(): max(each.values()) / mean},
        "Imbalance/A ": {(): max(each.values()) / mean},
        "Imbalance/B": {(): spread / mean},
        "Interfaces not counted/A": {},
        "Series of a scrape/A": {(): site.most_samples()},
        "The day against last week/A": {(): total},
        "The day against last week/B": {(): week},
        "Queries by instance/A": each,
        "Share of the traffic/A": divided(each, total),
        "Against last week/A ": against,
        "Malformed share/A": e.per_agent(e.malformed),
        "Every instance/A": each,
        "Every instance/B": each,
        "Every instance/C": divided(each, total),
        "Every instance/D": against,
        "Every instance/E": e.per_agent(e.malformed),
        "Every instance/F": e.per_agent(e.tcp_share),
        "Every instance/G": e.per_agent(
            lambda name: max(value for key, value in entries(site).items() if name in key)
        ),
        "Every instance/H": e.per_agent(lambda name: 1),
        "Every instance/I": e.per_agent(answered),
        "Answers per query/A": e.per_agent(answered),
        "NXDOMAIN by instance/A": code("NXDOMAIN"),
        "Failures by instance/A": code("SERVFAIL", "REFUSED"),
        "Types over the fleet/A": e.label("qtype", when="recorded"),
        "IPv6 by instance/A": e.per_agent(
            lambda name: e.share(lambda one: one.is_query and one.af == "ipv6", is_query, only=name)
        ),
    }


def triage(site: Measured) -> dict[str, Values | Between]:
    e = Expected(site)
    made: dict[str, Values | Between] = {
        f"Queries, now and before/{ref}": {(): e.rate(is_query, when)}
        for ref, when in (("A", ""), ("B", "1h"), ("C", "1d"))
    }
    for title, values in (
        ("By type", lambda when: e.label("qtype", when=when)),
        ("By top-level domain", lambda when: e.label("tld", when=when)),
        ("By EDNS size", lambda when: e.label("edns", when=when)),
        ("By outcome", e.outcome),
        (
            "By response code",
            lambda when: e.by(lambda one: (one.rcode,) if one.rcode else None, when),
        ),
        (
            "By instance",
            lambda when: e.per_agent(lambda name: e.rate(is_query, when, only=name)),
        ),
    ):
        now, hour, day = values(""), values("1h"), values("1d")
        change = minus(now, hour)
        made |= {
            f"{title}/A": now,
            f"{title}/B": hour,
            f"{title}/C": day,
            f"{title}/D": change,
            f"{title}/E": minus(now, day),
            f"{title}/F": {key: abs(value) for key, value in change.items()},
        }
    return made
