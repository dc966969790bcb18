"""The log on the standard error: text or JSON, each kind of line so many times a minute at most.

Text begins with what its reader lacks: on a terminal with the program's name; for the journal of
systemd, which stamps lines itself, with `<N>`, the priority of syslog(3) (sd-daemon(3)); elsewhere,
a file or a container's log, with the time and the level.

JSON is one object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, whatever the caller
gave by `extra` (`interface`, `reason`), and `exception` with a traceback.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TextIO

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

Prefix = Callable[[logging.LogRecord], str]
"""How a line of text begins."""

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
# What every record has, so that the rest is what the caller gave by `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(form: str = "text", level: str = "info", stream: TextIO | None = None) -> None:
    """Send our own modules' messages of a level and above to the standard error.

    Libraries are silent below a warning. May be called again, for another form or level; `form` is
    of FORMATS, `level` of LEVELS.
    """
    stream = stream or sys.stderr
    root = logging.getLogger()
    handlers = [one for one in root.handlers if isinstance(one, LimitedHandler)]
    handler = handlers[0] if handlers else LimitedHandler(stream)
    handler.setStream(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(prefix_for(stream)))
    if not handlers:
        root.addHandler(handler)
    logging.getLogger("xdpdns").setLevel(level.upper())


def for_people() -> bool:
    """Whether a person reads the log at a terminal, as opposed to a program that keeps it."""
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    return any(isinstance(one, TextFormatter) and one.prefix is by_name for one in formatters)


def by_name(record: logging.LogRecord) -> str:
    """For a person who started this."""
    return "xdpdns: "


def by_priority(record: logging.LogRecord) -> str:
    """For systemd's journal."""
    return f"<{_PRIORITIES.get(_level(record), 6)}>"


def by_time(record: logging.LogRecord) -> str:
    """For a file."""
    return f"{_time(record)} {_level(record)}: "


def prefix_for(stream: TextIO) -> Prefix:
    """How lines of text begin on this stream."""
    if stream.isatty():
        return by_name
    return by_priority if _is_journal(stream) else by_time


def _is_journal(stream: TextIO) -> bool:
    """Whether it is what $JOURNAL_STREAM speaks of (systemd.exec(5)): not so once redirected."""
    try:
        stat = os.fstat(stream.fileno())
    except OSError:  # not a file of the system's
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


class TextFormatter(logging.Formatter):
    """One line a message, and one for each line of a traceback, all with the same prefix."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__()
        self.prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        """The lines; control characters are escaped: what a client sent can't forge a line."""
        prefix = self.prefix(record)
        lines = [record.getMessage()]
        if record.exc_info:
            lines += self.formatException(record.exc_info).splitlines()
        return "\n".join(prefix + _CONTROL.sub(_escaped, line) for line in lines)


class JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; what JSON has no form for is its text."""
        made: dict[str, object] = {
            "time": _time(record),
            "level": _level(record),
            "logger": record.name,
            "message": record.getMessage(),
        }
        made |= {name: value for name, value in vars(record).items() if name not in _OWN | {*made}}
        if record.exc_info:
            made["exception"] = self.formatException(record.exc_info)
        return json.dumps(made, default=str)


class LimitedHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream; of lines with the same template, `limit` in `seconds` at most.

    What was held back is one line with their number, once the time is over and something is logged,
    or at the end. The template is the message before its arguments; where that is a bare `%s`, the
    text itself. Lines about different interfaces (`extra`) don't count against each other.
    """

    def __init__(
        self,
        stream: TextIO,
        limit: int = 10,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream)
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._windows: dict[tuple[object, ...], _Window] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, unless there were too many of its kind; before it, what is due."""
        now = self._clock()
        for summary in self._over(now):
            super().emit(summary)
        text = record.getMessage() if record.msg == "%s" else record.msg
        kind = (record.name, record.levelno, text, getattr(record, "interface", None))
        window = self._windows.setdefault(kind, _Window(now + self._seconds, record))
        window.count += 1
        if window.count <= self._limit:
            super().emit(record)

    def close(self) -> None:
        """Say what was held back; logging.shutdown() calls it at exit."""
        self.acquire()
        try:
            for summary in self._over(float("inf")):
                super().emit(summary)
        finally:
            self.release()
        super().close()

    def _over(self, now: float) -> Iterator[logging.LogRecord]:
        """Take out the windows that are over, with a record for each that held something back."""
        for kind in [kind for kind, window in self._windows.items() if window.end <= now]:
            window = self._windows.pop(kind)
            if window.count > self._limit:
                yield window.summary(window.count - self._limit)


class _Window:
    """How often a template came since its first record."""

    def __init__(self, end: float, first: logging.LogRecord) -> None:
        self.end = end
        self.count = 0
        self._first = first

    def summary(self, suppressed: int) -> logging.LogRecord:
        first = self._first
        extra = {name: value for name, value in vars(first).items() if name not in _OWN}
        return logging.makeLogRecord(
            {
                **extra,
                "name": first.name,
                "levelno": first.levelno,
                "levelname": first.levelname,
                "msg": "%d more lines like this one were suppressed: %s",
                "args": (suppressed, first.getMessage()),
                "suppressed": suppressed,
            }
        )


def _level(record: logging.LogRecord) -> str:
    return record.levelname.lower()


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
