"""--tlds: which top-level domains have rows of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import packets as p
from tests.bpf.conftest import require_root
from tests.truth.loading import load
from xdpdns.kernel import XDP_PASS, TestRun
from xdpdns.settings import ProgramSettings

LABELS = [
    *(b"com", b"COM", b"nl", b"vlaanderen", b"internal", b"xn--vermgensberatung-pwb"),
    *(b"not-listed", b"co", b"comm", b"moc", b"c", b"m", b"x" * 24, b"x" * 25, b"n" * 63),
    # a key is filled up with zeros: these would be `com` if its length were not asked
    *(b"\0com", b"\0\0com", b"com\0", b"\0"),
]
OTHER = "~other"


def counted(tlds: str) -> dict[str, int]:
    """The rows of a query to each of LABELS, and to the root."""
    require_root()
    chosen = ProgramSettings(labels=("tld",), tlds=tlds)
    with load(chosen) as program:
        run = TestRun(program.fd).run
        for label in LABELS:
            assert run(p.frame4(p.dns_query(p.labels(b"www", label)))) == XDP_PASS
        assert run(p.frame4(p.dns_query("."))) == XDP_PASS
        seen = program.snapshot()
    assert not any(seen.overflow.values())
    assert sum(seen.queries.values()) == len(LABELS) + 1
    return {tld: count for (tld,), count in seen.queries.items()}


def with_other(rows: dict[str, int]) -> dict[str, int]:
    """These rows, and one for all the rest."""
    return rows | {OTHER: len(LABELS) + 1 - sum(rows.values())}


IANA = {
    "com": 2,
    "co": 1,
    "nl": 1,
    "vlaanderen": 1,
    "internal": 1,
    "xn--vermgensberatung-pwb": 1,
    ".": 1,
}


def test_iana() -> None:
    assert counted("iana") == with_other(IANA)


def test_none() -> None:
    assert counted("none") == with_other({})


def test_all() -> None:
    plain = {label.decode().lower(): 1 for label in LABELS if b"\0" not in label}
    hidden = {r"\000com": 1, r"\000\000com": 1, r"com\000": 1, r"\000": 1}
    assert counted("all") == plain | hidden | {"com": 2, ".": 1}


@pytest.mark.parametrize(
    ("tlds", "rows"),
    [
        ("com", {"com": 2}),
        ("NL,.", {"nl": 1, ".": 1}),
        (".", {".": 1}),
        ("com, nl ,not-listed", {"com": 2, "nl": 1, "not-listed": 1}),
        ("c,m", {"c": 1, "m": 1}),
        ("x" * 24, {"x" * 24: 1}),
        ("vermögensberatung", {"xn--vermgensberatung-pwb": 1}),
    ],
)
def test_list(tlds: str, rows: dict[str, int]) -> None:
    assert counted(tlds) == with_other(rows)


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "tlds"
    path.write_text("# ours\ncom\n\n nl  # and theirs\nVlaanderen.\n.\n")
    rows = {"com": 2, "nl": 1, "vlaanderen": 1, ".": 1}
    assert counted(f"@{path}") == with_other(rows)
