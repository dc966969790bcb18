"""What commands print as JSON, held against xdpdns/schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

import xdpdns

FOLDER = Path(xdpdns.__file__).parent / "schemas"


def schema(name: str) -> dict[str, Any]:
    """The schema of `status`, `report-edns`, ..."""
    made: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    Draft202012Validator.check_schema(made)
    return made


def validator(name: str) -> Draft202012Validator:
    """What judges by it."""
    return Draft202012Validator(schema(name))


def valid(name: str, output: str) -> Any:
    """What a command has printed; its schema must have nothing against it."""
    made = json.loads(output)
    errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(made)]
    assert errors == []
    return made
