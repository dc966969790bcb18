"""What a sample's counts say, and by which figures. Pure.

A verdict is a share against a threshold; it is `insufficient`, neither yes nor no, where that is a
share of too few messages. It speaks of what was seen at this interface: answers that come or go by
another one are missing here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xdpdns.sample.counts import Counts

State = Literal["yes", "no", "insufficient"]
Sense = Literal["below", "above", "equal"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What shares are held against.

    Attributes:
        throttle_ratio: as a server, answers for each query; below it we are throttled.
        unanswered_ratio: as a client, answers for each query; below it we go unanswered.
        top_share: of all queries that come, those of one client.
        any_share: of all queries that come, those for the type ANY.
        truncated_share: of all answers that leave, those with TC set.
        unasked_share: of all answers that come, those beyond one for each query that left.
        min_messages: so many a share must be of.
    """

    throttle_ratio: float = 0.8
    unanswered_ratio: float = 0.8
    top_share: float = 0.5
    any_share: float = 0.5
    truncated_share: float = 0.5
    unasked_share: float = 0.5
    min_messages: int = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict with its figures.

    Attributes:
        name: of its flag.
        state: whether it holds.
        value: `count` / `of`; None of nothing.
        threshold: what the value was held against.
        sense: it holds if the value is below, above or equal to that.
        count: so many,
        of: of so many messages.
        figures: these two in words.
        meaning: what it says if it holds.
    """

    name: str
    state: State
    value: float | None
    threshold: float
    sense: Sense
    count: int
    of: int
    figures: str
    meaning: str

    @property
    def flag(self) -> bool | None:
        """Whether it holds; None if that can't be said."""
        return {"yes": True, "no": False, "insufficient": None}[self.state]


@dataclass(frozen=True, slots=True)
class _Rule:
    """`share` gives the count and what it is of; `figures` has room for both.

    With `some` it takes a value over 0 to hold.
    """

    name: str
    share: Callable[[Counts], tuple[int, int]]
    threshold: Callable[[Thresholds], float]
    sense: Sense
    figures: str
    meaning: str
    some: bool = False


def judge(counts: Counts, thresholds: Thresholds) -> tuple[Verdict, ...]:
    """All verdicts, in the order in which they are shown."""
    return tuple(_decide(rule, counts, thresholds) for rule in _RULES)


def _decide(rule: _Rule, counts: Counts, thresholds: Thresholds) -> Verdict:
    count, of = rule.share(counts)
    threshold = rule.threshold(thresholds)
    value = count / of if of else None
    state: State = "insufficient"
    if value is not None and of >= thresholds.min_messages:
        holds = _SENSES[rule.sense](value, threshold) and not (rule.some and not count)
        state = "yes" if holds else "no"
    figures = rule.figures.format(f"{count:,}", f"{of:,}")
    what = rule.sense, count, of, figures, rule.meaning
    return Verdict(rule.name, state, value, threshold, *what)


_SENSES: dict[Sense, Callable[[float, float], bool]] = {
    "below": operator.lt,
    "above": operator.gt,
    "equal": operator.eq,
}


def _served(counts: Counts) -> tuple[int, int]:
    return counts.server.total.answers, counts.server.total.queries


def _top_client(counts: Counts) -> tuple[int, int]:
    peers = counts.server.peers
    return peers[0][1].queries if peers else 0, counts.server.total.queries


def _unasked(counts: Counts) -> tuple[int, int]:
    total = counts.client.total
    return max(0, total.answers - total.queries), total.answers


_RULES = (
    _Rule(
        "throttled",
        _served,
        lambda chosen: chosen.throttle_ratio,
        "below",
        "{0} answers left, {1} queries came",
        "this machine answers only some of the queries that reach it: a limit on its responses, "
        "a full queue, or a filter between it and the interface",
        some=True,
    ),
    _Rule(
        "silent",
        _served,
        lambda chosen: 0,
        "equal",
        "{0} answers left, {1} queries came",
        "this machine answers nobody, or not by this interface",
    ),
    _Rule(
        "unanswered",
        lambda counts: (counts.client.total.answers, counts.client.total.queries),
        lambda chosen: chosen.unanswered_ratio,
        "below",
        "{0} answers came, {1} queries left",
        "servers that this machine asks don't answer, limit it, or are lost on the way",
    ),
    _Rule(
        "unasked",
        _unasked,
        lambda chosen: chosen.unasked_share,
        "above",
        "{0} of {1} answers that came have no query that left",
        "answers to somebody else's queries: a reflection attack on this machine, or its queries "
        "leave by another interface",
    ),
    _Rule(
        "one_client",
        _top_client,
        lambda chosen: chosen.top_share,
        "above",
        "{0} of {1} queries that came are one client's",
        "a large share of the load is one address's",
    ),
    _Rule(
        "mostly_any",
        lambda counts: (counts.incoming.any_queries, counts.incoming.queries),
        lambda chosen: chosen.any_share,
        "above",
        "{0} of {1} queries that came are for ANY",
        "hardly anybody asks that in earnest: amplification, or a scan",
    ),
    _Rule(
        "mostly_truncated",
        lambda counts: (counts.outgoing.truncated_answers, counts.outgoing.answers),
        lambda chosen: chosen.truncated_share,
        "above",
        "{0} of {1} answers that left are truncated",
        "clients are sent to TCP: a response rate limit that slips, or answers too large for them",
    ),
)
