"""A server in a thread of its own, and clients that can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.unit.metrics_fixture import STATE
from xdpdns.families import InterfaceState
from xdpdns.listen import bind, parse_address
from xdpdns.server import Server

WAIT = 10.0
"""Seconds that a client waits: only a hanging server comes near it."""


@dataclass
class Counting:
    """What the server is given: states that a test can change, and how often they were read."""

    states: list[InterfaceState] = field(default_factory=lambda: [STATE])
    readings: int = 0
    running: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    first_scrapes: int = 0

    def collect(self) -> Sequence[InterfaceState]:
        self.readings += 1
        self.running += 1
        assert self.running == 1, "two readings at once"
        assert self.gate.wait(WAIT)
        self.running -= 1
        return self.states

    def first(self) -> None:
        self.first_scrapes += 1


@dataclass
class Running:
    """A server that runs, as its clients see it."""

    address: tuple[str, int]
    counting: Counting
    server: Server
    loop: asyncio.AbstractEventLoop

    def connect(self, tls: ssl.SSLContext | None = None) -> socket.socket:
        sock = socket.create_connection(self.address, timeout=WAIT)
        return tls.wrap_socket(sock, server_hostname="localhost") if tls else sock

    def get(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        method: str = "GET",
        tls: ssl.SSLContext | None = None,
        body: bytes | None = None,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request on one connection."""
        client = http.client.HTTPConnection(*self.address, timeout=WAIT)
        with contextlib.closing(client):
            client.sock = self.connect(tls)
            client.request(method, path, body, headers or {})
            answer = client.getresponse()
            return answer.status, answer.headers, answer.read()

    def raw(self, data: bytes) -> bytes:
        """Send bytes and read all until the server closes."""
        with self.connect() as sock:
            sock.sendall(data)
            return read_all(sock)

    def connections(self) -> int:
        return len(self.server._sessions)


def read_all(sock: socket.socket) -> bytes:
    """Read until the other side closes; a reset counts as that."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            received += part
    return received


@contextlib.contextmanager
def serving(
    address: str = "127.0.0.1:0", counting: Counting | None = None, **options: Any
) -> Iterator[Running]:
    """Run a server until the block ends; it must end cleanly, and within seconds."""
    counting = counting or Counting()
    counting.gate.set()
    up = threading.Event()
    running: list[Running] = []
    failed: list[BaseException] = []
    stop = asyncio.Event()

    async def main() -> None:
        server = Server(
            bind([parse_address(address)]),
            counting.collect,
            lambda: counting.states,
            on_first_scrape=counting.first,
            **options,
        )
        async with server:
            bound = parse_address(server.addresses[0])
            host = {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(bound.host, bound.host)
            loop = asyncio.get_running_loop()
            running.append(Running((host, bound.port), counting, server, loop))
            up.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(main(), debug=False)
        except BaseException as error:
            failed.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert up.wait(WAIT)
    if failed:
        raise failed[0]
    try:
        yield running[0]
    finally:
        running[0].loop.call_soon_threadsafe(stop.set)
        thread.join(WAIT)
    assert not thread.is_alive(), "the server didn't stop"
    assert not failed, failed
