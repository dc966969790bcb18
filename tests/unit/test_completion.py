"""Completion in the shells themselves, as far as they are installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from xdpdns.cli import main
from xdpdns.cli.completion import SHELLS, script

HEAVY = ("asyncio", "bcc", "h11", "prometheus_client", "pyroute2", "rich", "ssl", "xdpdns.app")

BASH = """
source "$SCRIPT"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { echo "files"; }
_xdpdns_completion xdpdns
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command on its own, and each shell's script."""
    made = tmp_path_factory.mktemp("completion")
    command = made / "xdpdns"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m xdpdns "$@"\n')
    command.chmod(0o755)
    for shell in SHELLS:
        (made / shell).write_text(script(main, shell))
    return made


def environment(folder: Path) -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "TERM": "dumb",
        "PYTHONPATH": str(root),
    }


def need(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


def bash(folder: Path, *words: str) -> list[str]:
    done = subprocess.run(
        [need("bash"), "--norc", "-c", BASH, "bash", *words],
        env={**environment(folder), "SCRIPT": str(folder / "bash")},
        text=True,
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("xdpdns", "att"), ["attach"]),
        (("xdpdns", "report", ""), ["edns", "rssac002"]),
        (("xdpdns", "config", "sh"), ["show"]),
        (("xdpdns", "completion", "z"), ["zsh"]),
        (("xdpdns", "attach", "--mode", "n"), ["native"]),
        (("xdpdns", "attach", "lo"), ["lo"]),
        (("xdpdns", "detach", "lo"), ["lo"]),
        (("xdpdns", "attach", "lo", "lo"), []),
        (("xdpdns", "attach", "--web.l"), ["--web.listen-address"]),
        (("xdpdns", "plan", "--labels", "af,qt"), ["af,qtype"]),
        (("xdpdns", "plan", "--labels", "qtype,qt"), []),
        (("xdpdns", "plan", "--tlds", "i"), ["iana"]),
        (("xdpdns", "attach", "--user", "nobo"), ["nobody"]),
        (("xdpdns", "samp"), ["sample"]),
        (("xdpdns", "sample", "lo"), ["lo"]),
        (("xdpdns", "sample", "--hook", "c"), ["clsact"]),
        (("xdpdns", "replay", "a"), ["files"]),
        (("xdpdns", "--config", "x"), ["files"]),
    ],
    ids=" ".join,
)
def test_bash(folder: Path, words: tuple[str, ...], wanted: list[str]) -> None:
    assert bash(folder, *words) == wanted


def test_bash_offers_every_interface(folder: Path) -> None:
    names = sorted(entry.name for entry in Path("/sys/class/net").iterdir())
    assert bash(folder, "xdpdns", "attach", "") == names


def test_a_broken_file_does_not_matter(folder: Path) -> None:
    broken = folder / "broken.toml"
    broken.write_text("[attach\n")
    assert bash(folder, "xdpdns", "--config", str(broken), "attach", "--mode", "n") == ["native"]


def test_fish(folder: Path) -> None:
    def ask(line: str) -> list[str]:
        done = subprocess.run(
            [need("fish"), "--no-config", "-c", f'source {folder}/fish; complete -C "{line}"'],
            env=environment(folder),
            text=True,
            capture_output=True,
            timeout=30,
            check=True,
        )
        return [answer.split("\t")[0] for answer in done.stdout.splitlines()]

    assert ask("xdpdns att") == ["attach"]
    assert ask("xdpdns attach lo") == ["lo"]
    assert ask("xdpdns attach --mode n") == ["native"]


def test_zsh(folder: Path) -> None:
    """Typed into an interactive zsh, with the Tab key."""
    assert typed_into_zsh(folder, "xdpdns stat\t", "xdpdns status")
    assert typed_into_zsh(folder, "xdpdns attach --mode nat\t", "xdpdns attach --mode native")


def typed_into_zsh(folder: Path, keys: str, wanted: str) -> bool:
    shell = need("zsh")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(shell, [shell, "-f", "-i"], environment(folder))
    try:
        start = f"autoload -U compinit; compinit -u -D; source {folder}/zsh; PS1='rea''dy> '\n"
        os.write(terminal, start.encode())
        if not shown(terminal, "ready> "):
            return False
        os.write(terminal, keys.encode())
        return shown(terminal, wanted)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def shown(terminal: int, wanted: str) -> bool:
    """Whether a text appears within 20 seconds."""
    seen = ""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
            if wanted in seen:
                return True
    return False


def test_the_command_prints_the_scripts() -> None:
    for shell in SHELLS:
        done = CliRunner().invoke(main, ["completion", shell])
        assert (done.exit_code, done.output) == (0, script(main, shell) + "\n")
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.parametrize(
    ("argv", "variables"),
    [
        (
            [],
            {"_XDPDNS_COMPLETE": "bash_complete", "COMP_WORDS": "xdpdns attach", "COMP_CWORD": "2"},
        ),
        (["--version"], {}),
        (["attach", "--help"], {}),
        (["completion", "bash"], {}),
    ],
    ids=["complete", "version", "help", "completion"],
)
def test_what_must_be_fast_imports_nothing_heavy(
    argv: list[str], variables: dict[str, str]
) -> None:
    code = (
        "import atexit, sys; sys.argv[0] = 'xdpdns'\n"
        "from xdpdns.cli import main\n"
        "atexit.register(lambda: print('MODULES', *sys.modules))\n"
        "main(prog_name='xdpdns')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        env={**os.environ, **variables},
        text=True,
        capture_output=True,
        timeout=30,
        check=True,
    )
    output, _, modules = done.stdout.partition("MODULES ")
    assert output
    assert set(HEAVY) & {*modules.split()} == set()
