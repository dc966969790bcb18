"""A real terminal for a test: tmux, with a server of its own that ends with the test."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.netns.lab import PATIENCE, Namespace, wait_until

# A size in the environment goes before the terminal's own. Who imports readline gets one there that
# only its children see, and so do pytest-xdist's workers: 80 columns and 24 lines.
NOT_OURS = ("TMUX", "NO_COLOR", "COLUMNS", "LINES")


class Terminal:
    """A command in a terminal of `width` times `height`; what it leaves there can be looked at."""

    def __init__(
        self,
        namespace: Namespace,
        argv: Sequence[str],
        width: int = 80,
        height: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="xdpdns-tmux-")
        settings = {"LANG": "C.UTF-8", **(env or {})}
        inner = ["env", *(f"{name}={value}" for name, value in settings.items()), *argv]
        size = ["-x", str(width), "-y", str(height)]
        self._environment = {k: v for k, v in os.environ.items() if k not in NOT_OURS}
        self._tmux(
            *("-f", "/dev/null", "new-session", "-d", "-s", "test", *size),
            shlex.join(namespace.command(inner)),
            *(";", "set-option", "remain-on-exit", "on"),
        )

    def _tmux(self, *arguments: str) -> str:
        argv = ["tmux", "-u", "-S", f"{self._folder.name}/socket", *arguments]
        done = subprocess.run(
            argv, text=True, capture_output=True, timeout=20, env=self._environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tmux("kill-server")
        self._folder.cleanup()

    @property
    def lines(self) -> list[str]:
        """What is on the screen now, a line each without the spaces at its end."""
        return self._tmux("capture-pane", "-p", "-t", "test").splitlines()

    @property
    def raw(self) -> str:
        """The same with the attributes of the characters, as escape sequences."""
        return self._tmux("capture-pane", "-p", "-e", "-t", "test")

    @property
    def pid(self) -> int:
        """The process id of the command."""
        return int(self._tmux("display-message", "-p", "-t", "test", "#{pane_pid}"))

    @property
    def exit_code(self) -> int | None:
        """The command's exit code; None while it runs."""
        form = "#{pane_dead}:#{pane_dead_status}:#{pane_pid}"
        dead, status, pid = self._tmux("display-message", "-p", "-t", "test", form).split(":")
        if dead != "1":
            return None
        if status:
            return int(status)
        try:
            # tmux 3.3 sometimes forgets to wait for it: the last field of proc_pid_stat(5)
            fields = Path(f"/proc/{pid.strip()}/stat").read_text().split()
        except FileNotFoundError:
            return None  # just now it did
        return os.waitstatus_to_exitcode(int(fields[-1]))

    def type(self, *keys: str) -> None:
        """Keys by tmux's names (`Enter`, `Tab`, `BTab`), or text."""
        self._tmux("send-keys", "-t", "test", *keys)

    def resize(self, width: int, height: int) -> None:
        """Another size, as when a window is drawn larger."""
        self._tmux("resize-window", "-t", "test", "-x", str(width), "-y", str(height))

    def record(self, path: str) -> None:
        """Have every byte that the command writes from now on in a file."""
        self._tmux("pipe-pane", "-t", "test", f"cat >{shlex.quote(path)}")

    def wait_for(self, text: str, timeout: float = PATIENCE) -> list[str]:
        """The screen once a line of it has this text; TimeoutError has the screen."""

        def look() -> list[str]:
            found = self.lines
            return found if any(text in line for line in found) else []

        try:
            return wait_until(text, look, timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n" + "\n".join(self.lines)) from None
