"""The HTTP server: listeners, how many clients there may be, and who has to go first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from operator import itemgetter
from types import TracebackType
from typing import Self

import h11

from xdpdns import listen
from xdpdns.basic_auth import BasicAuth, Verdict
from xdpdns.families import InterfaceState
from xdpdns.pages import HEADERS, Pages, Response, plain
from xdpdns.scrape import Collect, Scraper, SharedScraper
from xdpdns.session import Limits, Session
from xdpdns.stream import Stream, TlsStream
from xdpdns.web_config import WebConfig, WebConfigFile

log = logging.getLogger(__name__)

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)

_OPEN = WebConfig()


class Server:
    """Serves until the `async with` block ends.

    Args:
        listeners: sockets that listen and don't block (listen.bind()); the server closes them.
        collect: reads every interface's counters; called in a worker thread or, while that is quick
            (scrape.QUICK), on the event loop; never twice at once.
        interfaces: the interfaces' states without their snapshots, at once; on the event loop.
        web_config: TLS, basic auth and headers; None: plain HTTP for everybody.
        on_first_scrape: called once, when the first answer with metrics has been sent.
        limits: how much and how long clients may use.
        starting: there are no counters yet; `started` is set when there are.

    :attr:`addresses` has what is bound, with the port that the kernel chose where 0 was asked for.

    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        collect: Collect,
        interfaces: Callable[[], Sequence[InterfaceState]],
        *,
        web_config: WebConfigFile | None = None,
        on_first_scrape: Callable[[], None] | None = None,
        limits: Limits | None = None,
        starting: bool = False,
    ) -> None:
        self.started = asyncio.Event()
        if not starting:
            self.started.set()
        self._web = web_config
        self._limits = limits or Limits()
        self._auth = BasicAuth()
        self._scraper = SharedScraper(Scraper(collect))
        self._pages = Pages(self._scraper, interfaces, self.started, on_first_scrape)
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._listeners = listeners
        self.addresses = [listen.name_of(one) for one in listeners]

    async def __aenter__(self) -> Self:
        for one in self._listeners:
            self._listen(one)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more, let the responses that are under way end (2 s), and close everything."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        await _cancelled([t for s, t in self._sessions.items() if s.idle_since is not None])
        if self._sessions:
            await asyncio.wait(self._sessions.values(), timeout=2.0)
        await _cancelled(list(self._sessions.values()))
        self._scraper.close()
        self._auth.close()

    def _listen(self, listener: socket.socket) -> None:
        if listener.fileno() != -1:  # not closed since
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Take one connection; the loop calls again if more wait."""
        try:
            client, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # whoever it was has gone
        except OSError as error:  # no descriptors or no memory: make room, and wait
            log.warning("A connection can't be taken (%s): the longest idle is closed.", error)
            self._make_room()
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(1.0, self._listen, listener)
            return
        if len(self._sessions) >= self._limits.connections and not self._make_room():
            with client, contextlib.suppress(OSError):
                client.setblocking(False)
                client.send(_FULL)
            return
        session = Session(self._limits, self._respond)
        task = asyncio.create_task(self._serve(session, client))
        self._sessions[session] = task
        # not in the task's own `finally`: a task that is cancelled early never gets there
        task.add_done_callback(partial(self._ended, session, client))

    def _ended(self, session: Session, client: socket.socket, _: asyncio.Task[None]) -> None:
        self._sessions.pop(session, None)
        client.close()

    def _make_room(self) -> bool:
        """Close who has waited longest, else who takes longest to read; False if nobody does."""
        idle = [(s.idle_since, s) for s in self._sessions if s.idle_since is not None]
        early = asyncio.get_running_loop().time() - self._limits.slow
        slow = [(s.body_since, s) for s in self._sessions if s.body and s.body_since < early]
        for found in (idle, slow):
            if found:
                self._sessions.pop(min(found, key=itemgetter(0))[1]).cancel()
                return True
        return False

    async def _serve(self, session: Session, client: socket.socket) -> None:
        config = self._web.current() if self._web else _OPEN
        try:
            if config.tls is None:
                stream = Stream(client)
            else:
                stream = tls = TlsStream(client, config.tls)
                async with asyncio.timeout(self._limits.handshake):
                    await tls.handshake()
                if not config.admits(tls.tls.getpeercert()):
                    log.warning("A client's certificate has none of client_allowed_sans: refused.")
                    return
            await session.run(stream)
        except ssl.SSLError as error:
            log.debug("TLS failed with a client: %s", error)
            if error.reason == "HTTP_REQUEST":
                with contextlib.suppress(OSError):
                    client.send(b"HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks HTTPS only.\n")
        except OSError as error:  # TimeoutError is one
            log.debug("A client is gone: %s", error or type(error).__name__)
        except Exception:
            log.exception("A connection was dropped: this is a bug in xdpdns.")

    async def _respond(self, session: Session, request: h11.Request) -> Response:
        config = self._web.current() if self._web else _OPEN
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in request.headers}
        path = request.target.decode("latin-1").partition("?")[0]
        response = await self._refusal(config, path, headers.get("authorization", ""))
        if response is None:
            session.idle_since = None
            response = await self._pages.respond(request.method.decode("latin-1"), path, headers)
            self._bound_bodies(response.body)
        merged = {**HEADERS, **config.headers, **response.headers}
        merged = {name: value for name, value in merged.items() if value}
        again = partial(self._again, response.again) if response.again and not self._web else None
        return Response(response.status, response.body, merged, response.sent, again)

    def _again(self, make: Callable[[], bytes | None]) -> bytes | None:
        body = make()
        if body is not None:
            self._bound_bodies(body)
        return body

    async def _refusal(self, config: WebConfig, path: str, authorization: str) -> Response | None:
        if not config.users or path in config.auth_excluded_paths:
            return None
        verdict = await self._auth.check(config.users, authorization)
        if verdict is Verdict.ALLOWED:
            return None
        if verdict is Verdict.BUSY:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, Retry_After="1")
        challenge = 'Basic realm="xdpdns", charset="UTF-8"'
        return plain(HTTPStatus.UNAUTHORIZED, WWW_Authenticate=challenge)

    def _bound_bodies(self, new: bytes) -> None:
        """Cut off the slowest readers if all bodies together are too much memory."""
        readers: dict[int, list[Session]] = {id(new): []}
        for session in sorted(self._sessions, key=lambda s: s.body_since):
            if session.body:
                readers.setdefault(id(session.body), []).append(session)
        total = len(new) + sum(len(of[0].body) for key, of in readers.items() if key != id(new))
        for key, slow in readers.items():
            if total <= self._limits.pending_bytes or key == id(new):
                continue
            total -= len(slow[0].body)
            for session in slow:
                self._sessions.pop(session).cancel()


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
