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
    if "Examples:" in shown.output:
        first = lines[lines.index("Examples:") + 1]
        assert first.startswith(f"xdpdns {' '.join(command)}")
