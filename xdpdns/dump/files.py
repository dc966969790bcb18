"""A file that others read while it is replaced: they see the old one or the new one, whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from xdpdns.errors import XdpdnsError


class WriteError(XdpdnsError):
    """A file could not be written."""


def require_folder(folder: Path) -> None:
    """See that files can be put into a folder, before there is work for it.

    Raises:
        WriteError: it isn't there, or not ours to write to.
    """
    if not folder.is_dir():
        raise WriteError(f"there is no folder {folder}: make it with `mkdir -p {folder}`.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"the folder {folder} may not be written to: choose another.")


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` into `path`, readable by all (0644), atomically and so that a crash keeps it.

    The new file lies beside it for a moment, hidden and without the suffix of `path`, so that a
    collector of `*.prom` does not take it; on failure it is removed.

    Raises:
        WriteError: what the system said.
    """
    try:
        fd, name = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise WriteError(
            f"{path} could not be written ({error.strerror}): choose a folder that exists and that "
            "you may write to."
        ) from error
