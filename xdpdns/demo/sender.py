"""Sends packets at a steady, bounded rate, and knows how many it has sent."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Mapping, Sequence

from xdpdns.demo.cable import SERVER
from xdpdns.demo.mix import Packet

_PAUSE = 0.002
"""Seconds between looks at the clock."""
_CATCH_UP = 0.05
"""Seconds of traffic that are sent at once after a stall; a longer one is forgotten."""


class Sender:
    """A thread that sends `packets` over and over to the server, until stop().

    `sockets` are the client's by family, so the thread itself may be in any namespace.
    """

    def __init__(
        self, sockets: Mapping[str, socket.socket], packets: Sequence[Packet], rate: float
    ) -> None:
        self.sent = 0
        self.error: OSError | None = None
        self._sockets = sockets
        self._packets = packets
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; `sent` is final after this. Harmless before start() and a second time."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._send_all()
        except OSError as error:
            self.error = error

    def _send_all(self) -> None:
        packets = itertools.cycle(self._packets)
        hosts = {"ipv4": SERVER.ipv4, "ipv6": SERVER.ipv6}
        last = time.monotonic()
        due = 0.0
        while not self._stop.wait(_PAUSE):
            now = time.monotonic()
            due = min(due + (now - last) * self._rate, max(1.0, _CATCH_UP * self._rate))
            last = now
            while due >= 1.0:
                packet = next(packets)
                self._sockets[packet.af].sendto(packet.payload, (hosts[packet.af], packet.port))
                self.sent += 1
                due -= 1.0
