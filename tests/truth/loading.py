"""The program as the agent compiles and loads it, for a reference's configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache

from tests.truth.reference import Config
from tests.truth.wire import tld_text
from xdpdns import vocab
from xdpdns.loader import LoadedProgram
from xdpdns.program import Compiled, compile_program
from xdpdns.settings import ProgramSettings

MAX_SERIES = 200_000

EXACT = Config(tlds=None, registered_only=False)
"""As `--tlds all --qtypes all`: nothing is folded."""

EXACT_RESPONSES = replace(EXACT, side="responses")

DEFAULT = Config(tlds=frozenset(tld_text(label) if label else "." for label in vocab.iana_tlds()))
"""As by default. The list of TLDs is the program's; which of them a name has is decided twice."""

DEFAULT_RESPONSES = replace(DEFAULT, side="responses")


def settings(config: Config) -> ProgramSettings:
    """The options that mean `config`, one of those above but for ports and edges."""
    return ProgramSettings(
        side=config.side,
        labels=vocab.SIDES[config.side],
        ports=tuple(sorted(config.ports)),
        encrypted=tuple(config.encrypted),
        edns_edges=config.edges,
        tlds="all" if config.tlds is None else "iana",
        qtypes="registered" if config.registered_only else "all",
        max_series=MAX_SERIES,
    )


@cache
def compiled(chosen: ProgramSettings) -> Compiled:
    """Compile once a session."""
    return compile_program(chosen)


@contextmanager
def load(chosen: ProgramSettings) -> Iterator[LoadedProgram]:
    """A program with fresh maps."""
    program = LoadedProgram(compiled(chosen), chosen)
    try:
        yield program
    finally:
        program.close()


def loaded(config: Config) -> AbstractContextManager[LoadedProgram]:
    """A program with fresh maps, for this configuration."""
    return load(settings(config))
