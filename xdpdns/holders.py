"""Which processes hold BPF programs and maps open, and what each could do if it were taken over."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_KINDS = {
    "anon_inode:bpf-prog": "prog",
    "anon_inode:bpf_link": "prog",  # a link holds a program on a hook
    "anon_inode:bpf-map": "map",
}
_IDS = re.compile(r"^(prog|map)_id:\s*(\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """A process that has a program, or one of its maps, open.

    Attributes:
        pid: its id in this process's pid namespace.
        command: the kernel's name of it, 15 bytes at most.
        uid: the effective user.
        capabilities: the effective set as 16 hexadecimal digits, CapEff of proc(5); all zero: it
            can do nothing that not every process can.
        rss_bytes: resident memory, shared pages included.
    """

    pid: int
    command: str
    uid: int
    capabilities: str
    rss_bytes: int


class Holders:
    """All such processes, as they were when this was made; fdinfo has the ids since Linux 4.13.

    A look that would take longer than so many seconds leaves the rest of the processes out.
    """

    def __init__(self, proc: Path = _PROC, seconds: float = math.inf) -> None:
        deadline = time.monotonic() + seconds
        self._pids: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._proc = proc
        for process in proc.glob("[0-9]*"):
            if time.monotonic() > deadline:
                break
            try:
                self._look_into(process)
            except OSError:
                continue  # it ended meanwhile, or is not ours to look into

    def of(self, program: int, maps: Iterable[int] = ()) -> tuple[Holder, ...]:
        """Those that hold a program or one of these maps (ids), by process id."""
        pids = set(self._pids.get(("prog", program), ()))
        for ident in maps:
            pids |= self._pids.get(("map", ident), set())
        found = (self._describe(pid) for pid in sorted(pids))
        return tuple(holder for holder in found if holder is not None)

    def _look_into(self, process: Path) -> None:
        for link in (process / "fd").iterdir():
            if wanted := _KINDS.get(str(link.readlink())):
                text = (process / "fdinfo" / link.name).read_text()
                for kind, ident in _IDS.findall(text):
                    if kind == wanted:
                        self._pids[kind, int(ident)].add(int(process.name))

    def _describe(self, pid: int) -> Holder | None:
        try:
            text = (self._proc / str(pid) / "status").read_text()
        except OSError:
            return None  # it ended meanwhile
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return Holder(
            pid=pid,
            command=fields["Name"],
            uid=int(fields["Uid"].split()[1]),
            capabilities=fields["CapEff"],
            # a process that is just ending has no memory any more
            rss_bytes=int(fields.get("VmRSS", "0 kB").split()[0]) * 1024,
        )
