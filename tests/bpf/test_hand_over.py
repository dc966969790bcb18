"""Both sides of one direction: every packet is counted by one of two programs, as alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.bpf.vectors import VECTORS
from tests.bpf.vectors_framing import FRAMING
from tests.bpf.vectors_responses import RESPONSES
from tests.truth.compare import differences
from tests.truth.framing import Side
from tests.truth.generator import frames
from tests.truth.loading import EXACT, EXACT_RESPONSES, load, settings
from tests.truth.reference import classify
from tests.truth.runner import Runner
from tests.truth.table import tabulate
from xdpdns import vocab
from xdpdns.kernel import TCX_NEXT, XDP_PASS
from xdpdns.loader import LoadedProgram

ELSEWHERE = ("other_port", "not_udp")
QR = 0x8000
SHORTEST = 14 + 40
"""The kernel lends TC no frames that end before their IP header does."""


def is_left(frame: bytes) -> bool:
    """Whether the queries' program leaves it to the responses'."""
    query = classify(frame, EXACT)
    if query.outcome in ELSEWHERE:
        return True
    between = classify(frame, EXACT_RESPONSES).outcome not in (*ELSEWHERE, *vocab.ENCRYPTED)
    return between and query.message is not None and bool(query.message.flags & QR)


@pytest.fixture(scope="module", params=["xdp", "tc"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Runner, LoadedProgram]]:
    """The program on the hook, and the one behind it."""
    require_root()
    hook = request.param
    first = replace(settings(EXACT), hook=hook, hands_over=True)
    second = replace(settings(EXACT_RESPONSES), hook=hook)
    with load(first) as queries, load(second) as responses:
        queries.hand_over(responses)
        yield Runner(queries, EXACT, XDP_PASS if hook == "xdp" else TCX_NEXT), responses


def counted_like_alone(both: tuple[Runner, LoadedProgram], sent: list[bytes]) -> None:
    queries, responses = both
    behind = Runner(responses, EXACT_RESPONSES)
    found = queries.run(sent), behind.run([])
    assert sum(one.packets for one in found) == len(sent)
    shares: dict[bool, list[bytes]] = {False: [], True: []}
    for frame in sent:
        shares[is_left(frame)].append(frame)
    for snapshot, config, mine in zip(found, (EXACT, EXACT_RESPONSES), (False, True), strict=True):
        expected = tabulate(shares[mine], config)
        assert differences(expected, snapshot) == []


def test_vectors(both: tuple[Runner, LoadedProgram]) -> None:
    sent = [*(one.frame for one in VECTORS + FRAMING), *(one.frame for one in RESPONSES)]
    counted_like_alone(both, [frame for frame in sent if len(frame) >= SHORTEST])


@pytest.mark.parametrize("side", ["queries", "responses"])
def test_made_at_random(both: tuple[Runner, LoadedProgram], side: Side) -> None:
    made = frames(11, 3000, side=side)
    counted_like_alone(both, [frame for frame in made if len(frame) >= SHORTEST])


def test_encrypted(both: tuple[Runner, LoadedProgram]) -> None:
    """The port of either end tells; the destination's, if both do."""
    queries, responses = both
    behind = Runner(responses, EXACT_RESPONSES)
    counted = queries.run(
        [
            *[p.ethernet(p.ipv4(p.tcp(b"", dport=853), proto=p.TCP))] * 2,
            *[p.ethernet(p.ipv4(p.udp(bytes(12), sport=853, dport=40000)))] * 3,
            p.ethernet(p.ipv4(p.udp(bytes(12), sport=443, dport=853))),
        ]
    )
    assert {name: n for name, n in counted.outcomes.items() if n} == {"dot": 2, "doq": 1}
    left = behind.run([])
    assert {name: n for name, n in left.outcomes.items() if n} == {"doq": 3}


def test_alone_it_counts_all() -> None:
    """Where the second program has gone, the first says what it can: no packet goes uncounted."""
    require_root()
    with load(replace(settings(EXACT), hands_over=True)) as queries:
        counted = Runner(queries, EXACT).run([vector.frame for vector in RESPONSES])
        assert counted.packets == len(RESPONSES)
        assert counted.outcomes["other_port"] > 0
