"""YAML whose every value still knows its line, so that errors can name it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NoReturn

from xdpdns.errors import SettingsError

try:
    import yaml
except ImportError as error:
    raise SettingsError(
        "--web.config.file needs PyYAML, which is not installed: `pip install 'xdpdns[web]'`."
    ) from error

Node = yaml.Node

_NULL = "tag:yaml.org,2002:null"


class Document:
    """One YAML file of one document, resolved by the safe rules.

    Every method raises SettingsError, with file and line, for what is not what it should be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise SettingsError(
                f"{path} can't be read ({error.strerror}): give a readable --web.config.file."
            ) from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            self.fail(line, "this is not UTF-8: save the file in that encoding")
        try:
            self.root: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.fail(mark.line + 1 if mark else 1, f"this is no YAML ({error.problem}): mend it")
        except yaml.reader.ReaderError as error:
            line = text[: error.position].count("\n") + 1
            self.fail(line, f"this is no YAML ({error.reason}): remove the character")

    def fail(self, where: Node | int, what: str) -> NoReturn:
        """Raise SettingsError for a node, or for a line (from 1)."""
        line = where if isinstance(where, int) else where.start_mark.line + 1
        raise SettingsError(f"{self._path}, line {line}: {what}.")

    def mapping(self, node: Node | None, known: Collection[str] = ()) -> dict[str, Node]:
        """Give a mapping's values by key; without those that are null. Other keys than `known`
        are errors, unless `known` is empty.
        """  # noqa: D205 - the summary needs two lines
        if node is None or node.tag == _NULL:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, "here should be keys with values: write `key: value` lines")
        found: dict[str, Node] = {}
        for key_node, value in node.value:
            key = self.string(key_node)
            if known and key not in known:
                self.fail(key_node, f"{key!r} is not known here: use {', '.join(sorted(known))}")
            if key in found:
                self.fail(key_node, f"{key!r} is here for the second time: remove one")
            found[key] = value
        return {key: value for key, value in found.items() if value.tag != _NULL}

    def string(self, node: Node) -> str:
        """Give a string; a number or a boolean is none unless it is quoted."""
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            self.fail(node, "here should be a text: put it in quotes")
        value: str = node.value
        return value

    def strings(self, node: Node | None) -> list[tuple[str, Node]]:
        """Give a list of strings, each with its node."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, "here should be a list: write `- value` lines")
        return [(self.string(item), item) for item in node.value]

    def boolean(self, node: Node | None, default: bool) -> bool:
        """Give true or false."""
        if node is None:
            return default
        if node.tag != "tag:yaml.org,2002:bool":
            self.fail(node, "here should be true or false")
        return bool(yaml.SafeLoader.bool_values[node.value.lower()])

    def choice(self, node: Node | None, among: Mapping[str, object], default: str) -> str:
        """Give one of the keys of a table."""
        if node is None:
            return default
        text = self.string(node)
        if text not in among:
            self.fail(node, f"{text!r} can't be used here: use {', '.join(among)}")
        return text
