"""`xdpdns config`: what the configuration file has, and what comes of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from xdpdns.cli.config_file import (
    DEFAULT,
    ConfigFile,
    chosen,
    configurable,
    name_of,
    options,
    read,
)
from xdpdns.cli.options import output_option, print_json
from xdpdns.cli.types import CommaList
from xdpdns.errors import SettingsError
from xdpdns.suggest import did_you_mean

_NOT_TEXT = (CommaList, *(type(one) for one in (click.INT, click.FLOAT, click.BOOL)))
"""Types whose values are no strings in the file, though they are in the environment."""


@click.group()
def config() -> None:
    """Check and show the configuration file."""


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@output_option()
@click.pass_context
def check(ctx: click.Context, file: Path | None, output: str) -> None:
    """Name every line of the configuration file that can't be used.

    Without FILE it is the one that the commands read: --config, else /etc/xdpdns.toml. Values are
    judged by the rules of the options, so files and users that they name must be there. Names of
    variables in the environment are checked too. The exit code is 1 if there is a problem.

    \b
    Examples:
      xdpdns config check
      xdpdns config check new.toml && mv new.toml /etc/xdpdns.toml
    """  # noqa: D301  \b is for click: keep these lines
    path = file or chosen(ctx)
    if path is None:
        raise SettingsError(f"there is no {DEFAULT}: name a file.")
    found = read(path, ctx.find_root().command)
    mistyped = [
        {"variable": name, "problem": f"there is no such option: {meant}".rstrip(": ")}
        for name, meant in mistyped_variables(ctx.find_root())
    ]
    ok = not found.problems and not mistyped
    if output == "json":
        problems = [asdict(problem) for problem in found.problems]
        print_json({"file": str(path), "ok": ok, "problems": problems, "environment": mistyped})
    else:
        for problem in found.problems:
            click.echo(str(problem))
        for one in mistyped:
            click.echo(f"environment: {one['variable']}: {one['problem']}")
        if ok:
            click.echo(f"{path} can be used.")
    if not ok:
        ctx.exit(1)


@config.command()
@click.argument("command", nargs=-1)
@output_option()
@click.pass_context
def show(ctx: click.Context, command: tuple[str, ...], output: str) -> None:
    """Print the values that are in force, and where each comes from.

    The text can be used as a configuration file. The command line comes before the environment,
    which comes before the file, which comes before the default. Name a COMMAND to see its options
    only.

    \b
    Examples:
      xdpdns config show attach
      xdpdns config show report edns
      XDPDNS_ATTACH_PORT=5353 xdpdns config show attach
    """  # noqa: D301  \b is for click: keep these lines
    root = ctx.find_root()
    path = chosen(ctx)
    file = ConfigFile(Path()) if path is None else read(path, root.command)
    tables = [table for table in _tables(root, file) if table.words[: len(command)] == command]
    if not tables:
        raise click.UsageError(f"There is no command `{' '.join(command)}` to configure.", ctx)
    if output == "json":
        print_json(
            {
                "file": None if path is None else str(path),
                "values": [asdict(value) for table in tables for value in table.values],
            }
        )
        return
    click.echo(f"# {path}" if path else f"# There is no {DEFAULT}.")
    for table in tables:
        click.echo(f"\n[{'.'.join(table.words)}]")
        for value in table.values:
            click.echo(f"{value.toml():40}  # {value.origin or value.source}")
    for problem in file.problems:
        click.echo(str(problem), err=True)
    if file.problems:
        ctx.exit(1)


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter's value.

    `source` is `environment`, `file` or `default`; `origin` is the variable, or file and line.
    """

    command: str
    name: str
    value: Any
    source: str
    origin: str

    def toml(self) -> str:
        """`name = value`; a comment where there is no value."""
        if self.value is None:
            return f"# {self.name} ="
        # strings, numbers, booleans and lists of these look the same in JSON
        return f"{self.name} = {json.dumps(self.value, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class _Table:
    words: tuple[str, ...]
    values: list[Value]


def _tables(root: click.Context, file: ConfigFile) -> Iterator[_Table]:
    """Each command's values, with a context as click would make it for the command."""

    def walk(ctx: click.Context, words: tuple[str, ...]) -> Iterator[_Table]:
        if not isinstance(ctx.command, click.Group):
            yield _Table(words, [_value(ctx, param, words, file) for param in _params(ctx)])
            return
        for name, command in configurable(ctx.command).items():
            yield from walk(click.Context(command, ctx, info_name=name), (*words, name))

    top = click.Context(
        root.command,
        info_name=root.info_name,
        auto_envvar_prefix=root.auto_envvar_prefix,
        default_map=file.values,
    )
    return (table for table in walk(top, ()) if table.values)


def _params(ctx: click.Context) -> list[click.Parameter]:
    return list(options(ctx.command).values())


def _value(
    ctx: click.Context, param: click.Parameter, words: tuple[str, ...], file: ConfigFile
) -> Value:
    value, source = param.consume_value(ctx, {})
    name = name_of(param)
    origin = ""
    if source is ParameterSource.ENVIRONMENT:
        origin = f"{ctx.auto_envvar_prefix}_{(param.name or '').upper()}"
    elif source is ParameterSource.DEFAULT_MAP:
        origin = f"{file.path}:{file.lines[(*words, name)]}"
    sources = {ParameterSource.ENVIRONMENT: "environment", ParameterSource.DEFAULT_MAP: "file"}
    return Value(
        " ".join(words), name, _plain(ctx, param, value), sources.get(source, "default"), origin
    )


def _plain(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """A value as it would stand in the file: None if unset, a text if it can't be used."""
    if isinstance(value, str) and isinstance(param.type, _NOT_TEXT):
        kind: click.ParamType[Any] = param.type
        try:
            value = kind.convert(value, param, ctx)
        except click.UsageError:
            return value
    if isinstance(value, list | tuple):
        return list(value)
    return value if isinstance(value, bool | int | float | str) else None


def said_of_variables(ctx: click.Context) -> list[str]:
    """A sentence for each of mistyped_variables(): they have no effect."""
    return [
        f"the variable {name} is no option's, and has no effect: {meant or 'see `xdpdns config`.'}"
        for name, meant in mistyped_variables(ctx.find_root())
    ]


def mistyped_variables(root: click.Context) -> Iterator[tuple[str, str]]:
    """Variables of the environment that look like an option's of a command, and are none's."""
    prefix = f"{root.auto_envvar_prefix}_"
    if not any(name.startswith(prefix) for name in os.environ):
        return
    known = {f"{prefix}CONFIG"}
    commands = []
    for table in _tables(root, ConfigFile(Path())):
        begin = prefix + "_".join(table.words).upper().replace("-", "_") + "_"
        commands.append(begin)
        known |= {begin + re.sub("[-.]", "_", value.name).upper() for value in table.values}
    for name in sorted(os.environ.keys() - known):
        if name.startswith(tuple(commands)):
            yield name, did_you_mean(name, known)
