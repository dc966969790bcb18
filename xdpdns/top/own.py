"""A program of our own for as long as somebody looks: `top` on an interface without an agent.

It hangs on a BPF link (XDP 5.9, TCX 6.6), which ends with the last file descriptor of it, however
this process ends.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from dataclasses import replace

from xdpdns import bpf_link, kernel
from xdpdns.errors import AttachError, KernelError, MissingNeedError, OccupiedError
from xdpdns.hooks import Hooks, owner
from xdpdns.loader import LoadedProgram
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings


def count(name: str, settings: ProgramSettings, hooks: Hooks, stack: ExitStack) -> None:
    """Count queries on an interface until the stack unwinds.

    At XDP, in the driver where it can; where somebody else has that hook, at TCX behind it.

    Raises:
        AttachError: absent, down, or the kernel or driver can't.
        OccupiedError: an xdpdns is there already.
        MissingNeedError: not permitted, or the kernel is too old.
        CompileError: the program does not compile.
    """
    kernel.require_root()
    taken = hooks.link(name).programs.values()
    if taken and not any(map(owner.is_ours, taken)):
        hooks.check(name, "tcx")
        program = _load(replace(settings, hook="tc"), stack)
        attachment = hooks.attach(name, program.fd, "tcx")
        stack.callback(attachment.close)
        return
    link = hooks.check(name)
    program = _load(settings, stack)
    stack.callback(os.close, _attach(name, link.index, program.fd))


def _load(settings: ProgramSettings, stack: ExitStack) -> LoadedProgram:
    program = LoadedProgram(compile_program(settings), settings)
    stack.callback(program.close)
    return program


def _attach(name: str, index: int, program: int) -> int:
    """The fd of a link that holds the program at XDP."""
    try:
        return bpf_link.xdp_link_create(program, index, native=True)
    except KernelError as error:
        if error.errno in (errno.EBUSY, errno.EEXIST):
            raise OccupiedError(
                f"another XDP program came to {name} first: look with `xdpdns status`."
            ) from error
        if isinstance(error, MissingNeedError):
            raise
    try:
        return bpf_link.xdp_link_create(program, index, native=False)
    except KernelError as error:
        raise AttachError(
            f"{name} takes no XDP program by a BPF link ({os.strerror(error.errno)}; Linux 5.9 and "
            f"later can): start an agent with `xdpdns attach {name}`, and `xdpdns top` reads it."
        ) from error
