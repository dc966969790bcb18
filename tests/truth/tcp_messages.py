"""Messages over TCP as tshark finds them, who puts streams together, and why it may find others."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.truth.rules import AnyRow
from tests.truth.tshark import FIELDS, OPTIONS, Dissection
from tests.truth.wire import MAX_STEPS

ELSEWHERE = {"udp.dstport": "tcp.dstport", "udp.srcport": "tcp.srcport"}
"""Fields of a Dissection that a message over TCP has under another name."""

REPLACEMENT = r"\239\191\189"
"""U+FFFD as a TLD's text."""


class Segment(NamedTuple):
    """A TCP segment: the messages that end in it, and the names of tshark's fields about TCP."""

    messages: list[Dissection]
    marks: frozenset[str]


def dissect(path: Path) -> dict[int, Segment]:
    """The segments to and from port 53, by their index in the capture."""
    command = ["tshark", "-r", str(path), *OPTIONS, "-Y", "tcp.port == 53", "-T", "pdml"]
    done = subprocess.run(command, capture_output=True, check=False)
    root = ElementTree.fromstring(done.stdout.decode("utf-8", "replace"))
    return {int(_fields(one)["num"][0]) - 1: _segment(one) for one in root.iter("packet")}


def steps(message: Dissection) -> int:
    """At most so many does it take to walk over its records: each, and each label of its owner."""
    return message.records + sum(owner.count(".") + 1 for owner in message.owners)


def _segment(packet: ElementTree.Element) -> Segment:
    around = _fields(packet)
    messages = []
    for proto in packet.iter("proto"):
        if proto.get("name") == "dns":
            inside = _fields(proto)
            messages.append(
                Dissection(
                    *(
                        inside[name]
                        if name.startswith("dns.")
                        else around[ELSEWHERE.get(name, name)]
                        for name in FIELDS
                    )
                )
            )
    return Segment(messages, frozenset(name for name in around if name.startswith("tcp.")))


def _fields(element: ElementTree.Element) -> defaultdict[str, list[str]]:
    """What is shown, by the field's name."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for field in element.iter("field"):
        found[field.get("name", "")].append(field.get("show", ""))
    return found


Rows = Counter[AnyRow]


class Case(NamedTuple):
    """A segment of which the two have other rows: `kind` is what ours takes it for.

    `steps` are of the message that takes the most to walk over its records.
    """

    kind: str
    ours: Rows
    theirs: Rows
    marks: frozenset[str]
    steps: int = 0


def spans_segments(case: Case) -> bool:
    """One more message ends here, of which parts came in segments before."""
    more = case.theirs - case.ours
    return not case.ours - case.theirs and more.total() == 1 and "tcp.segments" in case.marks


def behind_a_gap(case: Case) -> bool:
    """A segment before it is not in the capture: tshark waits for that, and shows nothing."""
    waits = "tcp.segment_data" in case.marks and "tcp.segments" not in case.marks
    return waits and not case.theirs


def beginning_unseen(case: Case) -> bool:
    """Where no message is known to begin we count none; tshark tries the segment's start."""
    return case.kind == "unknown" and not case.ours


def unprintable_name(case: Case) -> bool:
    """Bytes of the TLD that are no UTF-8 are a replacement character in XML; the rest is equal."""
    replaced = any(REPLACEMENT in row.tld for row in case.theirs - case.ours)
    return replaced and without(case.ours, "tld") == without(case.theirs, "tld")


def walk_bound(case: Case) -> bool:
    """The records are more than the walk has steps: the OPT is unseen, and nothing else differs.

    But that one more message may end here, as in spans_segments.
    """
    unseen = all(row.edns == "unseen" for row in case.ours - case.theirs)
    ours, theirs = (without(rows, "edns", "do") for rows in (case.ours, case.theirs))
    more = (theirs - ours).total()
    rest = not ours - theirs and more <= ("tcp.segments" in case.marks)
    return bool(case.ours) and case.steps > MAX_STEPS and unseen and rest


def without(rows: Rows, *labels: str) -> Rows:
    """The rows with nothing for these labels."""
    blank = dict.fromkeys(labels, "")
    return Counter(row._replace(**blank) for row in rows.elements())


RULES: tuple[Callable[[Case], bool], ...] = (
    spans_segments,
    behind_a_gap,
    beginning_unseen,
    unprintable_name,
    walk_bound,
)


def explain(case: Case) -> str | None:
    """The name of the first rule that explains the difference, or None."""
    return next((rule.__name__ for rule in RULES if rule(case)), None)
