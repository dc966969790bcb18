"""Every statement of a TOML file is found on its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpdns import toml_lines
from xdpdns.errors import SettingsError

TRICKY = '''# a comment

top = 1
[attach]  # one
mode = "auto"
labels = [
  "af",   # [plan]

  "tld",
]
web.listen-address = [":1"]
"web.config.file" = """
[plan]
mode = 'not a key'
"""

   [ report . edns ]
port = { a = 1, b = 2 }
inline = { only = 1 }
text = \'\'\'
# no comment
\'\'\'
[[many]]
x = 1
[[many]]
x = 2
'''


def test_lines() -> None:
    assert toml_lines.lines(TRICKY) == {
        ("top",): 3,
        ("attach",): 4,
        ("attach", "mode"): 5,
        ("attach", "labels"): 6,
        ("attach", "web"): 11,
        ("attach", "web", "listen-address"): 11,
        ("attach", "web.config.file"): 12,
        ("report",): 17,
        ("report", "edns"): 17,
        ("report", "edns", "port"): 18,
        ("report", "edns", "inline"): 19,
        ("report", "edns", "inline", "only"): 19,
        ("report", "edns", "text"): 20,
        ("many",): 23,
        ("many", "x"): 24,
    }


VALUES = ["1", '"a # b"', "[\n1,\n\n2 ]", '"""\n[x]\n\n"""', "'''a\n= 1'''", "{ a = 1, b = [2] }"]
STATEMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(VALUES)), min_size=1, max_size=12
)


@given(STATEMENTS)
def test_any_order_of_statements(statements: list[tuple[int, bool, str]]) -> None:
    text, table = "", ""
    wanted: dict[tuple[str, ...], int] = {}
    for number, (blank, new_table, value) in enumerate(statements):
        text += "# x\n" * blank
        if new_table:
            table = f"t{number}"
            wanted[table,] = text.count("\n") + 1
            text += f"[{table}]\n"
        key = (table, f"k{number}") if table else (f"k{number}",)
        wanted[key] = text.count("\n") + 1
        text += f"k{number} = {value}\n"
    assert toml_lines.lines(text) == wanted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[attach]\nmode = auto\n", ":2: this is no TOML (Invalid value): mend it."),
        (b"[attach\n", ":1: this is no TOML (Expected ']' at the end of a table declaration)"),
        (b"a = 1\na = 2\n", ":2: this is no TOML (Cannot overwrite a value)"),
        (b'a = 1\nb = """x\n\n', ":3: this is no TOML (Unterminated string)"),
        (b"a = 1\nb = '\xff'\n", ":2: this is not UTF-8"),
    ],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        toml_lines.read(path)
    assert str(raised.value).startswith(f"{path}{message}")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read"):
        toml_lines.read(tmp_path / "a.toml")
    with pytest.raises(SettingsError, match="Is a directory"):
        toml_lines.read(tmp_path)
