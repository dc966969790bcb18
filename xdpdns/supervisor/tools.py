"""What the supervisor attaches with, wherever it attaches."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdpdns.hooks import Direction, Hook, Hooks
from xdpdns.program import Compiled
from xdpdns.roles import Programs, Way, directions
from xdpdns.settings import ProgramSettings


@dataclass(frozen=True, slots=True)
class Tools:
    """What all interfaces have in common.

    `programs` is what each interface is to have. `hook` is that of the ingress; `mode` is only for
    XDP. `compiled` is filled when the compiler is done.
    """

    hooks: Hooks
    programs: Programs
    hook: Hook
    mode: str
    keep: bool
    compiled: dict[ProgramSettings, Compiled] = field(default_factory=dict)

    @property
    def entries(self) -> dict[Direction, Way]:
        """Of each direction that is counted the program that is on its hook."""
        return directions(self.programs)

    def hook_of(self, direction: Direction) -> Hook:
        """The hook in a direction: XDP sees no packets that leave."""
        if direction == "egress" and self.hook == "xdp":
            return self.hooks.at_tc()
        return self.hook
