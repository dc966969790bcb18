"""Doing something every so many seconds, until a signal."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

ENDS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def ticks(every: float | None, count: int | None = None) -> Iterator[None]:
    """Tick at once and then every so many seconds, `count` times, or once if there is no interval.

    SIGINT, SIGTERM and SIGHUP are held back while it runs, so that nothing is cut short, and end it
    between two ticks. Ticks that were missed are left out. Only for the main thread.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        start, done = time.monotonic(), 0
        while True:
            yield
            done += 1
            if every is None or done == count:
                return
            now = time.monotonic()
            if signal.sigtimedwait(ENDS, every - (now - start) % every):
                return
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
