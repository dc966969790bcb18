"""Programs of others on all hooks of the server's eth0, which have to be there, as they were."""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack
from types import TracebackType

from pyroute2 import IPRoute

from tests.netns.lab import Lab
from xdpdns import bpf_link, kernel
from xdpdns.hooks import Found, Hooks, owner

_PARENTS = (0xFFFFFFF2, 0xFFFFFFF3)  # ingress, egress
_TCX = (bpf_link.TCX_INGRESS, bpf_link.TCX_EGRESS)
_GO_ON = {kernel.PROG_TYPE_XDP: kernel.XDP_PASS, kernel.PROG_TYPE_SCHED_CLS: kernel.TCX_NEXT}


def load(kind: int = kernel.PROG_TYPE_SCHED_CLS, name: str = "neighbour") -> int:
    """A program that lets everything go on: mov64 r0, ...; exit."""
    code = struct.pack("<BBhiBBhi", 0xB7, 0, 0, _GO_ON[kind], 0x95, 0, 0, 0)
    return kernel.prog_load(kind, name, code)


class Neighbours:
    """XDP by a BPF link; at ingress and at egress TCX links and two clsact filters.

    At TCX the second comes with `overtake()`, and before ours if ours is there. With `xdp=False`
    the XDP hook stays free.
    """

    def __init__(self, lab: Lab, *, xdp: bool = True) -> None:
        self._lab = lab
        self._stack = ExitStack()
        self._program = load()
        self._stack.callback(os.close, self._program)
        lab.server.inside(lambda: self._come(xdp))
        self.before = self.found()

    def __enter__(self) -> Neighbours:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _come(self, xdp: bool) -> None:
        with Hooks() as hooks:
            index = hooks.link("eth0").index
        if xdp:
            program = load(kernel.PROG_TYPE_XDP)
            self._stack.callback(os.close, program)
            self._hold(bpf_link.xdp_link_create(program, index, native=True))
        for hook in _TCX:
            self._hold(bpf_link.link_create(self._program, index, hook))
        with IPRoute() as route:
            route.tc("add", "clsact", index)
            for parent in _PARENTS:
                for priority, handle in ((1, 1), (49152, 7)):
                    route.tc(
                        "add-filter",
                        "bpf",
                        index,
                        handle,
                        parent=parent,
                        prio=priority,
                        fd=self._program,
                        name="neighbour",
                        direct_action=True,
                    )

    def overtake(self) -> None:
        """One more at each end of TCX, before all that are there."""

        program = load()  # one program is at a hook only once
        self._stack.callback(os.close, program)

        def come() -> None:
            with Hooks() as hooks:
                index = hooks.link("eth0").index
            for hook in _TCX:
                self._hold(bpf_link.link_create(program, index, hook))

        self._lab.server.inside(come)
        self.before = self.found()

    def _hold(self, link: int) -> None:
        self._stack.callback(os.close, link)

    def found(self, *, ours: bool = False) -> list[Found]:
        """All programs that aren't ours, or those that are, in order."""

        def look() -> list[Found]:
            with Hooks() as hooks:
                found = hooks.found(hooks.link("eth0"))
            return [one for one in found if owner.is_ours(one.program_id) == ours]

        return self._lab.server.inside(look)

    def untouched(self) -> bool:
        """Whether all of them are there, in the same order, held by the same links."""
        return self.found() == self.before
