"""`attach --keep`: an agent takes over from the last one, and no packet goes uncounted in between.

The old program counts until the very packet from which on the new one does; both count in the same
maps, so that the values go on. Only the hook tells whether pins are alive: see pins.py.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from xdpdns import kernel, netns
from xdpdns.bpffs import mount
from xdpdns.errors import OccupiedError
from xdpdns.holders import Holders
from xdpdns.hooks import Attachment, Direction, Found, Hooks, Link, detach_ours, owner
from xdpdns.pins import Place, layout, stale
from xdpdns.program import Compiled
from xdpdns.roles import Way
from xdpdns.settings import ProgramSettings
from xdpdns.timing import TIMED

log = logging.getLogger(__name__)

_LETS_GO_WITHIN = 1.0
"""Seconds that a supervisor whose agent was killed may take until it has ended."""

_VERB = {"ingress": "arrives", "egress": "leaves"}


@dataclass(frozen=True, slots=True)
class Old:
    """A program of ours that was kept, and the layout under which it is pinned."""

    found: Found
    version: str
    maps: frozenset[int]
    """The kernel's ids of the maps in which it counts."""


class Keeper:
    """One interface's pins, locked for this agent from here to close().

    `old` is what the last agent left on the interface, by direction. All methods belong to the
    thread of `hooks`.

    Raises:
        OccupiedError: another agent has the interface.
        PinError: the BPF file system can't be used.
    """

    def __init__(self, link: Link, hooks: Hooks) -> None:
        self._name = link.name
        self._hooks = hooks
        self._versions: dict[Way, str] = {}
        self._place = Place(link.index)
        self._place.take(link.name)
        try:
            # Until now the last agent's supervisor may have been changing it.
            link = hooks.link(link.name)
            pinned = self._place.layouts()
            self.old: dict[Direction, Old] = {
                found.direction: Old(found, version, frozenset(info.map_ids))
                for found in hooks.found(link)
                for version, programs in pinned.items()
                for info in programs
                if found.program_id == info.id
            }
        except BaseException:
            self._place.release()
            raise

    def tidy(self) -> None:
        """Unpin what was left by a program that is not on the interface any more, and say so."""
        if self._place.remove():
            log.warning(
                "Stale pins under %s removed: their program is not on %s any more.",
                self._place.folder,
                self._name,
                extra={"interface": self._name},
            )

    def maps(
        self, way: Way, compiled: Compiled, settings: ProgramSettings, entry: bool
    ) -> dict[str, int] | None:
        """Fds of the counters to go on with; None: there are none of this layout.

        Only those that the program on the hook counts in, or one that it hands over to: to go on
        from what stood still while others counted would be a leap that no traffic made. Such are
        set aside. `entry`: the program is on the hook, and sees all packets.
        """
        sees = f"{way.direction} {'all' if entry else 'rest'}"
        version = self._versions[way] = layout(compiled, settings, sees)
        old = self.old.get(way.direction)
        maps = self._place.maps(version, compiled.maps) if old else None
        if old is None or maps is None:
            self._place.remove(version)
            return None
        # Those of response times are the partner's, whose layout may be another one by now.
        own = {kernel.map_info(fd).id for name, fd in maps.items() if name not in TIMED}
        if version == old.version or own <= old.maps:
            return maps
        for fd in maps.values():
            os.close(fd)
        self._place.set_aside(version)
        return None

    def pin(self, way: Way, program: int, maps: Mapping[str, int]) -> None:
        """Pin what is to be attached next; maps() must have been called."""
        self._place.pin(self._versions[way], program, maps)

    def take_over(self, link: Link, direction: Direction, program: int) -> Attachment:
        """Swap the old program for a new one, which counts from the next packet on.

        Raises:
            OccupiedError: the old one isn't there any more.
        """
        old = self.old[direction]
        before = self._place.program(old.version, old.found.program_id)
        attachment = self._hooks.adopt(link, old.found, before, self._place.link(direction))
        try:
            self._hooks.replace(attachment, program)
        except BaseException:
            attachment.close()
            raise
        finally:
            os.close(before)
        return attachment

    def give_up(self, link: Link, direction: Direction) -> None:
        """Take an old program off that nothing takes over from."""
        old = self.old[direction]
        before = self._place.program(old.version, old.found.program_id)
        attachment = self._hooks.adopt(link, old.found, before, self._place.link(direction))
        try:
            self._hooks.detach(attachment)
        finally:
            attachment.close()
            os.close(before)

    def attached(self, attachment: Attachment) -> None:
        """What was pinned last is on the interface."""
        if attachment.link >= 0:
            self._place.pin_link(attachment.direction, attachment.link)
        for way, version in self._versions.items():
            if way.direction == attachment.direction:
                self._place.attached(version)

    def let_go(self, direction: Direction) -> None:
        """Pin no longer what holds a program on an interface that has gone, maybe elsewhere."""
        self._place.unpin_link(direction)

    def say(self, going_on: Collection[Way]) -> None:
        """Say what became of the old counters; `going_on`: the ways whose maps were there."""
        extra = {"interface": self._name}
        sides = " and ".join(dict.fromkeys(way.side for way in going_on))
        whole = len(going_on) == len(self._versions)
        if going_on:
            log.info(
                "%s: going on from the counters%s that were kept.",
                self._name,
                "" if whole else f" of {sides}",
                extra=extra,
            )
        for direction, old in self.old.items():
            if old.version in self._versions.values():
                continue
            left = [way.side for way in self._versions if way.direction == direction]
            log.warning(
                "%s: %s; what was counted stays pinned under %s until `xdpdns detach %s`.",
                self._name,
                f"{' and '.join(left)} were counted with other options or by another version of "
                "xdpdns, and begin at 0"
                if left
                else f"what {_VERB[direction]} is not counted any more",
                self._place.folder / old.version,
                self._name,
                extra=extra,
            )

    def move(self, link: Link) -> None:
        """Go on with the same pins: this is the interface now, made anew.

        Raises:
            OccupiedError: another agent has pins there, or what one left counts there.
        """
        there = Place(link.index)
        if there.folder != self._place.folder:
            pinned = {one.id for programs in there.layouts().values() for one in programs}
            if any(found.program_id in pinned for found in self._hooks.found(link)):
                raise OccupiedError(
                    f"{link.name} is being counted by what `attach --keep` left under another name "
                    f"of it: `xdpdns detach {link.name}` takes that off."
                )
        self._place.move(link.index)

    def close(self, unpin: bool) -> None:
        """Unlock, and before it unpin if nothing of it is to stay."""
        if unpin:
            self._place.remove()
        self._place.release()


