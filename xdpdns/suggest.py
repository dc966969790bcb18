"""What was meant by a name that was mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, among: Iterable[str]) -> str:
    """`did you mean eth0?`, or empty where nothing is near.

    Letters that are only in another order make a name nearer than difflib says.
    """
    names = sorted(set(among))
    turned = [one for one in names if sorted(one) == sorted(name)]
    near = turned or get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""
