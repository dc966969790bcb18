"""Programs of our own for as long as somebody looks: `top` on an interface without an agent.

Each hangs on a BPF link (XDP 5.9, TCX 6.6), which ends with the last file descriptor of it, however
this process ends.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace

from xdpdns import kernel
from xdpdns.errors import MissingNeedError
from xdpdns.hooks import Direction, Hook, Hooks, owner
from xdpdns.loader import LoadedProgram
from xdpdns.program import Compilation
from xdpdns.roles import Programs
from xdpdns.settings import ProgramSettings

log = logging.getLogger(__name__)


def count(name: str, programs: Programs, hooks: Hooks, stack: ExitStack) -> None:
    """Count on an interface until the stack unwinds.

    What arrives at XDP, in the driver where it can, or at TCX where somebody else has that hook;
    what leaves at TCX, or not at all where the kernel has none.

    Raises:
        AttachError: absent, down, or the kernel or driver can't.
        OccupiedError: an xdpdns is there already.
        MissingNeedError: not permitted, or the kernel is too old.
        CompileError: a program does not compile.
    """
    kernel.require_root()
    wanted = {}
    for way, settings in programs.items():
        try:
            wanted[way] = _where(name, way.direction, settings, hooks)
        except MissingNeedError as error:
            if way.direction == "ingress":
                raise
            log.debug("Only what arrives is counted: %s", error)
    compilations = {}
    for way, settings in wanted.items():
        # They run at the same time.
        compilations[way] = Compilation(settings)
        stack.callback(compilations[way].close)
    shared: dict[str, int] | None = None
    for way, settings in wanted.items():
        program = LoadedProgram(compilations[way].result(), settings, shared=shared)
        stack.callback(program.close)
        shared = program.maps
        hook: Hook = "xdp" if settings.hook == "xdp" else "tcx"
        stack.callback(hooks.attach(name, program.fd, hook, way.direction).close)


def _where(
    name: str, direction: Direction, settings: ProgramSettings, hooks: Hooks
) -> ProgramSettings:
    """The settings with a hook that is free."""
    taken = hooks.link(name).programs.values()
    if direction == "egress" or (taken and not any(map(owner.is_ours, taken))):
        hooks.check(name, "tcx", direction)
        return replace(settings, hook="tc")
    hooks.check(name)
    return replace(settings, hook="xdp")
