"""The help of every command."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from xdpdns.cli import main


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield *path, name


@pytest.mark.parametrize("command", list(commands(main)), ids=" ".join)
def test_examples_stand_on_lines_of_their_own(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"])
    assert shown.exit_code == 0
    assert "\\b" not in shown.output
    lines = [line.strip() for line in shown.output.splitlines()]
    first = lines[lines.index("Examples:") + 1]
    assert first.startswith(f"xdpdns {' '.join(command)}")


@pytest.mark.parametrize("command", list(commands(main)), ids=" ".join)
def test_defaults_are_shown_as_they_are_typed(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"], terminal_width=200)
    assert "[default: (" not in " ".join(shown.output.split())


@pytest.mark.parametrize("command", list(commands(main)), ids=" ".join)
def test_a_name_is_the_same_in_the_environment_and_the_file(command: tuple[str, ...]) -> None:
    """`--web.listen-address` is XDPDNS_ATTACH_WEB_LISTEN_ADDRESS, and nothing shorter."""
    found: click.Command = main
    for name in command:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    for option in found.params:
        if isinstance(option, click.Option):
            long = max(option.opts, key=len).removeprefix("--")
            assert option.name == long.replace("-", "_").replace(".", "_")


def test_no_line_of_the_list_of_commands_is_cut() -> None:
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    lines = shown.partition("Commands:\n")[2].splitlines()
    assert len(lines) == len(main.commands)
    assert [line for line in lines if line.endswith("...")] == []
