"""What is served under which path."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from xdpdns import __version__
from xdpdns.exposition import (
    CONTENT_TYPE_OPENMETRICS,
    CONTENT_TYPE_TEXT,
    wants_gzip,
    wants_openmetrics,
)
from xdpdns.families import InterfaceState
from xdpdns.scrape import SharedScraper, Variant

PATIENCE = 8.0
"""Seconds that a scrape waits for the start; Prometheus gives up after 10 by default."""

_STARTING = "starting: the program is being compiled and attached."

TEXT = "text/plain; charset=utf-8"

_STYLE = """\
body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;
color:#222;background:#fff}
h1{font-size:1.5rem;margin-bottom:0}h1 small{font-weight:normal;color:#666}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #ddd}
.up{color:#17692b}.down{color:#b3261e;font-weight:bold}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}a{color:#8ab4f8}
th,td{border-color:#444}h1 small{color:#aaa}.up{color:#7fd18f}.down{color:#ff8a80}}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "deny",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Sent with every response, unless --web.config.file says otherwise."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response; `sent` is called when its last byte is with the kernel.

    `again` makes the body that the same request would get now, at once; None if it can't do so
    without waiting.
    """

    status: HTTPStatus
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": TEXT})
    sent: Callable[[], None] | None = None
    again: Callable[[], bytes | None] | None = None


def plain(status: HTTPStatus, text: str = "", **headers: str) -> Response:
    """Make a response of one line of text; underscores in header names become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, f"{text or status.phrase}\n".encode(), {"Content-Type": TEXT} | named)


class Pages:
    """All paths. `interfaces` gives the states (without snapshots) at once, on the event loop.

    Until `started` there are no counters: a scrape waits for them, within its scraper's patience.
    """

    def __init__(
        self,
        scraper: SharedScraper,
        interfaces: Callable[[], Sequence[InterfaceState]],
        started: asyncio.Event,
        on_first_scrape: Callable[[], None] | None = None,
    ) -> None:
        self._scraper = scraper
        self._interfaces = interfaces
        self._started = started
        self._on_first_scrape = on_first_scrape
        self._paths: dict[str, Callable[[Mapping[str, str]], Awaitable[Response]]] = {
            "/": self._landing,
            "/metrics": self._metrics,
            "/healthz": self._healthy,
            "/-/healthy": self._healthy,
            "/-/ready": self._ready,
        }

    async def respond(self, method: str, path: str, headers: Mapping[str, str]) -> Response:
        """Answer a request; `headers` have lower-case names, `path` is without the query."""
        page = self._paths.get(path)
        if page is None:
            return plain(HTTPStatus.NOT_FOUND, f"Not found; there is {', '.join(self._paths)}.")
        if method not in ("GET", "HEAD"):
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
        return await page(headers)

    async def _metrics(self, headers: Mapping[str, str]) -> Response:
        variant = Variant(
            openmetrics=wants_openmetrics(headers.get("accept", "")),
            gzip=wants_gzip(headers.get("accept-encoding", "")),
        )
        try:
            async with asyncio.timeout(PATIENCE):
                await self._started.wait()
        except TimeoutError:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, _STARTING, Retry_After="5")
        body = await self._scraper.get(variant)
        content = {
            "Content-Type": CONTENT_TYPE_OPENMETRICS if variant.openmetrics else CONTENT_TYPE_TEXT,
            "Vary": "Accept, Accept-Encoding",
        }
        if variant.gzip:
            content["Content-Encoding"] = "gzip"
        again = partial(self._scraper.get_now, variant)
        return Response(HTTPStatus.OK, body, content, self._scraped, again)

    def _scraped(self) -> None:
        hook, self._on_first_scrape = self._on_first_scrape, None
        if hook is not None:
            hook()

    async def _healthy(self, _: Mapping[str, str]) -> Response:
        return plain(HTTPStatus.OK, "xdpdns lives.")

    async def _ready(self, _: Mapping[str, str]) -> Response:
        if not self._started.is_set():
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, _STARTING)
        states = self._interfaces()
        down = [
            f"{s.interface}: {s.detail or s.reason or 'not counted'}" for s in states if not s.up
        ]
        if down or not states:
            text = "\n".join(dict.fromkeys(down)) or "No interface is counted."
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, text)
        return plain(HTTPStatus.OK, "Every interface is counted.")

    async def _landing(self, _: Mapping[str, str]) -> Response:
        # what hands over to another program is shown once for both
        rows = "".join(dict.fromkeys(map(_row, self._interfaces())))
        rows = rows or '<tr><td colspan="4">none</td></tr>'
        page = (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>xdpdns</title><style>{_STYLE}</style></head><body>\n"
            f"<h1>xdpdns <small>{html.escape(__version__)}</small></h1>\n"
            "<p>DNS queries and responses as they pass this machine, counted in the kernel.</p>\n"
            '<ul><li><a href="/metrics">Metrics</a></li>'
            '<li><a href="/-/ready">Ready?</a></li>'
            '<li><a href="/healthz">Alive?</a></li></ul>\n'
            "<table><thead><tr><th>Interface</th><th>State</th><th>Mode</th><th>Program</th></tr>"
            f"</thead><tbody>{rows}</tbody></table>\n</body></html>\n"
        )
        body = page.encode("utf-8", "backslashreplace")
        return Response(HTTPStatus.OK, body, {"Content-Type": "text/html; charset=utf-8"})


def _row(state: InterfaceState) -> str:
    word = "counting" if state.up else state.detail or state.reason or "not counted"
    mode = f"{state.mode} ({state.direction})" if state.mode else "-"
    cells = (state.interface, word, mode, str(state.program_id or "-"))
    name, shown, mode, program = map(html.escape, cells)
    style = "up" if state.up else "down"
    return (
        f'<tr><td>{name}</td><td class="{style}">{shown}</td><td>{mode}</td><td>{program}</td></tr>'
    )
