"""What programs are on the hooks of all interfaces, ours or not: `xdpdns status`.

Everything is the kernel's own word; nothing is asked of a running agent, so the program of an agent
that was killed is seen too.
"""

from __future__ import annotations

import errno
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from xdpdns import kernel
from xdpdns.errors import KernelError
from xdpdns.holders import Holder, Holders
from xdpdns.hooks import Found, Hooks, Link, owner
from xdpdns.pins import Place

_ROWS = {"xdpdns_queries": "queries", "xdpdns_response": "responses"}
"""What is counted by the name of its map, cut to 15 bytes in the kernel."""


@dataclass(frozen=True, slots=True)
class Rows:
    """How full the map of rows is; of two the fuller."""

    entries: int
    max_entries: int


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """A program on an interface.

    Attributes:
        hook: `xdp`, `tcx` or `clsact`.
        direction: `ingress` or `egress`.
        mode: `native`, `generic` or `offload` at XDP, else the hook again.
        id: the kernel's id of it.
        name: its name in the kernel, cut to 15 bytes there; may be empty.
        ours: whether xdpdns put it there.
        counts: `queries`, `responses` or both (roles.py); nothing for one that isn't ours.
        kept: whether it is pinned, for the next `attach --keep` to go on from.
        counting_since: since when its counters count, which after `attach --keep` may be longer
            than it is loaded.
        loaded_at: when it was loaded, which for ours is just before it was attached.
        runs: how often it ran while the kernel timed it; 0 while it never did.
        run_ns: nanoseconds that all those runs took.
        rows: None for a program that isn't ours.
        holders: the processes that hold it, or for ours a map of it, open; none: only the
            interface does.
    """

    hook: str
    direction: str
    mode: str
    id: int
    name: str
    ours: bool
    counts: tuple[str, ...]
    kept: bool
    counting_since: datetime
    loaded_at: datetime
    runs: int
    run_ns: int
    rows: Rows | None
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class InterfaceStatus:
    """An interface with the programs on it."""

    interface: str
    index: int
    up: bool
    mtu: int
    programs: tuple[ProgramStatus, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """All interfaces; `kernel_stats` is whether the sysctl has the kernel time programs."""

    interfaces: tuple[InterfaceStatus, ...]
    kernel_stats: bool


def status() -> Status:
    """Look at the network namespace that the calling thread is in.

    Raises:
        MissingNeedError: not root (CAP_SYS_ADMIN is needed to open programs by their id).
    """
    holders = Holders()
    with Hooks() as hooks:
        interfaces = [_interface(link, hooks.found(link), holders) for link in hooks.links()]
    return Status(tuple(interfaces), kernel.stats_enabled())


def to_json(status: Status) -> dict[str, Any]:
    """`{"kernel_stats": bool, "interfaces": [...]}`, the fields named as in the dataclasses.

    Times are in UTC by RFC 3339; `ns_per_run` is null where the kernel never timed the program.
    """
    made = asdict(status)
    for interface in made["interfaces"]:
        for program in interface["programs"]:
            for key in ("counting_since", "loaded_at"):
                program[key] = program[key].isoformat(timespec="seconds")
            runs = program["runs"]
            program["ns_per_run"] = round(program["run_ns"] / runs, 1) if runs else None
    return made


def _interface(link: Link, found: list[Found], holders: Holders) -> InterfaceStatus:
    programs = []
    for one in found:
        try:
            fd = kernel.prog_fd(one.program_id)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                continue  # taken off since we asked
            raise
        try:
            programs.append(_program(link, one, fd, holders))
        finally:
            os.close(fd)
    return InterfaceStatus(link.name, link.index, link.up, link.mtu, tuple(programs))


def _program(link: Link, found: Found, fd: int, holders: Holders) -> ProgramStatus:
    info = kernel.prog_info(fd)
    ours = owner.is_ours(info.id)
    maps = owner.maps_of(info) if ours else {}
    counted = {side: maps[name] for name, side in _ROWS.items() if name in maps}
    rows = [_rows(described) for described in counted.values()]
    pinned = Place(link.index).since(info.id) if ours else None
    return ProgramStatus(
        hook=found.hook,
        direction=found.direction,
        mode=found.mode,
        id=info.id,
        name=info.name,
        ours=ours,
        kept=pinned is not None,
        counting_since=datetime.fromtimestamp(pinned or info.loaded_at, UTC),
        loaded_at=datetime.fromtimestamp(info.loaded_at, UTC),
        runs=info.run_count,
        run_ns=info.run_time_ns,
        counts=tuple(counted),
        rows=max(rows, key=lambda one: one.entries / one.max_entries, default=None),
        holders=holders.of(info.id, info.map_ids if ours else ()),
    )


def _rows(described: kernel.MapInfo) -> Rows:
    fd = kernel.map_fd(described.id)
    try:
        chunks = kernel.map_lookup_batch(fd, described.key_size, described.value_size)
        entries = sum(len(keys) // described.key_size for keys, _ in chunks)
    finally:
        os.close(fd)
    return Rows(entries, described.max_entries)
