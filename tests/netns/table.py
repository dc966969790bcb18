"""The table of panels: every query of the dashboards, the value expected, and the value got.

    python -m tests.netns.table FILE.md

runs test_dashboards.py and test_answers.py, and writes what they have compared; needs root. The
committed one is grafana/panels.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.netns.panels import Between, Values
from tests.netns.site import ROOT, Key

HEAD = """\
# The dashboards' panels, proven

Each query of each panel, run by a real Prometheus that scraped real agents with known traffic: the
value that was worked out from the packets that were sent, and the value that the query returned.
Equal is to within a millionth, or within the range where one stands. A series is its labels' values
and its value; the four largest are shown, all are compared. The matchers of the variables (`job`,
`instance`, `interface`) are left out of the queries here; rates are over 60 s.

`python -m tests.netns.table grafana/panels.md`, as root, writes this file anew; `tests/run` makes
the same comparisons.
"""
VARIABLES = re.compile(r'(?:job|instance|interface)=~"\$\w+",?')


@dataclass(frozen=True)
class Row:
    """A query of a panel, with what was compared."""

    board: str
    panel: str
    query: str
    expected: str
    got: str

    def cells(self, *columns: str) -> str:
        """A line of a table in Markdown."""
        return (
            f"| {' | '.join(getattr(self, name).replace('|', chr(92) + '|') for name in columns)} |"
        )


ROWS: list[Row] = []


def compared(
    board: str, panel: str, query: str, expected: Values | Between, got: Mapping[Key, float]
) -> None:
    """Note a comparison; the test itself makes it."""
    plain = VARIABLES.sub("", query).replace("{}", "").replace(",}", "}")
    ROWS.append(Row(board, panel.strip(), f"`{plain}`", brief(expected), brief(got)))


def brief(values: Values | Between | Mapping[Key, float]) -> str:
    """A few values for the table, the largest first."""
    if isinstance(values, Between):
        return f"{values.low:g} to {values.high:g}"
    ordered = sorted(values.items(), key=lambda item: (-abs(item[1]), item[0]))
    texts = [f"{' '.join(key)} {value:.6g}".strip() for key, value in ordered if value]
    return ", ".join(texts[:4]) + (f" and {len(texts) - 4} more" if texts[4:] else "") or "0"


def short(rows: Sequence[Row]) -> str:
    """The table for a terminal, without the queries."""
    head = "| dashboard | panel/query | expected | got |"
    lines = (row.cells("board", "panel", "expected", "got") for row in rows)
    return "\n".join(["", head, "|---|---|---|---|", *lines])


def whole(rows: Sequence[Row]) -> str:
    """The file."""
    columns = ("panel", "query", "expected", "got")
    lines = [HEAD]
    for board in dict.fromkeys(row.board for row in rows):
        lines += [f"## {board}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [one.cells(*columns) for one in rows if one.board == board]
        lines.append("")
    return "\n".join(lines)


def main(path: Path) -> int:
    """Run the tests; only if all pass is anything written."""
    tests = [
        str(ROOT / "tests" / "netns" / name) for name in ("test_dashboards.py", "test_answers.py")
    ]
    code = pytest.main(["-q", "-p", "no:cacheprovider", *tests])
    if code == pytest.ExitCode.OK:
        from tests.netns import table  # the one that the tests have filled: this one is __main__

        path.write_text(whole(table.ROWS))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
