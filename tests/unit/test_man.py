"""The manual pages: readable by man, and of one mind with --help and the README."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from xdpdns import man
from xdpdns.cli import main
from xdpdns.cli.completion import script

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z.-]*(?![\w-])")


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = command.commands if isinstance(command, click.Group) else {}
    return [path, *(one for name in inner for one in _commands(inner[name], (*path, name)))]


COMMANDS = _commands(main)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man1")
    man.write(folder)
    return folder


def run(*argv: str | Path) -> str:
    if shutil.which(str(argv[0])) is None:
        pytest.skip(f"{argv[0]} is not installed")
    return subprocess.run(argv, text=True, capture_output=True, timeout=60).stdout


def shown(page: Path) -> str:
    """The page as mandoc formats it, without overstriking."""
    return re.sub(".\b", "", run("mandoc", "-T", "utf8", "-O", "width=200", page))


def test_a_page_for_each_command(pages: Path) -> None:
    names = {f"{'-'.join(('xdpdns', *path))}.1" for path in COMMANDS}
    assert {page.name for page in pages.iterdir()} == names


def test_lint(pages: Path) -> None:
    assert run("mandoc", "-T", "lint", "-W", "style", *sorted(pages.iterdir())) == ""


def test_groff(pages: Path) -> None:
    for page in sorted(pages.iterdir()):
        argv = ["man", "--warnings", "-E", "UTF-8", "-l", str(page)]
        done = subprocess.run(argv, text=True, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def options(text: str, section: str) -> set[str]:
    """The options that begin a line of a section, the section being a heading's text."""
    match = re.search(rf"^{section}:?\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    found = set()
    for line in match[1].splitlines():
        if re.match(r" +-", line):
            found |= {*OPTION.findall(re.split(r"\s{2,}", line.strip())[0])}
    return found


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(("xdpdns", *path)))
def test_the_same_options_in_help_page_and_readme(pages: Path, path: tuple[str, ...]) -> None:
    help_text = CliRunner().invoke(main, [*path, "--help"], terminal_width=200).output
    in_help = options(help_text, "Options")
    assert "--help" in in_help
    assert options(shown(pages / f"{'-'.join(('xdpdns', *path))}.1"), "OPTIONS") == in_help
    reference = set(OPTION.findall(README))
    assert in_help - reference - {"-h", "--help"} == set()


def test_examples_are_the_helps(pages: Path) -> None:
    for path in COMMANDS:
        help_text = CliRunner().invoke(main, [*path, "--help"]).output
        page = [
            line.strip() for line in shown(pages / f"{'-'.join(('xdpdns', *path))}.1").split("\n")
        ]
        _, _, examples = help_text.partition("Examples:\n")
        for line in examples.partition("\n\n")[0].splitlines():
            assert line.strip() in page


def test_escape() -> None:
    assert man.escape(".x -v 'a' `b` ~other \\d") == (
        "\\&.x \\-v \\(aqa\\(aq \\(gab\\(ga \\(tiother \\ed"
    )


def test_what_escape_made_is_shown_as_it_was(tmp_path: Path) -> None:
    text = ".dot -v --web.x 'a' `b` ~other ^ \\d \\fB \"q\" %s"
    page = tmp_path / "a.1"
    page.write_text(f'.TH A 1 "2026-01-01"\n.SH NAME\na \\- b\n.SH X\n{man.escape(text)}\n')
    assert text in shown(page)


def test_a_wheel_brings_them(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=100)
    [wheel] = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        shared = {
            name.partition(".data/data/share/")[2]: archive.read(name).decode()
            for name in archive.namelist()
            if ".data/data/share/" in name
        }
        assert "xdpdns/schemas/status.json" in archive.namelist()
    assert {name for name in shared if name.startswith("man/man1/")} == {
        f"man/man1/{name}" for name in man.pages()
    }
    assert shared["bash-completion/completions/xdpdns"] == script(main, "bash")
    assert shared["zsh/site-functions/_xdpdns"] == script(main, "zsh")
    assert shared["fish/vendor_completions.d/xdpdns.fish"] == script(main, "fish")
