"""One interface that the agent counts on: its program, its hook, and what it says of itself."""

from __future__ import annotations

import logging
from dataclasses import replace

from xdpdns import kernel
from xdpdns.attach import Netlink
from xdpdns.errors import AttachError, OccupiedError, XdpdnsError
from xdpdns.families import InterfaceState
from xdpdns.guardian import Guardian
from xdpdns.loader import LoadedProgram
from xdpdns.pins import Place

log = logging.getLogger(__name__)


class Interface:
    """An interface with our program on it, from attach() or adopted() to detach().

    While `stays` is true, detach() leaves the program where it is; `place` has its pins.

    All methods but `read()` use netlink and belong to the thread of `netlink`.
    """

    def __init__(
        self, name: str, program: LoadedProgram, netlink: Netlink, place: Place | None = None
    ) -> None:
        self.name = name
        self.stays = False
        self._place = place
        self._program = program
        self._netlink = netlink
        self._id = program.info().id
        self._mode = ""
        self.state = InterfaceState(name, up=False, reason="starting", detail="not attached yet")

    @property
    def mode(self) -> str:
        """`native` or `generic`; empty before attach()."""
        return self._mode

    def attach(self, mode: str, guardian: Guardian | None = None) -> None:
        """Attach; see Netlink.attach(). With a guardian, the program is its to take off."""
        self._mode = self._netlink.attach(self.name, self._program.fd, mode)
        if guardian is not None:
            guardian.guard(self.name, self._mode, self._program.fd)
            self.stays = True
        self.look()

    def adopted(self, mode: str) -> None:
        """The program is attached already, and stays whatever becomes of this agent."""
        self._mode = mode
        self.stays = True
        self.look()

    def detach(self) -> None:
        """Take our program off if it is still there and needn't stay, and close it."""
        try:
            if self._mode and not self.stays:
                self._netlink.detach(self.name, self._mode, self._program.fd)
        except (AttachError, OccupiedError) as error:
            log.warning("Nothing to detach: %s", error)
        finally:
            self._mode = ""
            self._program.close()
            if self._place is not None:
                if not self.stays:
                    self._place.remove()
                self._place.release()

    def look(self) -> None:
        """Ask the kernel whether our program is still where we put it."""
        reason, detail = self._why_not()
        if reason != self.state.reason and (reason or self.state.reason != "starting"):
            log.log(
                logging.WARNING if reason else logging.INFO,
                "%s",
                detail or f"{self.name} is counted again.",
            )
        self.state = InterfaceState(
            self.name,
            up=not reason,
            reason=reason,
            detail=detail,
            mode="" if reason else self._mode,
            program_id=0 if reason else self._id,
        )

    def _why_not(self) -> tuple[str, str]:
        try:
            link = self._netlink.link(self.name)
        except XdpdnsError as error:
            return "absent", str(error)
        if link.programs.get(self._mode) == self._id:
            if link.up:
                return "", ""
            return "down", f"{self.name} is down: no packets arrive until it is up again."
        if link.programs:
            return "replaced", f"another XDP program replaced ours on {self.name}."
        return "detached", f"our program was taken off {self.name}."

    def read(self, stats: bool) -> InterfaceState:
        """The state with all counters; `stats`: the kernel is timing programs."""
        try:
            snapshot = self._program.snapshot()
            info = self._program.info()
        except XdpdnsError as error:
            return replace(self.state, error=error)
        return replace(
            self.state,
            snapshot=snapshot,
            runs=info.run_count if stats else None,
            run_seconds=info.run_time_ns / 1e9 if stats else None,
        )


def kernel_stats(forced: bool) -> bool:
    """Whether run times are being taken: we asked for it, or the sysctl is on."""
    return forced or kernel.stats_enabled()
