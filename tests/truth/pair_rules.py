"""Why tshark may pair a response otherwise: a small function for each named reason, as in rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.truth import rules
from tests.truth.loading import EXACT, EXACT_RESPONSES
from tests.truth.pairing import LONGEST_NS, Pairs
from tests.truth.reference import classify
from tests.truth.tshark import Dissection


class Case(NamedTuple):
    """A response (at `number`, from 0) whose query's index is `ours`, and `theirs` to tshark."""

    times: list[int]
    frames: list[bytes]
    seen: list[Dissection]
    pairs: Pairs
    number: int
    ours: int | None
    theirs: int | None


def not_counted(case: Case) -> bool:
    """Tshark pairs what is no query, or no response, whose question parsed whole."""
    if case.theirs is None or case.ours is not None:
        return False
    response = classify(case.frames[case.number], EXACT_RESPONSES)
    query = classify(case.frames[case.theirs], EXACT)
    opcode = response.message.opcode if response.message else 0
    asked = query.row is not None and query.message is not None and not query.message.flags >> 15
    return response.row is None or opcode != 0 or not asked


def other_question(case: Case) -> bool:
    """Tshark goes by addresses, ports and ID alone; the response has another question."""
    if case.theirs is None:
        return False
    mine, other = case.seen[case.number], case.seen[case.theirs]
    return any(
        getattr(mine, part)[:1] != getattr(other, part)[:1]
        for part in ("names", "types", "classes")
    )


def asked_again(case: Case) -> bool:
    """The query came several times: we count from the first, tshark from one that came later."""
    if case.theirs is None or case.ours is None or case.ours >= case.theirs:
        return False
    first, later = case.seen[case.ours], case.seen[case.theirs]
    return (first.names, first.types) == (later.names, later.types)


def too_late(case: Case) -> bool:
    """More than 8.59 s lie between them, or between the first of several queries and the answer."""
    if case.theirs is None or case.ours is not None:
        return False
    first = case.pairs.first.get(case.theirs, case.theirs)
    return (case.times[case.number] - case.times[first]) * 1000 >= LONGEST_NS


def malformed(case: Case) -> bool:
    """Tshark gives up within the message, before it shows the pair."""
    seen = case.seen[case.number]
    cut = len(seen.record_types) < seen.records
    return case.theirs is None and (bool(seen.malformed) or cut)


def clock_back(case: Case) -> bool:
    """The capture's clock went back before: by a little is at once, by more is another capture."""
    return max(case.times[: case.number + 1]) > case.times[case.number]


RULES: tuple[Callable[[Case], bool], ...] = (
    not_counted,
    too_late,
    asked_again,
    other_question,
    malformed,
    clock_back,
)


def explain(case: Case) -> str | None:
    """The name of the first rule that explains the difference, or None."""
    return next((rule.__name__ for rule in RULES if rule(case)), None)


def explain_row(case: rules.Case) -> str | None:
    """Of rows: what there is among responses alone.

    Tshark names the counts of an UPDATE otherwise, and shows no question count. Of a BSD null
    header it guesses IP where the family is none that is known.
    """
    message = case.ours.message
    if message is not None and message.opcode == 5 and case.theirs is None:
        return "update_sections"
    guessed = case.ours.outcome == "not_ip" and case.seen.layers[:1] == ["null"]
    return "null_family" if guessed else None


def slot_taken(ours: Mapping[str, int], theirs: Mapping[str, int]) -> bool:
    """Other tuples took slots: two of a pair of slots each wait, of the many that may have it."""
    return theirs["tracked"] == ours["tracked"] and theirs["displaced"] > ours["displaced"]
