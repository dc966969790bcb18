"""Spares a test the compiler where another test of the same run has compiled the same program.

It lies in the folder XDPDNS_TEST_CACHE, from where it is the same byte for byte; the child that
compiles is there as ever, and hands it over. Half of what it costs to start an agent is saved.
Python imports a module of this name when it starts, if it finds one (PYTHONPATH): so agents have
it, and pytest itself by tests/conftest.py. What is to be compiled all the same runs without that
variable (actors.COMPILES).
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

MODULE = "xdpdns.program"
FOLDER = "XDPDNS_TEST_CACHE"


class Finder(MetaPathFinder):
    """Finds the module where it is, and changes it once it is imported, if it ever is."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.loader is not None
        loader: Any = spec.loader
        run = loader.exec_module

        def exec_module(module: Any) -> None:
            run(module)
            module._compile = cached(module._compile)

        loader.exec_module = exec_module
        return spec


def cached(compile_: Any) -> Any:
    """The function, asked once for each program."""

    def look(settings: Any) -> Any:
        # in the child: what these import is no memory of the agent
        import os
        import pickle
        from hashlib import sha256
        from pathlib import Path

        from xdpdns import kernel, vocab

        if FOLDER not in os.environ:
            return compile_(settings)
        key = sha256(f"{settings} {kernel.cpu_numbers()}".encode())
        for source in sorted(vocab.bpf_folder().rglob("*.[ch]")):
            key.update(source.read_bytes())
        path = Path(os.environ[FOLDER], key.hexdigest())
        try:
            return pickle.loads(path.read_bytes())
        except OSError:  # not yet, or this user may not read there
            made = compile_(settings)
        if os.access(path.parent, os.W_OK):
            own = path.with_suffix(f".{os.getpid()}")
            own.write_bytes(pickle.dumps(made))
            own.rename(path)
        return made

    return look


sys.meta_path.insert(0, Finder())
