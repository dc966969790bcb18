"""`attach --keep`: an agent takes over from the last one, and no packet goes uncounted in between.

The old program counts until the very packet from which on the new one does; both count in the same
maps, so that the values go on. Only the hook tells whether pins are alive: see pins.py.
"""

from __future__ import annotations

import logging
import os

from xdpdns.attach import Netlink, detach_ours
from xdpdns.errors import AttachError
from xdpdns.interface import Interface
from xdpdns.loader import LoadedProgram
from xdpdns.pins import Place, layout, mount, stale
from xdpdns.program import Compiled
from xdpdns.settings import ProgramSettings

log = logging.getLogger(__name__)


class Keeper:
    """One interface's pins, locked for this agent from here to close().

    All methods belong to the thread of `netlink`.

    Raises:
        OccupiedError: another agent, or somebody else's program, has the interface.
        AttachError: absent, or down without a program of ours.
        PinError: the BPF file system can't be used.
    """

    def __init__(self, name: str, netlink: Netlink) -> None:
        self._name = name
        self._netlink = netlink
        self._interface: Interface | None = None
        mount()
        for line in remove_stale(netlink):
            log.warning("%s", line)
        link = netlink.link(name)
        self._place = Place(link.index)
        self._place.take(name)
        try:
            pinned = self._place.layouts()
            self._old = [
                (mode, ident, version)
                for mode, ident in link.programs.items()
                for version, idents in pinned.items()
                if ident in idents
            ]
            if not self._old:
                netlink.check(name)
                if self._place.remove():
                    log.warning(
                        "Stale pins under %s removed: their program is not on %s any more.",
                        self._place.folder,
                        name,
                    )
        except BaseException:
            self._place.release()
            raise

    def attach(self, mode: str, compiled: Compiled, settings: ProgramSettings) -> Interface:
        """Count on the interface, on top of what was counted so far where that can be.

        Raises:
            AttachError: the last agent's mode was another one, or see Netlink.attach().
        """
        version = layout(compiled, settings)
        if self._old:
            return self._take_over(mode, version, compiled, settings)
        program = LoadedProgram(compiled, settings)
        # Before anything can fail: close() takes back whatever is there by then.
        self._interface = Interface(self._name, program, self._netlink, self._place)
        self._place.pin(version, program.fd, program.maps)
        self._interface.attach(mode)
        self._place.attached(version)
        return self._interface

    def _take_over(
        self, mode: str, version: str, compiled: Compiled, settings: ProgramSettings
    ) -> Interface:
        [(old_mode, ident, old_version)] = self._old
        if mode not in ("auto", old_mode):
            raise AttachError(
                f"{self._name} is being counted in {old_mode} mode by a program that was kept: "
                f"`xdpdns detach {self._name}` first, or leave `--mode {mode}` away."
            )
        old = self._place.program(old_version, ident)
        try:
            maps = self._place.maps(version, compiled.maps)
            if maps is None:
                self._place.remove(version)
            program = LoadedProgram(compiled, settings, maps)
            self._interface = Interface(self._name, program, self._netlink, self._place)
            self._interface.stays = True
            self._place.pin(version, program.fd, program.maps)
            self._netlink.replace(self._name, old_mode, program.fd, old)
            self._place.attached(version)
        finally:
            os.close(old)
        self._interface.adopted(old_mode)
        if version != old_version:
            log.warning(
                "%s was being counted by an xdpdns with other options or of another version: its "
                "counters are not gone on with, but stay pinned under %s until "
                "`xdpdns detach %s`.",
                self._name,
                self._place.folder / old_version,
                self._name,
            )
        if maps is not None:
            log.info("%s: going on from the counters that were kept.", self._name)
        return self._interface

    def close(self) -> None:
        """Detach and unpin, unless the program stays; unlock."""
        if self._interface is not None:
            self._interface.detach()
        self._place.release()


def remove_stale(netlink: Netlink) -> list[str]:
    """Unpin what interfaces left that are gone, and say so."""
    return [
        f"Stale pins removed: there is no interface with the index {index} any more."
        for index in stale({link.index for link in netlink.links()})
    ]


def detach(name: str) -> list[str]:
    """Take every program of ours off an interface, unpin its counters, and say what was done.

    Raises:
        AttachError: the interface is absent.
        OccupiedError: there is a program that isn't ours; it stays.
    """
    with Netlink() as netlink:
        said = remove_stale(netlink)
        index = netlink.link(name).index
    try:
        said.append(detach_ours(name))
    finally:
        if Place(index).remove():
            said.append(f"{name}: unpinned its counters.")
    return said
