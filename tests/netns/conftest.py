"""The lab as a fixture: one for each test, so that every count begins at nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import Lab
from tests.netns.machine import install_layer


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two namespaces and a cable (see lab.py); skips without root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    with Lab() as made:
        yield made


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of this tree, as deploy/deb builds it."""
    for tool in ("dh", "dh_python3", "fakeroot"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not here: deploy/setup --dev installs it")
    deb = Path(__file__).parents[2] / "deploy" / "deb"
    argv = [deb, tmp_path_factory.mktemp("dist")]
    # as much is compressed, with less effort: 8 of 23 seconds
    env = os.environ | {"DPKG_DEB_COMPRESSOR_LEVEL": "0"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer for Machine in which that package is installed."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts an overlay")
    return install_layer(package, tmp_path_factory.mktemp("installed"))
