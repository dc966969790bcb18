"""The README says what the code does: tables that mirror code are compared with it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from xdpdns import vocab
from xdpdns.catalogue import catalogue_table
from xdpdns.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_metrics() -> None:
    assert catalogue_table() in README


def test_outcomes() -> None:
    lines = [f"| `{name}` | {meaning} |" for name, meaning in vocab.outcomes().items()]
    assert "\n".join(lines) in README


def test_tcp_segments() -> None:
    lines = [f"| `{name}` | {meaning} |" for name, meaning in vocab.tcp_segments().items()]
    assert "\n".join(lines) in README


def _commands(group: click.Group, prefix: str = "xdpdns") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        path = f"{prefix} {name}"
        found += _commands(command, path) if isinstance(command, click.Group) else [(path, command)]
    return found


@pytest.mark.parametrize(("path", "command"), _commands(main), ids=lambda value: str(value))
def test_commands_and_options(path: str, command: click.Command) -> None:
    """Every command and every long option stands in the README."""
    assert path in README or path.removeprefix("xdpdns ") in README
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            long = max(parameter.opts, key=len)
            assert f"`{long}" in README or f" {long}" in README, f"{path} {long}"


def test_no_option_is_made_up() -> None:
    """What the tables of options have is there."""
    known = {name for _, command in _commands(main) for one in command.params for name in one.opts}
    named = re.findall(r"^\| (?:`-\w`, )?`(--[\w.-]+)", README, re.MULTILINE)
    assert len(named) > 10
    assert set(named) - known == set()


def test_paths() -> None:
    """What the README points at is there."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
