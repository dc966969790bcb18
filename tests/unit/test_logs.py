"""The log's two forms, what begins a line where, and that a flood of lines is none."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from xdpdns.logs import (
    JsonFormatter,
    LimitedHandler,
    TextFormatter,
    by_name,
    by_priority,
    by_time,
)


class Log:
    """A logger of its own with a limited handler, whose clock the test moves."""

    def __init__(self, formatter: logging.Formatter, limit: int = 10) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.handler = LimitedHandler(self.stream, limit, 60.0, lambda: self.now)
        self.handler.setFormatter(formatter)
        self.logger = logging.Logger("xdpdns.test", logging.DEBUG)
        self.logger.addHandler(self.handler)

    def lines(self) -> list[str]:
        """What was written since the last look."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text.splitlines()


def test_json_is_one_object_a_line() -> None:
    log = Log(JsonFormatter())
    log.logger.warning("%s is down.\n", "eth0", extra={"interface": "eth0", "reason": "down"})
    [line] = log.lines()
    made = json.loads(line)
    written = datetime.fromisoformat(made.pop("time"))
    assert written.utcoffset() == timedelta(0)
    assert abs(written.timestamp() - datetime.now().timestamp()) < 60
    assert made == {
        "level": "warning",
        "logger": "xdpdns.test",
        "message": "eth0 is down.\n",
        "interface": "eth0",
        "reason": "down",
    }


def test_json_has_the_traceback_and_takes_any_value() -> None:
    log = Log(JsonFormatter())
    try:
        raise ValueError("boom")
    except ValueError:
        log.logger.exception("It failed.", extra={"path": Path("/x"), "level": "mine"})
    [line] = log.lines()
    made = json.loads(line)
    assert made["exception"].startswith("Traceback")
    assert made["exception"].endswith("ValueError: boom")
    assert made["path"] == "/x"
    assert made["level"] == "error"  # a caller can't change what a line is


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [(by_name, "xdpdns: "), (by_priority, "<4>"), (by_time, "1970-01-01T00:00:01.500Z warning: ")],
)
def test_text_begins_with_what_its_reader_lacks(prefix: object, expected: str) -> None:
    record = logging.makeLogRecord(
        {"levelno": 30, "levelname": "WARNING", "msg": "%s is down.", "args": ("eth0",)}
    )
    record.created = 1.5
    assert TextFormatter(prefix).format(record) == f"{expected}eth0 is down."  # type: ignore[arg-type]


def test_priorities_are_those_of_syslog() -> None:
    log = Log(TextFormatter(by_priority))
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.logger.log(level, "line %d", level)
    assert [line[:3] for line in log.lines()] == ["<7>", "<6>", "<4>", "<3>", "<2>"]


def test_text_can_not_be_forged() -> None:
    log = Log(TextFormatter(by_priority))
    log.logger.info("GET %s", "/\r\n<2>all is lost\x1b[2J\u2028ü")
    assert log.lines() == ["<6>GET /\\r\\n<2>all is lost\\x1b[2J\\u2028ü"]


def test_each_line_of_a_traceback_has_the_prefix() -> None:
    log = Log(TextFormatter(by_priority))
    try:
        raise ValueError("boom")
    except ValueError:
        log.logger.exception("It failed.")
    lines = log.lines()
    assert lines[0] == "<3>It failed."
    assert lines[-1] == "<3>ValueError: boom"
    assert all(line.startswith("<3>") for line in lines)


def test_a_flood_is_a_few_lines_and_their_number() -> None:
    log = Log(TextFormatter(by_name), limit=3)
    for number in range(100):
        log.now += 0.1
        log.logger.info("client %d is gone", number)
    assert log.lines() == [f"xdpdns: client {number} is gone" for number in range(3)]
    log.logger.info("another kind")
    assert log.lines() == ["xdpdns: another kind"]
    log.now += 60
    log.logger.info("client %d is gone", 100)
    assert log.lines() == [
        "xdpdns: 97 more lines like this one were suppressed: client 0 is gone",
        "xdpdns: client 100 is gone",
    ]


def test_the_number_is_a_field_in_json() -> None:
    log = Log(JsonFormatter(), limit=1)
    for _ in range(5):
        log.logger.warning("down", extra={"interface": "eth0"})
    log.lines()
    log.handler.close()
    [line] = log.lines()
    made = json.loads(line)
    assert (made["suppressed"], made["interface"], made["level"]) == (4, "eth0", "warning")


def test_interfaces_and_ready_made_texts_are_limited_apart() -> None:
    log = Log(TextFormatter(by_name), limit=1)
    for interface in ("eth0", "eth1", "eth0"):
        log.logger.warning("%s is down", interface, extra={"interface": interface})
    assert log.lines() == ["xdpdns: eth0 is down", "xdpdns: eth1 is down"]
    for text in ("one", "two", "one"):
        log.logger.warning("%s", text)
    assert log.lines() == ["xdpdns: one", "xdpdns: two"]


def test_what_was_said_long_ago_takes_no_memory() -> None:
    log = Log(TextFormatter(by_name))
    for number in range(1000):
        log.now += 61
        log.logger.info("%s", f"text {number}")
    assert len(log.handler._windows) == 1


SPEAKS = """
import logging, sys
from xdpdns import logs
logs.configure(sys.argv[1], sys.argv[2])
logging.getLogger("xdpdns.app").info("hello")
logging.getLogger("xdpdns.app").debug("details")
logging.getLogger("library").info("chatter")
print(logs.for_people())
"""


def speak(form: str, level: str, journal: bool = False) -> tuple[list[str], bool]:
    """Lines on the standard error of a process that logs, a pipe; whether it thinks it a person."""
    reader, writer = os.pipe()
    stat = os.fstat(writer)
    environment = {**os.environ, "JOURNAL_STREAM": "1:1"}
    if journal:
        environment["JOURNAL_STREAM"] = f"{stat.st_dev}:{stat.st_ino}"
    with os.fdopen(reader) as pipe:
        argv = [sys.executable, "-c", SPEAKS, form, level]
        done = subprocess.run(
            argv, env=environment, stdout=subprocess.PIPE, stderr=writer, text=True, check=True
        )
        os.close(writer)
        return pipe.read().splitlines(), done.stdout.strip() == "True"


def test_a_file_has_time_and_level() -> None:
    [line], person = speak("text", "info")
    assert line.endswith("Z info: hello")
    assert not person


def test_the_journal_has_the_priority() -> None:
    lines, person = speak("text", "debug", journal=True)
    assert lines == ["<6>hello", "<7>details"]
    assert not person


def test_levels() -> None:
    assert speak("json", "warning")[0] == []
    assert [json.loads(line)["message"] for line in speak("json", "debug")[0]] == [
        "hello",
        "details",
    ]


def test_a_terminal_has_the_name() -> None:
    main, terminal = os.openpty()
    subprocess.run(
        [sys.executable, "-c", SPEAKS, "text", "info"], stderr=terminal, check=True, timeout=30
    )
    os.close(terminal)
    assert os.read(main, 1000) == b"xdpdns: hello\r\n"
    os.close(main)
