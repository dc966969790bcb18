"""Which response belongs to which query, decided a second time: from the written definitions.

A query waits under its tuple: both addresses and ports, and the ID. It has waited too long after
2**33 ns (8.59 s); asked again meanwhile it goes on to wait. Two questions of a tuple can wait; a
third takes the place of the one that has waited for longer. A response with the same question,
whatever its case, or with none, ends it.

Times go by units of 1024 ns, of which 2**32 are a round (73 minutes), and never back by less than a
query can wait: such packets are out of order, and as late as the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain

from tests.truth import framing
from tests.truth.reference import Config, classify

UNIT_NS = 1024
ROUND = 1 << 32
LONGEST_NS = 1 << 33

Tuple = tuple[bytes, bytes, int, int, bytes]


@dataclass
class Pairs:
    """What a capture holds: `pairs` maps a response's index to its query's, and `units` to the time
    between them; `first` maps a query that was sent again to the first that waited. `results`
    counts as `durations.pairing` of a replay does.
    """

    pairs: dict[int, int] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    units: dict[int, int] = field(default_factory=dict)
    results: Counter[str] = field(default_factory=Counter)


@dataclass
class _Waiting:
    index: int
    question: bytes
    since: int


_Slots = list[_Waiting | None]


def pair(packets: Iterable[tuple[int, bytes]], config: Config) -> Pairs:
    """Pair the frames, each with its time in nanoseconds, in their order."""
    found = Pairs()
    waiting: dict[Tuple, _Slots] = {}
    asked = replace(config, side="queries")
    answered = replace(config, side="responses")
    now = unit = 0
    for index, (time, frame) in enumerate(packets):
        if time > now or 0 < time < now - LONGEST_NS:
            now = time
        unit = now // UNIT_NS
        query = _query(frame, asked)
        if query is not None:
            _ask(found, waiting, query[0], _Waiting(index, query[1], unit))
        response = _response(frame, answered)
        if response is not None:
            _answer(found, waiting, response, index, unit)
    for one in filter(None, chain.from_iterable(waiting.values())):
        found.results["expired" if _too_old(_age(one.since, unit)) else "waiting"] += 1
    return found


def _ask(found: Pairs, waiting: dict[Tuple, _Slots], key: Tuple, new: _Waiting) -> None:
    def age(old: _Waiting) -> int:
        return _age(old.since, new.since)

    slots = waiting.setdefault(key, [None, None])
    for old in slots:
        if old and old.question == new.question and not _too_old(age(old)):
            found.results["duplicate"] += 1
            found.first[new.index] = old.index
            return
    found.results["tracked"] += 1
    first, second = slots
    at = int(bool(first and (not second or age(second) > age(first))))
    before = slots[at]
    if before:
        found.results["expired" if _too_old(age(before)) else "displaced"] += 1
    slots[at] = new


def _answer(
    found: Pairs, waiting: dict[Tuple, _Slots], what: tuple[Tuple, bytes], index: int, unit: int
) -> None:
    key, question = what
    slots = waiting.get(key, [None, None])
    for at, old in enumerate(slots):
        if old and question in (b"", old.question) and not _too_old(_age(old.since, unit)):
            slots[at] = None
            break
    else:
        found.results["orphan"] += 1
        return
    found.results["matched"] += 1
    found.pairs[index] = old.index
    found.units[index] = _age(old.since, unit)


def _age(then: int, now: int) -> int:
    """Units between; a time that went back stands for a very long one."""
    return (now - then) % ROUND


def _too_old(units: int) -> bool:
    return units >= LONGEST_NS // UNIT_NS


def _query(frame: bytes, config: Config) -> tuple[Tuple, bytes] | None:
    """The tuple and question of a message to a server that has an answer to come."""
    verdict = classify(frame, config)
    if verdict.row is None or verdict.message is None or verdict.message.flags >> 15:
        return None
    ports = framing.Ports(config.ports, config.encrypted)
    seen = framing.message(frame, ports, "queries", config.max_extensions)
    key = (seen.source, seen.destination, seen.sport, seen.dport, seen.payload[:2])
    return key, _question(seen.payload)


def _response(frame: bytes, config: Config) -> tuple[Tuple, bytes] | None:
    verdict = classify(frame, config)
    if verdict.row is None or verdict.message is None or verdict.message.opcode:
        return None
    ports = framing.Ports(config.ports, config.encrypted)
    seen = framing.message(frame, ports, "responses", config.max_extensions)
    key = (seen.destination, seen.source, seen.dport, seen.sport, seen.payload[:2])
    return key, _question(seen.payload)


def _question(wire: bytes) -> bytes:
    """The one question, in lower case; empty if there is none."""
    if wire[4:6] == b"\0\0":
        return b""
    at = 12
    while wire[at]:
        at += 1 + wire[at]
    return wire[12 : at + 1].lower() + wire[at + 1 : at + 5]
