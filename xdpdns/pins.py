"""Programs and maps that outlive the agent: names on the BPF file system.

::

    /sys/fs/bpf/xdpdns/                          0700
        4026531840-2/                            inode of the network namespace, interface index
            3f1c0a9be27d5584/                    layout(): what the counters mean, and all options
                queries counters tlds ...        the maps
                program                          pinned last, and before it is attached
                next                             a newer program on its way to the hook
            old-3f1c0a9be27d5584/                of the same layout, but others have counted since
            link-ingress link-egress             the BPF links that hold them there, at XDP and TCX

A folder is that of the interface only if one of its programs is on the interface: the numbers of
namespaces and interfaces come back (a container's veth), the kernel's ids of programs do not. So
whatever moment an agent is killed at, the next one knows what it finds. bpffs takes no dots in
names, hence the index in place of `eth0.100`; it holds no files, hence the options as a hash.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from xdpdns import bpf_link, kernel
from xdpdns.bpffs import BPFFS, writing
from xdpdns.errors import KernelError, OccupiedError, PinError
from xdpdns.meta import meaning
from xdpdns.program import Compiled
from xdpdns.settings import ProgramSettings

ROOT = BPFFS / "xdpdns"

_PROGRAM, _NEXT = "program", "next"
_ENDS_WITHIN = 1.0
"""Seconds that a supervisor whose agent was killed may take until it has let go."""


def layout(compiled: Compiled, settings: ProgramSettings, sees: str) -> str:
    """16 hex digits that are the same for programs that may count in the same maps.

    Hashed: which packets the program `sees`, the structs, the maps, the headers that say what a
    counter stands for, and every option with what it stands for today (registered types, the list
    of TLDs).
    """
    parts = (
        sees,
        compiled.key,
        compiled.counters,
        compiled.maps,
        meaning(),
        settings.cflags(),
        settings,
        sorted(settings.allowed_tlds or ()),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class Place:
    """The pins of one interface, in the network namespace of the calling thread.

    `take()` makes the folder and locks it: one agent for an interface. The lock ends with the
    process, however it ends.
    """

    def __init__(self, index: int, root: Path = ROOT, namespace: int | None = None) -> None:
        inode = namespace or Path("/proc/thread-self/ns/net").stat().st_ino
        self.folder = root / f"{inode}-{index}"
        self._lock = -1

    def take(self, interface: str) -> None:
        """Make the folder, and lock it.

        Raises:
            OccupiedError: another agent has it, and does not end within a second.
            PinError: the file system is read-only, or not for us.
        """
        deadline = time.monotonic() + _ENDS_WITHIN
        while True:
            with writing(self.folder):
                for folder in (self.folder.parent, self.folder):
                    folder.mkdir(mode=0o700, exist_ok=True)
                locked = self.lock()
            if not locked:
                if time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
                raise OccupiedError(f"another xdpdns counts on {interface}: end that one first.")
            if os.fstat(self._lock).st_nlink:
                return
            # The last agent removed it between our opening it and our locking it.
            self.release()

    def lock(self) -> bool:
        """Lock the folder, which is there, until release(); False if another process has it."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._lock = fd
        return True

    def release(self) -> None:
        """Remove the folder if nothing is pinned in it, and unlock; may be called again."""
        if self._lock >= 0:
            with suppress(OSError):
                self.folder.rmdir()
            os.close(self._lock)
            self._lock = -1

    def layouts(self) -> dict[str, list[kernel.ProgInfo]]:
        """The programs that are pinned, by layout."""
        return {
            folder.name: [info for _, info in _programs(folder)] for folder in _folders(self.folder)
        }

    def since(self, program: int) -> float | None:
        """Since when a program's counters are there, as a Unix time; None if it is not pinned.

        They are as old as their pins, whoever has loaded the program since.
        """
        with suppress(FileNotFoundError, KernelError):  # an agent is just changing it
            for folder in _folders(self.folder):
                if program in {info.id for _, info in _programs(folder)}:
                    maps = [one for one in folder.iterdir() if one.name not in (_PROGRAM, _NEXT)]
                    return min((path.stat().st_mtime for path in maps), default=None)
        return None

    def maps(self, version: str, names: Mapping[str, object]) -> dict[str, int] | None:
        """Fds of the maps of a layout; None if they are not all there."""
        fds: dict[str, int] = {}
        try:
            for name in names:
                fds[name] = kernel.pinned(str(self.folder / version / name))
        except KernelError as error:
            for fd in fds.values():
                os.close(fd)
            if error.errno != errno.ENOENT:
                raise
            return None
        return fds

    def program(self, version: str, ident: int) -> int:
        """An fd of the pinned program with this id, which becomes `program` if it was `next`."""
        folder = self.folder / version
        for path, found in list(_programs(folder)):
            if found.id == ident:
                if path.name == _NEXT:
                    self.attached(version)
                return kernel.pinned(str(folder / _PROGRAM))
        raise PinError(f"the program {ident} is not pinned under {folder} any more: start again.")

    def pin(self, version: str, program: int, maps: Mapping[str, int]) -> None:
        """Pin a program that is to be attached next, after those of its maps that aren't yet.

        Raises:
            PinError: the file system is read-only, or not for us.
        """
        folder = self.folder / version
        with writing(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            for name, fd in maps.items():
                if not (folder / name).exists():
                    kernel.pin(fd, str(folder / name))
            (folder / _NEXT).unlink(missing_ok=True)
            kernel.pin(program, str(folder / _NEXT))

    def attached(self, version: str) -> None:
        """What was pinned last, if anything was, is on the interface now."""
        folder = self.folder / version
        with writing(folder), suppress(FileNotFoundError):
            (folder / _NEXT).rename(folder / _PROGRAM)

    def set_aside(self, version: str) -> None:
        """Keep a layout's counters for who wants to read them, and never to go on with.

        Of one layout those that counted last are kept.
        """
        folder = self.folder / version
        if folder.is_dir():
            aside = f"old-{version}"
            self.remove(aside)
            with writing(folder):
                folder.rename(folder.with_name(aside))

    def pin_link(self, direction: str, link: int) -> None:
        """Pin the BPF link that holds the program of a direction, in place of an older one."""
        before = self.link(direction)
        if before >= 0:
            same = bpf_link.link_info(before).id == bpf_link.link_info(link).id
            os.close(before)
            if same:
                return  # not for a moment is there none
        self.unpin_link(direction)
        path = self.folder / f"link-{direction}"
        with writing(self.folder):
            kernel.pin(link, str(path))

    def unpin_link(self, direction: str) -> None:
        """Have the program of a direction end with whoever holds its link open."""
        path = self.folder / f"link-{direction}"
        with writing(self.folder):
            path.unlink(missing_ok=True)

    def link(self, direction: str) -> int:
        """An fd of the pinned BPF link; -1 if there is none."""
        path = self.folder / f"link-{direction}"
        return kernel.pinned(str(path)) if path.exists() else -1

    def move(self, index: int) -> None:
        """Go on as the place of another index, with all pins: the interface was made anew.

        Raises:
            OccupiedError: that place is another agent's.
            PinError: the file system is read-only, or not for us.
        """
        target = self.folder.with_name(f"{self.folder.name.partition('-')[0]}-{index}")
        if target == self.folder:
            return
        left = Place(index, self.folder.parent)
        if target.is_dir():
            if not left.lock():
                raise OccupiedError(f"another xdpdns has the pins under {target}: end that one.")
            left.remove()
            left.release()
        with writing(target):
            self.folder = self.folder.rename(target)

    def remove(self, version: str | None = None) -> bool:
        """Unpin one layout, or all of them; whether there was anything pinned.

        With the last layout goes the folder, unless an agent (this one or another) has it.
        """
        found = False
        with writing(self.folder):
            for link in self.folder.glob("link-*") if version is None else ():
                link.unlink()
                found = True
            for folder in _folders(self.folder):
                if version in (None, folder.name):
                    for path in folder.iterdir():
                        path.unlink()
                        found = True
                    folder.rmdir()
            if version is None and self._lock < 0 and self.folder.is_dir() and self.lock():
                self.release()
        return found


def stale(
    indexes: set[int], namespaces: set[int] | None = None, root: Path = ROOT
) -> list[tuple[int, int]]:
    """Unpin what belonged to interfaces that are gone; their namespaces' inodes and indexes.

    `indexes` are those of the interfaces of this network namespace; `namespaces` the inodes of all
    that there are, None if that can't be known (netns.living()): then only this one's are tidied.
    What another process has locked stays.
    """
    own = Path("/proc/thread-self/ns/net").stat().st_ino
    gone = []
    for folder in _folders(root):
        match = re.fullmatch(r"(\d+)-(\d+)", folder.name)
        if match is None:
            continue
        namespace, index = int(match[1]), int(match[2])
        if namespace == own:
            dead = index not in indexes
        else:
            dead = namespaces is not None and namespace not in namespaces
        place = Place(index, root, namespace)
        if dead and place.lock():
            if place.remove():
                gone.append((namespace, index))
            place.release()
    return gone


def _programs(folder: Path) -> Iterator[tuple[Path, kernel.ProgInfo]]:
    for name in (_PROGRAM, _NEXT):
        path = folder / name
        if path.exists():
            fd = kernel.pinned(str(path))
            try:
                yield path, kernel.prog_info(fd)
            finally:
                os.close(fd)


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
