"""Which way messages go past an interface, by the role of the machine behind it.

    role     ingress (what arrives)    egress (what leaves)
    server   queries                   responses
    client   responses                 queries

A program counts one side: messages to a watched port, or from one (bpf/parse_udp.h).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xdpdns import vocab
from xdpdns.settings import ProgramSettings

if TYPE_CHECKING:
    from xdpdns.hooks import Direction, Hook

ROLES = {
    "server": "queries arrive and responses leave",
    "client": "queries leave and responses arrive, as of a resolver or mail host on its way out",
}
"""What each means, for people."""

RESPONSE_LABELS = ("af", "proto", "rcode", "tc", "aa", "do", "qtype")
"""The dimensions of a response's row by default: few enough that no sender can make many rows."""


def programs(
    role: str,
    queries: ProgramSettings,
    *,
    hook: Hook = "xdp",
    responses: bool = True,
    response_labels: tuple[str, ...] = RESPONSE_LABELS,
) -> dict[Direction, ProgramSettings]:
    """The programs of an interface by direction; the one at the ingress comes first.

    XDP sees only what arrives, so what leaves is counted at TC whatever the `hook`. Without
    `responses` there is the queries' program alone, and nothing is timed.

    Raises:
        SettingsError: a label that responses don't have.
    """
    answers = replace(queries, side="responses", labels=response_labels, exact_edns=False)
    sides = {"queries": queries, "responses": answers}
    order = vocab.SIDES if role == "server" else reversed(vocab.SIDES)
    directions: tuple[Direction, Direction] = ("ingress", "egress")
    chosen: dict[Direction, ProgramSettings] = {}
    for direction, side in zip(directions, order, strict=True):
        if side == "queries" or responses:
            tc = direction == "egress" or hook != "xdp"
            chosen[direction] = replace(
                sides[side],
                hook="tc" if tc else "xdp",
                tcp=True,
                timing=queries.timing if responses else 0,
            )
    return chosen
