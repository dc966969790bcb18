"""Every shared capture's responses: rows, pairs and times, by independent decoders.

Packet by packet: the reference, tshark, and dpkt with dnspython. As a whole: both BPF programs by
way of replay, every response timed. What differs must have a named reason (rules, pair_rules).
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.truth import captures, library, pair_rules, rules, tshark
from tests.truth.compare import differences
from tests.truth.conftest import Report, capture_files, dissection
from tests.truth.loading import EXACT, EXACT_RESPONSES, settings
from tests.truth.pairing import UNIT_NS, Pairs, pair
from tests.truth.reference import classify
from tests.truth.reuse import reused_pair
from tests.truth.table import tabulate
from tests.truth.test_captures import CUT_FILES, UNREADABLE, VISIBLE
from xdpdns.replay import ReplayResult, replay
from xdpdns.snapshot import Snapshot, Timing
from xdpdns.timing import CaptureClock

RESULTS = ("tracked", "matched", "expired", "displaced", "waiting", "duplicate", "orphan")
READABLE = [path for path in capture_files() if path.name not in UNREADABLE]


def run(path: Path) -> ReplayResult:
    """Both programs with rows for everything and empty maps, all responses timed."""
    if os.geteuid():
        pytest.skip("loading BPF programs needs root")
    asked, answered = (
        replace(settings(config), timing=1, capture_clock=True, max_series=10_000)
        for config in (EXACT, EXACT_RESPONSES)
    )
    queries, responses = reused_pair(asked, answered)
    queries.clear()
    responses.clear()
    with CaptureClock(queries.maps["clock"]) as clock:
        return replay([path], queries, responses=responses, clock=clock)


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.name)
def test_responses_and_pairs(path: Path, report: Report) -> None:
    packets = captures.read_timed(path)
    if path.name in CUT_FILES:
        packets.pop()
    frames = [frame for _, frame in packets]
    seen = dissection(path)
    pairs = pair([(time * 1000, frame[:VISIBLE]) for time, frame in packets], EXACT)
    explained, wrong = judge_rows(frames, seen)
    more, wrong_pairs = judge_pairs(packets, seen, pairs)
    result = run(path)
    responses = result.responses
    assert isinstance(responses, Snapshot)
    assert responses.timing is not None
    wrong += wrong_pairs
    table = tabulate((frame[:VISIBLE] for frame in frames), EXACT_RESPONSES)
    wrong += map(str, differences(table, responses))
    wrong += compare_timing(pairs, responses.timing, more)
    report.capture(
        path.name,
        explained + more,
        responses=responses.outcomes["response"],
        matched=responses.timing.matched,
        unanswered=responses.timing.expired + responses.timing.waiting,
        differences=len(wrong),
    )
    assert wrong == []


def compare_timing(pairs: Pairs, timing: Timing, explained: Counter[str]) -> list[str]:
    """What the programs counted of pairs, against the reference.

    A time of a pair may differ by a unit at each end: dpkt's floats are coarser than captures.
    """
    wrong = []
    ours = {name: pairs.results[name] for name in RESULTS}
    theirs = {name: int(getattr(timing, name)) for name in RESULTS}
    if ours != theirs:
        if pair_rules.slot_taken(ours, theirs):
            explained["slot_taken"] += 1
        else:
            wrong.append(f"reference {ours}, program {theirs}")
    total = sum(histogram.sum for histogram in timing.durations.values())
    if abs(total // UNIT_NS - sum(pairs.units.values())) > 2 * len(pairs.units):
        wrong.append(f"reference {sum(pairs.units.values())} units, program {total} ns")
    return wrong


def judge_rows(
    frames: list[bytes], seen: list[tshark.Dissection]
) -> tuple[Counter[str], list[str]]:
    """The rules that explain what the others see differently, and what none explains."""
    explained: Counter[str] = Counter()
    wrong = []
    for number, (frame, dissected) in enumerate(zip(frames, seen, strict=True), 1):
        ours = classify(frame, EXACT_RESPONSES)
        theirs = tshark.response_row(dissected, EXACT_RESPONSES)
        if theirs != ours.row:
            rule = rules.explain(rules.Case(frame, ours, theirs, dissected))
            rule = rule or pair_rules.explain_row(rules.Case(frame, ours, theirs, dissected))
            if rule:
                explained[rule] += 1
            else:
                wrong.append(f"packet {number}: {ours}, tshark {theirs}")
        try:
            third = library.response_row(frame, EXACT_RESPONSES)
        except library.NoOpinionError:
            continue
        if third != ours.row:
            wrong.append(f"packet {number}: {ours}, dnspython {third}")
    return explained, wrong


def judge_pairs(
    packets: list[tuple[int, bytes]], seen: list[tshark.Dissection], pairs: Pairs
) -> tuple[Counter[str], list[str]]:
    """The same of the pairs that tshark makes, and of their times to a clock's unit or two."""
    times, frames = [time for time, _ in packets], [frame for _, frame in packets]
    explained: Counter[str] = Counter()
    wrong = []
    for index, dissected in enumerate(seen):
        ours, theirs = pairs.pairs.get(index), tshark.answers(dissected, EXACT_RESPONSES)
        if ours != theirs:
            case = pair_rules.Case(times, frames, seen, pairs, index, ours, theirs)
            rule = pair_rules.explain(case)
            if rule:
                explained[rule] += 1
            else:
                wrong.append(f"packet {index + 1} answers {ours}, tshark {theirs} (from 0)")
        elif ours is not None:
            explained["(pairs equal)"] += 1
            if abs(float(dissected.time[0]) * 1e9 - pairs.units[index] * UNIT_NS) <= 2 * UNIT_NS:
                continue
            case = pair_rules.Case(times, frames, seen, pairs, index, ours, theirs)
            if pair_rules.clock_back(case):
                explained["clock_back"] += 1
            else:
                wrong.append(
                    f"packet {index + 1}: {pairs.units[index]} units, tshark {dissected.time}"
                )
    return explained, wrong
