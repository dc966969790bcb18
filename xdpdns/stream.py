"""One TCP connection, plain or with TLS, that buffers nothing of its own.

asyncio's streams hold what a slow client doesn't take, and its TLS keeps 256 KiB for each
connection. Here a sender waits for the socket instead, so that an idle connection costs little and
a thousand of them are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar

_CHUNK = 16384
"""Bytes read at a time, and the size of a TLS record (RFC 8446, 5.1)."""

T = TypeVar("T")

Answer = Callable[[bytes], bytes | None]
"""Makes an answer without waiting for anything; None if it can't. Raises nothing."""


class Stream:
    """A plain connection over a socket that doesn't block."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self) -> bytes:
        """Wait for bytes (16 KiB at most); none means that the other side has finished."""
        return await self._loop.sock_recv(self._sock, _CHUNK)

    async def wait(self, answer: Answer) -> tuple[bytes, memoryview]:
        """Wait for bytes that `answer` has no answer to, and send the answers that it has.

        That happens in the event loop's callback: to wake a task, and to arm its time-outs anew,
        takes four times as long. Returns the bytes as receive() does, or the rest of an answer
        that the socket did not take whole.
        """
        done: asyncio.Future[tuple[bytes, memoryview]] = self._loop.create_future()

        def ready() -> None:
            if done.done():
                return
            try:
                data = self._receive_now()
                if data is None:
                    return
                if (text := answer(data)) is None:
                    done.set_result((data, memoryview(b"")))
                elif rest := memoryview(text)[self._send_now(text) :]:
                    done.set_result((b"", rest))
            except OSError as error:  # the other side has gone
                done.set_exception(error)

        self._loop.add_reader(self._sock, ready)
        try:
            return await done
        finally:
            self._loop.remove_reader(self._sock)

    async def send(self, data: bytes | memoryview) -> None:
        """Send all, at the speed of the receiver."""
        await self._loop.sock_sendall(self._sock, data)

    def _receive_now(self) -> bytes | None:
        try:
            return self._sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return None

    def _send_now(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    async def finish(self) -> None:
        """Say that nothing more comes, and read away what the other side still sends.

        Without that the kernel answers the unread bytes by a reset, which can overtake the
        response. The caller bounds the time.
        """
        with contextlib.suppress(OSError):  # the other side may be gone already
            self._sock.shutdown(socket.SHUT_WR)
            while await self._loop.sock_recv(self._sock, _CHUNK):
                continue


class TlsStream(Stream):
    """A connection with TLS, the server's side; :meth:`handshake` first."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)

    async def handshake(self) -> None:
        """Agree on keys; raises ssl.SSLError or OSError if the client won't or can't."""
        await self._run(self.tls.do_handshake)

    async def receive(self) -> bytes:
        """Wait for bytes; none means that the other side has finished, properly or not."""
        try:
            return await self._run(partial(self.tls.read, _CHUNK))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def wait(self, answer: Answer) -> tuple[bytes, memoryview]:
        """Wait for bytes; with TLS nothing is answered on the way."""
        return await self.receive(), memoryview(b"")

    async def send(self, data: bytes | memoryview) -> None:
        """Encrypt and send all, at the speed of the receiver."""
        rest = memoryview(data)
        while rest:
            rest = rest[await self._run(partial(self.tls.write, rest[: 4 * _CHUNK])) :]

    async def finish(self) -> None:
        """Close TLS (RFC 8446, 6.1), then the connection as ever."""
        # unwrap() queues our close_notify, then wants the client's, which nobody waits for
        with contextlib.suppress(ssl.SSLError, OSError):
            self.tls.unwrap()
        with contextlib.suppress(OSError):
            await self._flush()
        await super().finish()

    async def _run(self, operation: Callable[[], T]) -> T:
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                await self._flush()
                if data := await super().receive():
                    self._in.write(data)
                else:
                    self._in.write_eof()
            except ssl.SSLError:
                await self._flush()  # the alert that tells the client why
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if self._out.pending:
            await super().send(self._out.read())
