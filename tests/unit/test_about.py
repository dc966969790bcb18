"""`xdpdns --version`."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from xdpdns import __version__, vocab
from xdpdns.about import bcc_version, program_hash
from xdpdns.cli import main


def test_version() -> None:
    done = CliRunner().invoke(main, ["--version"])
    assert done.exit_code == 0
    names = dict(line.split(" ", 1) for line in done.output.splitlines())
    assert names["xdpdns"] == __version__
    assert re.fullmatch(r"[0-9a-f]{12}", names["program"])
    assert names["Linux"] == f"{platform.release()} {platform.machine()}"
    assert names["Python"] == platform.python_version()
    assert list(names) == ["xdpdns", "program", "Linux", "BCC", "Python"]


def test_bccs_version_is_what_bcc_says() -> None:
    script = "import bcc; print(bcc.__version__)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], text=True, capture_output=True
    )
    if done.returncode:
        pytest.skip("BCC is not installed")
    assert bcc_version() == done.stdout.strip()


def test_no_bcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert bcc_version() == "is not installed"
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "__init__.py").touch()
    assert bcc_version() == "of an unknown version"


def test_the_hash_is_of_names_and_texts(tmp_path: Path) -> None:
    copy = tmp_path / "bpf"
    shutil.copytree(vocab.bpf_folder(), copy)
    first = program_hash(vocab.bpf_folder())
    assert program_hash(copy) == first
    (copy / "README").write_text("not compiled")
    assert program_hash(copy) == first
    header = next(copy.glob("*.h"))
    header.write_bytes(header.read_bytes() + b" ")
    second = program_hash(copy)
    header.rename(header.with_name("other.h"))
    assert len({first, second, program_hash(copy)}) == 3
