"""Whose program is it? What the kernel, the pins and /proc say of a BPF program, in words.

All of it is read on an error's way only, and bounded: a machine may have very many pins, links and
processes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from xdpdns import bpf_link, kernel
from xdpdns.errors import KernelError, MissingNeedError
from xdpdns.holders import Holder, Holders
from xdpdns.hooks.link import Link

_PREFIX = "xdpdns_"
_DISPATCHER = "xdp_dispatcher"
"""The program by which libxdp has several programs share the hook.

Its list is in its read-only data and so fixed; each program is another one's freplace extension,
loaded for this dispatcher. So libxdp makes a new dispatcher, attaches all programs to it once more
and swaps, under a lock of its own; and again when one leaves, which a process that was killed can't
do. That is why we don't join.
"""

_MOUNTS = Path("/proc/self/mounts")
_MOST_PINS, _MOST_LINKS, _MOST_SECONDS = 2000, 1000, 0.5


def taken(link: Link, ident: int, mode: str) -> str:
    """Why an XDP hook can't be had: who has it, and what to do."""
    if is_ours(ident):
        return counted_already(link.name, ident, f"{mode} mode")
    told = ", ".join((describe(ident), f"{mode} mode", *_traces(ident)))
    tcx = "`--hook tcx` counts the same packets after the XDP program, those that it passes"
    if _is_dispatcher(ident):
        names = _dispatched(link.index, ident)
        runs = f", which runs {', '.join(names)}" if names else ""
        return (
            f"the XDP hook of {link.name} belongs to libxdp's dispatcher ({told}){runs}: a program "
            "joins only by replacing the whole dispatcher with one that is built anew, and xdpdns "
            f"replaces nobody's program; {tcx}."
        )
    return (
        f"{link.name} has an XDP program already ({told}): xdpdns never replaces another's; "
        f"detach it with the tool that put it there, or {tcx}."
    )


def counted_already(interface: str, ident: int, where: str) -> str:
    """Why a second xdpdns is refused: the first one runs, was kept, or was killed."""
    if running := held_by(ident):
        # The agent comes first: the supervisor, whose program it is, is its child.
        why = f"by the xdpdns that runs as pid {running[0].pid}: end that one first."
    elif pins(ident):
        why = (
            f"by what `attach --keep` left: `xdpdns attach {interface} --keep` goes on from its "
            f"counters, `xdpdns detach {interface}` removes them."
        )
    else:
        why = f"by an xdpdns that was killed: `xdpdns detach {interface}` removes its program."
    return f"{interface} is being counted already ({describe(ident)}, {where}) {why}"


def held_by(ident: int) -> tuple[Holder, ...]:
    """The processes that have a program of ours or its maps: an agent has only some of these."""
    maps: list[int] = []
    with suppress(KernelError):
        fd = kernel.prog_fd(ident)
        try:
            maps = [one.id for one in maps_of(kernel.prog_info(fd)).values()]
        finally:
            os.close(fd)
    return Holders(seconds=_MOST_SECONDS).of(ident, maps)


def describe(ident: int) -> str:
    """A program for people: its id and name."""
    try:
        name = name_of(ident)
    except MissingNeedError:
        return f"program {ident}, whose name `sudo xdpdns status` shows"
    if name is None:
        return f"program {ident}"
    return f"program {ident}, {name or 'without a name'}"


def name_of(ident: int) -> str | None:
    """A program's name in the kernel, cut to 15 bytes there; None if it has gone.

    Raises:
        MissingNeedError: not permitted (CAP_SYS_ADMIN opens programs by their id).
    """
    try:
        fd = kernel.prog_fd(ident)
    except MissingNeedError:
        raise
    except KernelError:
        return None
    try:
        return kernel.prog_info(fd).name
    finally:
        os.close(fd)


def is_ours(ident: int) -> bool:
    """Whether a program in the kernel is xdpdns's: by its name and its maps' names.

    Without CAP_SYS_ADMIN, which opens programs by their id, none is known to be.
    """
    try:
        fd = kernel.prog_fd(ident)
    except KernelError:
        return False
    try:
        info = kernel.prog_info(fd)
        return info.name.startswith(_PREFIX) and any(
            name.startswith(_PREFIX) for name in maps_of(info)
        )
    finally:
        os.close(fd)


def maps_of(info: kernel.ProgInfo) -> dict[str, kernel.MapInfo]:
    """The maps of a program by name; those that vanish meanwhile are left out."""
    found = {}
    for ident in info.map_ids:
        try:
            fd = kernel.map_fd(ident)
        except KernelError:
            continue
        try:
            described = kernel.map_info(fd)
        finally:
            os.close(fd)
        found[described.name] = described
    return found


def pins(ident: int) -> list[Path]:
    """Where a program, or a link that holds it, is pinned on the BPF file systems seen here."""
    return [path for path, found in islice(_pinned(), _MOST_PINS) if found == ident]


def links(ident: int) -> list[int]:
    """The ids of the BPF links that hold a program on a hook."""
    found = []
    try:
        for link in islice(bpf_link.link_ids(), _MOST_LINKS):
            try:
                fd = bpf_link.link_fd(link)
            except KernelError as error:
                if error.errno == errno.ENOENT:
                    continue  # it went meanwhile
                raise
            try:
                if bpf_link.link_info(fd).program_id == ident:
                    found.append(link)
            finally:
                os.close(fd)
    except KernelError:
        # Before 5.8, or without CAP_SYS_ADMIN: nothing is known of links.
        return []
    return found


def _traces(ident: int) -> Iterator[str]:
    """Where else a program is known: links, pins, processes; the first few of each."""
    for link in links(ident)[:1]:
        yield f"held by the BPF link {link}"
    for path in pins(ident)[:2]:
        yield f"pinned at {path}"
    for holder in Holders(seconds=_MOST_SECONDS).of(ident)[:2]:
        yield f"held by {holder.command} (pid {holder.pid})"


def _is_dispatcher(ident: int) -> bool:
    try:
        return name_of(ident) == _DISPATCHER
    except MissingNeedError:
        return False


def _dispatched(index: int, ident: int) -> list[str]:
    """The names of the programs that a dispatcher runs, by libxdp's pins."""
    found = []
    for mount in _mounts():
        for path in sorted((mount / "xdp" / f"dispatch-{index}-{ident}").glob("*-prog")):
            program = _program_of(path)
            if program is not None:
                found.append(name_of(program) or path.name)
    return found


def _mounts() -> list[Path]:
    """Where BPF file systems are mounted, seen from here."""
    lines = (line.split() for line in _MOUNTS.read_text().splitlines())
    # \040 stands for a space, and so on
    return [
        Path(path.encode().decode("unicode_escape")) for _, path, kind, *_ in lines if kind == "bpf"
    ]


def _pinned() -> Iterator[tuple[Path, int | None]]:
    """Every pin with the id of its program; None for maps and what can't be opened."""
    for mount in _mounts():
        for parent, _, files in os.walk(mount):
            for name in files:
                path = Path(parent, name)
                yield path, _program_of(path)


def _program_of(path: Path) -> int | None:
    try:
        fd = kernel.pinned(str(path))
    except KernelError:
        return None
    try:
        kind = str(Path(f"/proc/self/fd/{fd}").readlink())
        if kind.startswith("anon_inode:bpf-prog"):
            return kernel.prog_info(fd).id
        if kind.startswith("anon_inode:bpf_l"):
            return bpf_link.link_info(fd).program_id
        return None
    finally:
        os.close(fd)
