"""How soon to try again what didn't last."""

from __future__ import annotations

import time

LASTS = 10.0
"""Seconds after which a program that is still there is taken to stay."""

LONGEST_WAIT = 30.0
"""Seconds between attempts on an interface that takes no program, or doesn't keep it."""


class Backoff:
    """When to try again: at once the first time, then ever later while it doesn't last."""

    def __init__(self) -> None:
        self._tried = self._at = float("-inf")
        self._wait = 1.0

    def ready(self) -> bool:
        """Whether to try now; counts as a try if so."""
        now = time.monotonic()
        if now < self._at:
            return False
        if now - self._tried > LASTS + self._wait:
            self._wait = 1.0
        self._tried, self._at = now, now + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        return True

    def reset(self) -> None:
        """Something has changed: the next try is at once."""
        self.__init__()  # type: ignore[misc]
