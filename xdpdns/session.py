"""One client's conversation in HTTP/1.1 (RFC 9112), with h11 and with patience that ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import h11

from xdpdns.pages import Response, plain
from xdpdns.stream import Stream

log = logging.getLogger(__name__)

Respond = Callable[["Session", h11.Request], Awaitable[Response]]
"""Answers a request; sets the session's `idle_since` to None once its client is let in."""

_JOINED = 65536
"""A body up to this size goes out in one write with its header."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, and how long, one client or all of them may use.

    Attributes:
        connections: all open connections; above, the longest idle one gives way, else the slowest.
        header_bytes: a request's line and header fields (431 above).
        handshake: seconds for TLS.
        header: seconds from the first byte of a request (or the connection) to the header's end.
        keep_alive: seconds between requests. Prometheus scrapes every minute unless it is told
            otherwise; waiting longer spares it the race of a request against our closing.
        respond: seconds to make a response (503 after).
        write: seconds for the client to take the response whole.
        slow: the same, where another client has no place.
        linger: seconds that a refused client may still send into the void.
        pending_bytes: all bodies that are being sent; above, the oldest body's readers are cut off.

    """

    connections: int = 512
    header_bytes: int = 16 * 1024
    handshake: float = 10.0
    header: float = 10.0
    keep_alive: float = 75.0
    respond: float = 30.0
    write: float = 30.0
    slow: float = 5.0
    linger: float = 1.0
    pending_bytes: int = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Repeat:
    """A request as it came, the head of its response without length and date, the next body."""

    request: bytes
    head: bytes
    body: Callable[[], bytes | None]


class Session:
    """The state of one connection.

    `idle_since` is the loop's time since which it waits for a client (or for a refused one to let
    go), None while a request is served; `body` is what is being sent, `body_since` since when.
    """

    def __init__(self, limits: Limits, respond: Respond) -> None:
        self._limits = limits
        self._respond = respond
        self._clock = asyncio.get_running_loop().time
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self.idle_since: float | None = self._clock()
        self.body = b""
        self.body_since = 0.0
        self._raw = b""
        self._repeat: _Repeat | None = None

    async def run(self, stream: Stream) -> None:
        """Serve requests until either side has enough; raises OSError when the client is gone."""
        fresh = True
        while await self._exchange(stream, fresh):
            fresh = False
            self._http.start_next_cycle()
            self.idle_since = self._clock()
        self.idle_since = self._clock()
        try:
            async with asyncio.timeout(self._limits.linger):
                await stream.finish()
        except TimeoutError:
            log.debug("a client went on sending after its last response")

    async def _exchange(self, stream: Stream, fresh: bool) -> bool:
        """Serve one request; whether another may follow on this connection."""
        try:
            request = await self._request(stream, fresh)
        except TimeoutError:
            if not self._http.trailing_data[0]:
                return False  # it never said a word
            text = f"The header did not end within {self._limits.header:g} s."
            await self._send(stream, plain(HTTPStatus.REQUEST_TIMEOUT, text), close=True)
            return False
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                refusal = plain(HTTPStatus(error.error_status_hint), str(error))
                await self._send(stream, refusal, close=True)
            return False
        if request is None:
            return False
        self._repeat = None
        with_body = self._http.next_event() is h11.NEED_DATA or self._http.their_state not in (
            h11.DONE,
            h11.MUST_CLOSE,
        )
        if with_body and request.method in (b"GET", b"HEAD"):
            response = plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "No body is taken here.")
        else:
            response = await self._made(request)
        try:
            self.body, self.body_since = response.body, self._clock()
            await self._send(stream, response, request.method == b"HEAD", close=with_body)
        finally:
            self.body = b""
        if response.sent is not None:
            response.sent()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        alone = self._raw and not self._http.trailing_data[0]
        if response.again is not None and request.method == b"GET" and alone:
            self._repeat = _Repeat(self._raw, _head(response), response.again)
        return True

    async def _request(self, stream: Stream, fresh: bool) -> h11.Request | None:
        """Wait for a request; None when the client has gone, or stayed silent for long."""
        self._raw = b""
        pipelined = bool(self._http.trailing_data[0])
        if not fresh and not pipelined:
            if (data := await self._wait(stream)) is None:
                return None
            self._take(data)
        async with asyncio.timeout(self._limits.header):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._take(await stream.receive())
        if pipelined:
            self._raw = b""  # not all of it
        return event if isinstance(event, h11.Request) else None

    def _take(self, data: bytes) -> None:
        self._raw += data
        self._http.receive_data(data)

    async def _wait(self, stream: Stream) -> bytes | None:
        """Wait between requests; None when there was none for long.

        A request that repeats the last one byte for byte, as Prometheus's do, is answered
        without parsing it again, and h11 never hears of it.
        """
        since = self._clock()
        while True:
            try:
                async with asyncio.timeout_at(since + self._limits.keep_alive):
                    data, rest = await stream.wait(self._answer)
            except TimeoutError:
                if self.idle_since is None or self.idle_since <= since:
                    return None
                since = self.idle_since
                continue
            if not rest:
                return data
            self.idle_since, self.body, self.body_since = None, bytes(rest), self._clock()
            try:
                async with asyncio.timeout(self._limits.write):
                    await stream.send(self.body)
            finally:
                self.body = b""
            self.idle_since = since = self._clock()

    def _answer(self, data: bytes) -> bytes | None:
        """The response to a repeated request; None for any other."""
        if self._repeat is None or data != self._repeat.request:
            return None
        try:
            body = self._repeat.body()
        except Exception:
            log.exception("A request could not be answered: this is a bug in xdpdns.")
            return None
        if body is None:
            return None
        self.idle_since = self._clock()
        rest = f"Content-Length: {len(body)}\r\nDate: {_date(int(time.time()))}\r\n\r\n"
        return b"".join((self._repeat.head, rest.encode(), body))

    async def _made(self, request: h11.Request) -> Response:
        try:
            async with asyncio.timeout(self._limits.respond):
                return await self._respond(self, request)
        except TimeoutError:
            text = f"No answer could be made within {self._limits.respond:g} s."
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, text)
        except Exception:
            log.exception("A request could not be answered: this is a bug in xdpdns.")
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _send(
        self, stream: Stream, response: Response, head_only: bool = False, close: bool = False
    ) -> None:
        headers = [
            *response.headers.items(),
            ("Content-Length", str(len(response.body))),
            ("Date", _date(int(time.time()))),
        ]
        if close:
            headers.append(("Connection", "close"))
        head = h11.Response(
            status_code=response.status, headers=headers, reason=response.status.phrase
        )
        parts = [self._http.send(head) or b""]
        if not head_only and response.body:
            # passed through, not copied: a body can have tens of megabytes
            parts += self._http.send_with_data_passthrough(h11.Data(data=response.body)) or []
        parts.append(self._http.send(h11.EndOfMessage()) or b"")
        async with asyncio.timeout(self._limits.write):
            if len(response.body) <= _JOINED:
                await stream.send(b"".join(parts))
            else:
                for part in parts:
                    await stream.send(part)


def _head(response: Response) -> bytes:
    """The status line and the headers; h11 has seen these before, and found nothing wrong."""
    lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """A Unix time as RFC 9110 (5.6.7) has it."""
    return formatdate(second, usegmt=True)
