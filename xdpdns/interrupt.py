"""Ctrl-C while there is nothing to put away yet."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Have SIGINT end the process without a word, as SIGTERM does: for imports.

    Python's KeyboardInterrupt would end in a traceback there, or be swallowed by a callback of the
    import system, and the process would go on. Where SIGINT is ignored (nohup), it stays so.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
