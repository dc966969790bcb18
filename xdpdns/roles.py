"""Which way messages go past an interface, by the role of the machine behind it.

    role     ingress (what arrives)    egress (what leaves)
    server   queries                   responses
    client   responses                 queries
    both     queries, responses        queries, responses

A program counts one side: messages to a watched port, or from one (bpf/parse_udp.h). Where both
sides go one way, only the queries' program is on the hook, and leaves what is not to a watched port
to the responses' (LoadedProgram.hand_over()): a packet is counted by one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from xdpdns import vocab
from xdpdns.settings import ProgramSettings

if TYPE_CHECKING:
    from xdpdns.hooks import Direction, Hook

ROLES = {
    "server": "queries arrive and responses leave",
    "client": "queries leave and responses arrive, as of a resolver or mail host on its way out",
    "both": "a resolver between its clients and its upstreams",
}
"""What each means, for people."""

RESPONSE_LABELS = ("af", "proto", "rcode", "tc", "aa", "do", "qtype")
"""The dimensions of a response's row by default: few enough that no sender can make many rows."""


class Way(NamedTuple):
    """What a program counts: one side of what goes one direction."""

    direction: Direction
    side: str

    @property
    def partner(self) -> Way:
        """The way of the other half of the same exchanges: they time each other's messages."""
        [side] = vocab.SIDES.keys() - {self.side}
        return Way("egress" if self.direction == "ingress" else "ingress", side)


Programs = Mapping[Way, ProgramSettings]
"""What an interface is to have. Of two programs for one direction the first is on its hook."""

_SERVER = Way("ingress", "queries"), Way("egress", "responses")
_CLIENT = Way("ingress", "responses"), Way("egress", "queries")
WAYS: Mapping[str, tuple[Way, ...]] = {
    "server": _SERVER,
    "client": _CLIENT,
    "both": (_SERVER[0], _CLIENT[0], _CLIENT[1], _SERVER[1]),
}
"""What is counted in each role."""


def programs(
    role: str,
    queries: ProgramSettings,
    *,
    hook: Hook = "xdp",
    responses: bool = True,
    response_labels: tuple[str, ...] = RESPONSE_LABELS,
) -> dict[Way, ProgramSettings]:
    """The programs of an interface; those at the ingress come first.

    XDP sees only what arrives, so what leaves is counted at TC whatever the `hook`. Without
    `responses` there are the queries' programs alone, and nothing is timed.

    Raises:
        SettingsError: a label that responses don't have.
    """
    answers = replace(queries, side="responses", labels=response_labels, exact_edns=False)
    sides = {"queries": queries, "responses": answers}
    ways = [way for way in WAYS[role] if way.side == "queries" or responses]
    return {
        way: replace(
            sides[way.side],
            hook="tc" if way.direction == "egress" or hook != "xdp" else "xdp",
            tcp=True,
            timing=queries.timing if responses else 0,
            hands_over=way.side == "queries" and Way(way.direction, "responses") in ways,
        )
        for way in ways
    }


def directions(programs: Programs) -> dict[Direction, Way]:
    """The directions that are counted, each with the program that is on its hook."""
    entries: dict[Direction, Way] = {}
    for way in programs:
        entries.setdefault(way.direction, way)
    return entries
