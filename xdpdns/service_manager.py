"""What systemd is told of the agent's life: sd_notify(3), one datagram a message.

Without NOTIFY_SOCKET there is nobody to tell, and every method does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Self

log = logging.getLogger(__name__)

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_PATIENCE = 1.0


class ServiceManager:
    """The manager that started this process, or nobody.

    Args:
        address: of a datagram socket: a path, or `@` and a name in the abstract namespace.
        watchdog_usec: microseconds without a word after which the manager ends us; 0: it doesn't.

    `alive_every` is how often `alive()` is to be called, in seconds: half of what the manager
    waits for; None where it doesn't wait.
    """

    def __init__(self, address: str = "", watchdog_usec: int = 0) -> None:
        self._socket: socket.socket | None = None
        self.alive_every: float | None = None
        if not address:
            return
        if address[0] not in "/@":
            log.warning("NOTIFY_SOCKET=%s is no path of a socket: nobody is notified.", address)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_PATIENCE)
        self._address = "\0" + address[1:] if address[0] == "@" else address
        if watchdog_usec > 0:
            self.alive_every = watchdog_usec / 2e6

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self._socket is not None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """Take the manager's address out of the environment: it is not for our children."""
        found = {name: environment.pop(name, "") for name in _VARIABLES}
        ours = found["WATCHDOG_PID"] in ("", str(os.getpid()))
        usec = found["WATCHDOG_USEC"]
        return cls(found["NOTIFY_SOCKET"], int(usec) if ours and usec.isdecimal() else 0)

    def ready(self, status: str) -> None:
        """The start, or a reload, is over."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """All is well; to be said every `alive_every` seconds."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """A reload begins (Type=notify-reload compares the time with that of its signal)."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1", "STATUS=Stopping.")

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *assignments: str) -> None:
        if self._socket is None:
            return
        lines = "\n".join(line.replace("\n", " ") for line in assignments)
        try:
            self._socket.sendto(lines.encode(), self._address)
        except OSError as error:
            # a manager that is restarting: counting must not end for that, and there is a next time
            log.warning("%s was not said to the service manager: %s.", assignments[0], error)
