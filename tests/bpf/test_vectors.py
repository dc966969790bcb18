"""Each vector through the compiled program: outcome, row, and all that is counted beside it."""

from __future__ import annotations

import pytest

from tests.bpf.vectors import VECTORS, Vector
from tests.bpf.vectors_framing import FRAMING
from tests.truth.compare import differences
from tests.truth.reference import Row
from tests.truth.runner import Runner
from tests.truth.table import tabulate
from xdpdns.errors import KernelError

ETH_HEADER = 14

ALL = pytest.mark.parametrize("vector", VECTORS + FRAMING, ids=lambda vector: vector.description)


@ALL
def test_exact(vector: Vector, exact: Runner) -> None:
    counted = exact.run([vector.frame])
    assert {name: n for name, n in counted.outcomes.items() if n} == {vector.outcome: 1}
    assert counted.queries == ({tuple(vector.row): 1} if vector.row else {})
    assert differences(tabulate([vector.frame], exact.config), counted) == []


@ALL
def test_bounded(vector: Vector, default: Runner) -> None:
    """As by default: a TLD off the list and a type without a mnemonic are folded."""
    counted = default.run([vector.frame])
    assert {name: n for name, n in counted.outcomes.items() if n} == {vector.outcome: 1}
    assert default.config.tlds is not None
    assert counted.queries == (
        {tuple(fold(vector.row, default.config.tlds)): 1} if vector.row else {}
    )
    assert differences(tabulate([vector.frame], default.config), counted) == []


@ALL
def test_at_tc(vector: Vector, at_tc: Runner) -> None:
    """Behind XDP the same is counted, of frames that hold more than an Ethernet header."""
    if len(vector.frame) == ETH_HEADER:
        with pytest.raises(KernelError):  # the kernel makes no socket buffer of them
            at_tc.run([vector.frame])
        return
    assert at_tc.check([vector.frame]) == []


def fold(row: Row, tlds: frozenset[str]) -> Row:
    """The row with what is not registered folded."""
    tld = row.tld if row.tld in tlds else "~other"
    return row._replace(tld=tld, qtype="~other" if row.qtype.startswith("TYPE") else row.qtype)
