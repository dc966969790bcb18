"""Metric families to text: Prometheus 0.0.4 and OpenMetrics 1.0, fast for many rows.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/ (no `_created` samples: they would double
the series and say nothing that the agent's start time doesn't).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from xdpdns.catalogue import Metric
from xdpdns.families import Block, Family, Number, OnError
from xdpdns.snapshot import Rows

try:
    from isal import isal_zlib as zlib  # zlib itself takes five times as long
except ImportError:  # a processor that it isn't made for
    import zlib  # type: ignore[no-redef]

CONTENT_TYPE_TEXT = "text/plain; version=0.0.4; charset=utf-8"
CONTENT_TYPE_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
OPENMETRICS_EOF = b"# EOF\n"

_CHUNK = 4096
"""Rows that are written at a time: the text of so many stays in the processor's cache."""

_GZIP = 31
"""zlib's `wbits` for the largest window in gzip's format (RFC 1952), without a time."""

_Row = tuple[str, ...]


def escape(value: str) -> str:
    r"""Escape a label value: `\\`, `\"` and `\n`, and never anything but valid UTF-8.

    A lone surrogate (a byte of an interface name that was not UTF-8, say) is written as its
    code point, like `\\udcff`.
    """
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@dataclass(frozen=True, slots=True)
class _Template:
    """The text of some rows, with a `%a` in the place of each number."""

    rows: Sequence[_Row]
    text: bytes


class Renderer:
    """Writes families as text, and remembers all of it but the numbers.

    From one scrape to the next hardly a row is added and none goes, so most of the text is the
    same. What is kept is as long as the text itself, and what a scrape no longer has is forgotten.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, _Row, _Row], list[_Template]] = {}

    def render(self, families: Iterable[Family], openmetrics: bool, on_error: OnError) -> bytes:
        """Write the families, without OpenMetrics' final `# EOF`.

        A block that can't be written goes to `on_error` as `render` and is left out whole.
        """
        before, self._known = self._known, {}
        chunks: list[bytes] = []
        for family in families:
            chunks.append(_head(family.metric, openmetrics))
            for block in family.blocks:
                name = family.metric.name + block.suffix
                key = (name, block.labels, block.fixed)
                try:
                    templates, texts = _written(name, block, before.get(key, []))
                except Exception as error:  # whatever it is, the rest must be served
                    on_error("render", error)
                else:
                    self._known[key] = templates
                    chunks += texts
        return b"".join(chunks)


def render(families: Iterable[Family], openmetrics: bool, on_error: OnError) -> bytes:
    """Write families once; see Renderer.render()."""
    return Renderer().render(families, openmetrics, on_error)


def compress(text: bytes) -> bytes:
    """Compress at gzip's fast level: a scrape has no time for a few per cent less."""
    return zlib.compress(text, 1, wbits=_GZIP)


@lru_cache(maxsize=256)
def _head(metric: Metric, openmetrics: bool) -> bytes:
    name, kind = metric.name, str(metric.kind)
    if openmetrics:  # the family's name there is the metric's without the suffix of its kind
        name = name.removesuffix({"counter": "_total", "info": "_info"}.get(kind, ""))
    elif kind == "info":
        kind = "gauge"
    text = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        text = text.replace('"', r"\"")
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n".encode()


def _written(
    name: str, block: Block, before: list[_Template]
) -> tuple[list[_Template], list[bytes]]:
    """The templates of a block's rows, of the ones before where they fit, and the text.

    Putting the numbers in is one call of C for a chunk, without a Python object for a row.
    """
    templates, texts = [], []
    for at, (rows, numbers) in enumerate(_chunks(block)):
        template = before[at] if at < len(before) else None
        if template is None or (template.rows is not rows and template.rows != rows):
            template = _template(name, block, rows)
        templates.append(template)
        texts.append(template.text % tuple(numbers))
    return templates, texts


def _chunks(block: Block) -> Iterator[tuple[Sequence[_Row], Sequence[Number]]]:
    """The rows and their numbers, a chunk at a time: a map's chunks, or pieces of about as many."""
    if isinstance(block.rows, Rows):
        yield from block.rows.chunks
        return
    rows, numbers = list(block.rows), list(block.rows.values())
    for at in range(0, len(rows), _CHUNK):
        yield rows[at : at + _CHUNK], numbers[at : at + _CHUNK]


def _template(name: str, block: Block, rows: Sequence[_Row]) -> _Template:
    fixed = zip(block.labels[: len(block.fixed)], map(escape, block.fixed), strict=True)
    write = _writer(name, tuple(fixed), block.labels[len(block.fixed) :])
    text, safe_rows = "".join(chain.from_iterable(rows)), rows
    if not text.isascii() or "\\" in text or '"' in text or "\n" in text:
        safe = {value: escape(value) for value in {v for row in rows for v in row}}
        safe_rows = [tuple([safe[v] for v in row]) for row in rows]
    lines = write(safe_rows).replace("%", "%%").replace("\n", " %a\n")
    return _Template(rows, lines.encode())


@lru_cache(maxsize=256)
def _writer(
    name: str, fixed: tuple[tuple[str, str], ...], labels: tuple[str, ...]
) -> Callable[[Iterable[_Row]], str]:
    """Make the function that writes rows of these labels, without their numbers.

    One f-string with everything constant folded into it takes half as long as `%` or str.format.
    Every piece of text passes through repr(), so none can become code.
    """
    opening, closing = ("{", "}") if fixed or labels else ("", "")
    constant = name + opening + ",".join(f'{key}="{value}"' for key, value in fixed)
    pieces: list[str] = []
    for i, label in enumerate(labels):
        constant += ("," if i or fixed else "") + f'{label}="'
        pieces += [repr(constant), f'f"{{v{i}}}"']
        constant = '"'
    pieces.append(repr(constant + closing + "\n"))
    values = ", ".join(f"v{i}" for i in range(len(labels)))
    source = f"lambda rows: ''.join([{' '.join(pieces)} for [{values}] in rows])"
    write: Callable[[Iterable[_Row]], str] = eval(source, {})  # noqa: S307 - see above
    return write


def _weighted(header: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Split an Accept or Accept-Encoding header: value, parameters, weight (RFC 9110, 12.4)."""
    for member in header.split(","):
        value, *rest = (part.strip() for part in member.lower().split(";"))
        parameters = dict(p.split("=", 1) for p in rest if "=" in p)
        try:
            weight = float(parameters.pop("q", "1"))
        except ValueError:
            continue  # not a member that RFC 9110 (12.4.2) knows
        if value and 0.0 <= weight <= 1.0:
            yield value, parameters, weight


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics 1.0 (or 0.0.1) to the text format.

    On equal weights OpenMetrics wins, for it must have been named; a wildcard means text. An
    Accept header that allows neither gets text, which is what Prometheus's own exporters do.
    """
    best = {True: 0.0, False: 0.0}
    for media, parameters, weight in _weighted(accept):
        version = parameters.get("version", "").strip('"')
        if media == "application/openmetrics-text" and version in ("", "0.0.1", "1.0.0"):
            best[True] = max(best[True], weight)
        elif media in ("text/plain", "text/*", "*/*") and version in ("", "0.0.4"):
            best[False] = max(best[False], weight)
    return best[True] > 0.0 and best[True] >= best[False]


def wants_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header names gzip with a weight above zero."""
    return any(
        value in ("gzip", "x-gzip") and weight > 0.0
        for value, _, weight in _weighted(accept_encoding)
    )