def prepare(hooks: Hooks) -> None:
    """Have a BPF file system, without what interfaces left on it that are gone.

    Raises:
        PinError: it can't be mounted.
    """
    mount()
    for line in remove_stale(hooks):
        log.warning("%s", line)


def remove_stale(hooks: Hooks) -> list[str]:
    """Unpin what interfaces and network namespaces left that are gone, and say so."""
    return [
        f"Stale pins removed: there is no interface with the index {index} in the network "
        f"namespace {namespace} any more."
        for namespace, index in stale({link.index for link in hooks.links()}, netns.living())
    ]


def detach(name: str) -> list[str]:
    """Take every program of ours off an interface, unpin its counters, and say what was done.

    Raises:
        MissingNeedError: not root.
        AttachError: the interface is absent.
        OccupiedError: an agent that runs counts there, and would attach again; or there is a
            program that isn't ours; it stays.
    """
    kernel.require_root()
    with Hooks() as hooks:
        said = remove_stale(hooks)
        link = hooks.link(name)
        _refuse_running(hooks, link)
    try:
        said.append(detach_ours(name))
    finally:
        if Place(link.index).remove():
            said.append(f"{name}: unpinned its counters.")
    return said


def _refuse_running(hooks: Hooks, link: Link) -> None:
    """See that nobody has a program of ours open; an agent that was killed lets go in a moment."""
    ours = [found.program_id for found in hooks.found(link) if owner.is_ours(found.program_id)]
    deadline = time.monotonic() + _LETS_GO_WITHIN
    while running := [
        holder for each in ours if Holders().of(each) for holder in owner.held_by(each)
    ]:
        if time.monotonic() > deadline:
            raise OccupiedError(
                f"an xdpdns that runs counts on {link.name} (pid {running[0].pid}): end it, and it "
                "takes its program off; with --keep `xdpdns detach` does so after that."
            )
        time.sleep(0.02)
