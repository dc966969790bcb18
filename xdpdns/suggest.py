"""Words for what people can type: what they meant, and how to call us."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


def did_you_mean(name: str, among: Iterable[str]) -> str:
    """`did you mean eth0?`, or empty where nothing is near.

    Letters that are only in another order make a name nearer than difflib says.
    """
    names = sorted(set(among))
    turned = [one for one in names if sorted(one) == sorted(name)]
    near = turned or get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def this_command() -> str:
    """How to call us with certainty: root's PATH may not have what ours has."""
    command = Path(sys.argv[0])
    return str(command.absolute()) if command.name == "xdpdns" else f"{sys.executable} -m xdpdns"
