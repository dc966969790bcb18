"""What exactly runs here: `xdpdns --version`. Nothing that is slow or needs root is asked."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import re
from pathlib import Path

from xdpdns import __version__, vocab


def about() -> str:
    """Lines of a name and a version: xdpdns, its program, the kernel, BCC and Python."""
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    versions = [
        f"xdpdns {__version__}",
        f"program {program_hash(vocab.bpf_folder())}",
        kernel,
        f"BCC {bcc_version()}",
        f"Python {platform.python_version()}",
    ]
    return "\n".join(versions)


def program_hash(folder: Path) -> str:
    """The first 12 hexadecimal digits of SHA-256 over the names and texts of the BPF sources.

    Two installations with the same hash compile the same program from the same options.
    """
    made = hashlib.sha256()
    sources = [path for path in folder.rglob("*") if path.suffix in (".c", ".h")]
    for path in sorted(sources, key=lambda path: path.relative_to(folder).as_posix()):
        content = path.read_bytes()
        made.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        made.update(content)
    return made.hexdigest()[:12]


def bcc_version() -> str:
    """BCC's version by its own file, unimported: to import it takes longer than all else here."""
    spec = importlib.util.find_spec("bcc")
    if spec is None or not spec.submodule_search_locations:
        return "is not installed"
    for folder in spec.submodule_search_locations:
        path = Path(folder) / "version.py"
        if path.exists() and (found := re.search(r"__version__ = '([^']+)'", path.read_text())):
            return found[1]
    return "of an unknown version"
