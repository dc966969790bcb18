"""What the supervisor tells the agent: a datagram of JSON each, with file descriptors where needed.

Nothing goes the other way but the end of the socket.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from xdpdns import errors
from xdpdns.errors import KernelError, SupervisorError, XdpdnsError
from xdpdns.layout import Field, Layout

Direction = Literal["ingress", "egress"]

_MAX_BYTES = 1 << 16
_MAX_FDS = 64


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program of an interface with its maps, before the first State that has it attached.

    With it come the fds of the maps, and of the program where the kernel times it. `key` and
    `counters` are how the maps' structs lie. `direction` is that of the packets that it counts,
    `side` what of them.
    """

    number: int
    direction: Direction
    side: str
    maps: tuple[str, ...]
    key: Layout
    counters: Layout


@dataclass(frozen=True, slots=True)
class State:
    """How an interface is; see families.InterfaceState. An empty reason: it is counted.

    `hooks` has the mode and the program's id of each attachment.
    """

    number: int
    name: str
    reason: str
    detail: str
    hooks: dict[Direction, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """An interface that a pattern had found is gone for good."""

    number: int


@dataclass(frozen=True, slots=True)
class Started:
    """All interfaces that were named are being counted."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The start failed: an error of errors.py by name, its text and errno."""

    kind: str
    text: str
    errno: int = 0

    @classmethod
    def of(cls, error: XdpdnsError) -> Failed:
        """An exception in this form."""
        return cls(type(error).__name__, str(error), getattr(error, "errno", 0))

    def error(self) -> XdpdnsError:
        """The exception again."""
        kind = getattr(errors, self.kind, XdpdnsError)
        if issubclass(kind, KernelError):
            return kind(self.text, self.errno)
        made: XdpdnsError = kind(self.text)
        return made


@dataclass(frozen=True, slots=True)
class Alive:
    """The interfaces have been looked at: once a second or so."""


Message = Loaded | State | Forgotten | Started | Failed | Alive
_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (Loaded, State, Forgotten, Started, Failed, Alive)
}


def send(to: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        BlockingIOError: the socket does not block, and is full.
        ConnectionError: the other end is closed.
    """
    data = json.dumps([type(message).__name__, asdict(message)]).encode()
    if fds:
        socket.send_fds(to, [data], fds)
    else:
        to.send(data)


def receive(source: socket.socket) -> tuple[Message, list[int]] | None:
    """One message with its fds, which are the caller's; None at the end.

    Raises:
        BlockingIOError: the socket does not block, and is empty.
        SupervisorError: there was no room for the fds.
    """
    data, fds, flags, _ = socket.recv_fds(source, _MAX_BYTES, _MAX_FDS)
    for fd in fds:
        os.set_inheritable(fd, False)  # recv_fds() ignores MSG_CMSG_CLOEXEC (Python 3.11)
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise SupervisorError(
            "there are too many interfaces for the limit of open files: raise it "
            "(`LimitNOFILE=` in the unit, `ulimit -n` in a shell)."
        )
    if not data:
        return None
    name, fields = json.loads(data)
    if name == "Loaded":
        fields["maps"] = tuple(fields["maps"])
        for struct in ("key", "counters"):
            members = {name: Field(**one) for name, one in fields[struct]["fields"].items()}
            fields[struct] = Layout(fields[struct]["size"], members)
    return _KINDS[name](**fields), fds
