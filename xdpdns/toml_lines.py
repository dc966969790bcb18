"""TOML whose every key still knows its line, so that errors can name it.

tomllib forgets where things stand. But a statement of TOML (`[table]`, `key = value`) begins on a
line of its own, and no part of it that ends earlier is whole: so each one is the shortest run of
lines that tomllib reads, and what it reads then is the key.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from xdpdns.errors import SettingsError

Key = tuple[str, ...]


def read(path: Path) -> tuple[dict[str, Any], str]:
    """Read a file: its tables, and its text for lines().

    Raises:
        SettingsError: it can't be read, or is no TOML; the text names the line.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(
            f"{path} can't be read ({error.strerror}): name a readable file by --config."
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}:{line}: this is not UTF-8: save the file so.") from error
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        what, line = _split(str(error), text)
        raise SettingsError(f"{path}:{line}: this is no TOML ({what}): mend it.") from error


def _split(message: str, text: str) -> tuple[str, int]:
    """Part `Invalid value (at line 3, column 5)` or `... (at end of document)`."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message)
    if match is None:
        return message, 1
    return match[1], int(match[2] or text.count("\n") + (not text.endswith("\n")))


def lines(text: str) -> dict[Key, int]:
    """The line, from 1, of every table and every key; `text` must be whole TOML.

    What is in an inline table of several keys is not told apart: it stands where the table does.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    statement, first = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        if not statement:
            first = number
        statement += line + "\n"
        try:
            made = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = key = _path(made)
        else:
            key = table + _path(made)
        for length in range(1, len(key) + 1):
            found.setdefault(key[:length], first)
        statement = ""
    return found


def _path(made: dict[str, Any]) -> Key:
    """The keys down to what one statement sets: a table's `{}`, or a value."""
    path: list[str] = []
    here: Any = made
    while isinstance(here, dict) and len(here) == 1:
        [(key, here)] = here.items()
        path.append(key)
    return tuple(path)
