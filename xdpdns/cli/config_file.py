"""The configuration file: tables named as the commands, keys named as their options.

A value goes the way of one on the command line: it is turned into what would be typed there, and
click's type of the option, with its rules, judges it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from xdpdns import toml_lines
from xdpdns.cli.types import CommaList
from xdpdns.errors import SettingsError
from xdpdns.suggest import did_you_mean

DEFAULT = Path("/etc/xdpdns.toml")

WITHOUT_FILE = ("completion", "config")
"""Commands that work beside the file: they have no table, and run whatever is in it."""

Key = toml_lines.Key


@dataclass(frozen=True, slots=True)
class Problem:
    """What can't be used in a file: its line from 1, the key with its table, and a sentence."""

    file: str
    line: int
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.problem}"


@dataclass(slots=True)
class ConfigFile:
    """A file as far as it can be used.

    Attributes:
        path: the file.
        values: for click's default_map, by command and parameter.
        lines: where in the file a command's parameter is set, by the command's words and its name.
        problems: everything else that the file has.
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def chosen(ctx: click.Context) -> Path | None:
    """The file of this run: --config, XDPDNS_CONFIG or the usual one; None where there is none."""
    path: Path | None = ctx.find_root().params.get("config")
    return path if path is not None else DEFAULT if DEFAULT.exists() else None


def in_use() -> Path | None:
    """The file of the command that runs now; see chosen()."""
    return chosen(click.get_current_context())


def problems(path: Path) -> list[str]:
    """What is wrong in a file, `FILE:LINE: table.key: sentence` each; empty if nothing is."""
    try:
        found = read(path, click.get_current_context().find_root().command)
    except SettingsError as error:
        return [str(error)]
    return [str(problem) for problem in found.problems]


def read(path: Path, commands: click.Command, only: str = "") -> ConfigFile:
    """Read a file and check it against the commands of a group; of `only` one, if it is named.

    Raises:
        SettingsError: it can't be read, or is no TOML.
    """
    made, text = toml_lines.read(path)
    if only:
        others = commands.commands.keys() - {only} if isinstance(commands, click.Group) else set()
        made = {name: value for name, value in made.items() if name not in others}
    return _Reader(ConfigFile(path), toml_lines.lines(text)).read(made, commands)


class _Reader:
    def __init__(self, result: ConfigFile, lines: dict[Key, int]) -> None:
        self._result = result
        self._lines = lines

    def read(self, made: dict[str, Any], commands: click.Command) -> ConfigFile:
        ctx = click.Context(commands, info_name=commands.name)
        self._result.values = self._group(made, ctx, ())
        self._result.problems.sort(key=lambda problem: problem.line)
        return self._result

    def _group(self, made: dict[str, Any], ctx: click.Context, path: Key) -> dict[str, Any]:
        known = configurable(ctx.command)
        values = {}
        for name, value in made.items():
            here = (*path, name)
            command = known.get(name)
            if command is None:
                meant = did_you_mean(name, known)
                self._fail(here, f"there is no such command{_tail(meant)}")
            elif not isinstance(value, dict):
                self._fail(
                    here, f"here should be a table: write [{'.'.join(here)}] above the keys."
                )
            else:
                inner = click.Context(command, info_name=name, parent=ctx)
                deeper = self._group if isinstance(command, click.Group) else self._command
                values[name] = deeper(value, inner, here)
        return values

    def _command(self, made: dict[str, Any], ctx: click.Context, path: Key) -> dict[str, Any]:
        known = options(ctx.command)
        values = {}
        for relative, value in _flat(made, known):
            name = ".".join(relative)
            here = path + relative
            param = known.get(name)
            if param is None:
                meant = did_you_mean(name, known)
                self._fail(here, f"`{' '.join(path)}` has no such option{_tail(meant)}")
                continue
            try:
                typed = as_typed(param, value)
                param.process_value(ctx, typed)
            except click.UsageError as error:
                self._fail(here, error.message or "a value is missing.")
            except SettingsError as error:
                self._fail(here, str(error).removeprefix(f"--{name}: "))
            else:
                values[param.name or ""] = typed
                self._result.lines[(*path, name)] = self._line(here)
        return values

    def _fail(self, key: Key, problem: str) -> None:
        file = str(self._result.path)
        self._result.problems.append(Problem(file, self._line(key), ".".join(key), problem))

    def _line(self, key: Key) -> int:
        return next(self._lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self._lines)


def configurable(group: click.Command) -> dict[str, click.Command]:
    """The commands of a group that have a table in the file, if they are given a value there."""
    commands = group.commands if isinstance(group, click.Group) else {}
    return {name: one for name, one in commands.items() if name not in WITHOUT_FILE}


def options(command: click.Command) -> dict[str, click.Parameter]:
    """What a file can set of a command: `mode` for --mode, `interfaces` for its argument."""
    return {
        name_of(param): param
        for param in command.params
        if param.expose_value and param.name is not None
    }


def name_of(param: click.Parameter) -> str:
    """The name that a parameter has in a file: its long option's, without the dashes."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len).removeprefix("--")
    return param.name or ""


def as_typed(param: click.Parameter, value: Any) -> Any:
    """What click would have had from the command line for a file's value.

    Raises:
        click.BadParameter: the value is of another type than the option takes.
    """
    if isinstance(param, click.Option) and param.is_flag:
        return value if isinstance(value, bool) else _not("true or false")
    if param.multiple or param.nargs == -1:
        texts = value if isinstance(value, list) else [value]
        return texts if all(isinstance(one, str) for one in texts) else _not("texts in quotes")
    if isinstance(param.type, CommaList):
        parts = value if isinstance(value, list) else [value]
        right = all(isinstance(one, str | int) and not isinstance(one, bool) for one in parts)
        return ",".join(str(one) for one in parts) if right else _not("a text or a list")
    if isinstance(param.type, type(click.INT)):
        right = isinstance(value, int) and not isinstance(value, bool)
        return value if right else _not("a whole number, without quotes")
    if isinstance(param.type, type(click.FLOAT)):
        right = isinstance(value, int | float) and not isinstance(value, bool)
        return value if right else _not("a number, without quotes")
    return value if isinstance(value, str) else _not("a text in quotes")


def _not(wanted: str) -> Any:
    raise click.BadParameter(f"here should be {wanted}.")


def _tail(meant: str) -> str:
    return f": {meant}" if meant else "."


def _flat(made: dict[str, Any], known: dict[str, Any], path: Key = ()) -> Iterator[tuple[Key, Any]]:
    """All values with their keys: `web.listen-address = ...` is a table in a table to TOML."""
    for name, value in made.items():
        here = (*path, name)
        if isinstance(value, dict) and value and ".".join(here) not in known:
            yield from _flat(value, known, here)
        else:
            yield here, value
