"""The schemas of JSON output: one for each command, strict, and true of what is made here.

What needs root is in tests/netns/test_output.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.schemas import FOLDER, schema, valid, validator
from xdpdns.cli import main

README = (Path(__file__).parents[2] / "README.md").read_text()
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def printing_json(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from printing_json(command, (*path, name))
        for param in command.params:
            if param.name == "output" and isinstance(param.type, click.Choice):
                assert "json" in param.type.choices
                yield "-".join((*path, name))


def test_a_schema_for_each_command_that_prints_json() -> None:
    assert sorted(printing_json(main)) == NAMES


def subschemas(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "type" in part or "const" in part or "$ref" in part:
            yield part
        for inner in part.values():
            yield from subschemas(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from subschemas(inner)


@pytest.mark.parametrize("name", NAMES)
def test_every_object_says_what_it_has(name: str) -> None:
    """A field that is added, taken away or renamed must fail: no object is left open."""
    words = name.replace("report-", "report ").replace("config-", "config ")
    assert schema(name)["title"] == f"xdpdns {words} --output json"
    for one in subschemas(schema(name)):
        if "object" in one.get("type", ()):
            extra = one["additionalProperties"]
            assert extra is False or extra["type"]
            assert one.get("required", []) == list(one.get("properties", {}))
        elif "array" in one.get("type", ()):
            assert one["items"]
        assert "description" in one or one.keys() & {"$ref", "const"} or len(one) <= 3


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_links_it(name: str) -> None:
    assert f"(xdpdns/schemas/{name}.json)" in README


def test_a_renamed_field_fails() -> None:
    made = json.loads(CliRunner().invoke(main, ["plan", "--output", "json"]).output)
    assert validator("plan").is_valid(made)
    for key in made:
        assert not validator("plan").is_valid({k: v for k, v in made.items() if k != key})
        assert not validator("plan").is_valid({**made, "extra": 1})
    made["maps"][0]["bytes"] = "many"
    assert not validator("plan").is_valid(made)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--tlds all --qtypes all",
        "--labels qr --tlds none",
        "--exact-edns --edns-edges 512",
    ],
)
def test_plan(options: str) -> None:
    done = CliRunner().invoke(main, ["plan", "--output", "json", *options.split()])
    assert done.exit_code == 0
    valid("plan", done.output)


def test_config(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('[attach]\nmdoe = 1\nport = 54\n[plan]\nlabels = ["af"]\n')
    check = CliRunner().invoke(
        main, ["config", "check", str(path), "--output", "json"], env={"XDPDNS_PLAN_X": "1"}
    )
    made = valid("config-check", check.output)
    assert (made["ok"], len(made["problems"]), len(made["environment"])) == (False, 1, 1)
    path.write_text(path.read_text().replace("mdoe = 1", 'mode = "native"'))
    show = CliRunner().invoke(main, ["--config", str(path), "config", "show", "--output", "json"])
    assert show.exit_code == 0
    valid("config-show", show.output)
