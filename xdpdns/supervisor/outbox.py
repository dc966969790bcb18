"""What the supervisor has to tell the agent, until the agent takes it."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from xdpdns.supervisor.messages import Forgotten, Message, send


class AgentEndedError(Exception):
    """The agent has closed its end of the socket: nothing is wanted any more."""


_Key = tuple[str, int, str, str]


@dataclass(slots=True)
class _Waiting:
    message: Message
    fds: Sequence[int]


class Outbox:
    """Messages on their way to the agent: of each kind about each interface only the latest.

    So an agent that hangs costs no memory, and doesn't keep the supervisor from its work.
    """

    def __init__(self, agent: socket.socket) -> None:
        self._agent = agent
        self._waiting: dict[_Key, _Waiting] = {}

    def put(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send it now or, if the agent is slow, later; until then the fds stay the caller's."""
        number = getattr(message, "number", 0)
        way = getattr(message, "direction", ""), getattr(message, "side", "")
        key = type(message).__name__, number, *way
        self._waiting.pop(key, None)
        if isinstance(message, Forgotten):
            for other in [other for other in self._waiting if other[1] == number]:
                del self._waiting[other]
        self._waiting[key] = _Waiting(message, fds)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes.

        Raises:
            AgentEndedError: nobody is at the other end.
        """
        for key, waiting in list(self._waiting.items()):
            try:
                send(self._agent, waiting.message, waiting.fds)
            except BlockingIOError:
                return
            except ConnectionError as error:
                raise AgentEndedError from error
            del self._waiting[key]

    def listen(self, *others: int, timeout: float) -> list[int]:
        """Those of the other descriptors that are readable, once one is or the time is over.

        Raises:
            AgentEndedError: the agent has ended.
        """
        poll = select.poll()
        for fd in (self._agent.fileno(), *others):
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(timeout * 1000)]
        if self._agent.fileno() in ready:
            raise AgentEndedError
        return ready
