"""The terminal: keys without Enter, the other screen, its size; all as it was afterwards."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
import time
import tty
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.control import Control
from rich.text import Text

from xdpdns.top.controls import keys


class Terminal:
    """A terminal while a picture fills it.

    Its signals: SIGWINCH ends a wait early, SIGTSTP (Ctrl-Z) gives the terminal back until `fg`,
    SIGTERM and SIGHUP leave like Ctrl-C, as a KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self.ascii_only = not self._console.encoding.startswith("utf")
        self._input = sys.stdin.fileno() if sys.stdin.isatty() else -1
        self._before: list[Any] = []
        self._signals: dict[signal.Signals, Any] = {}
        self._stopping = False
        self._wake, self._woken = socket.socketpair()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        size = self._console.size
        return size.width, size.height

    def __enter__(self) -> Self:
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number, handler in (
            (signal.SIGWINCH, lambda *_: None),
            (signal.SIGTSTP, self._stop),
            (signal.SIGTERM, _interrupt),
            (signal.SIGHUP, _interrupt),
        ):
            self._signals[number] = signal.signal(number, handler)
        self._take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # after SIGHUP there is no terminal to give back
            self._give_back()
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._wake.close()
        self._woken.close()

    def show(self, lines: Sequence[Text]) -> None:
        """Paint a frame, from the top."""
        for line in lines:
            line.truncate(self._console.width, pad=True)
            line.no_wrap = True
        lines[-1].end = ""  # a line feed there would scroll
        self._console.print(Control.home(), Group(*lines), end="", sep="", overflow="crop")

    def wait(self, deadline: float) -> list[str]:
        """Keys, as soon as there are any; none at `deadline` (monotonic) or at another size."""
        watched = [self._woken, *([self._input] if self._input >= 0 else [])]
        ready, _, _ = select.select(watched, [], [], max(0.0, deadline - time.monotonic()))
        if self._woken in ready:
            self._woken.recv(4096)
        if self._stopping:
            self._suspend()
        if self._input in ready:
            typed = os.read(self._input, 4096)
            if not typed:
                raise KeyboardInterrupt  # the terminal was closed
            return keys(typed.decode(errors="ignore"))
        return []

    def _take(self) -> None:
        if self._input >= 0:
            self._before = termios.tcgetattr(self._input)
            tty.setcbreak(self._input)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _give_back(self) -> None:
        self._console.show_cursor(True)
        self._console.set_alt_screen(False)
        if self._before:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _suspend(self) -> None:
        self._stopping = False
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
