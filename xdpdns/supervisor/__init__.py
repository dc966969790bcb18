"""The process that loads, attaches, watches and detaches; the agent only reads and serves.

::

    compiler's child -> SUPERVISOR -> agent -> HTTP
                          netlink       maps, by the fds that it was given

The supervisor has the capabilities and no network face: it listens to nobody, and it ends when the
agent ends, however that does; then it takes its programs off, unless they are to stay. The agent
has none of its power, and never touches netlink.

This module is the agent's side. It imports nothing of the supervisor's before the fork.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xdpdns import netns
from xdpdns.errors import SupervisorError, XdpdnsError
from xdpdns.supervisor.messages import Failed, Message, receive, send

if TYPE_CHECKING:
    from xdpdns.app import AgentSettings

log = logging.getLogger(__name__)


class Supervisor:
    """The agent's view of the child. Must be made before the process has threads.

    Attributes:
        pid: the child's process id.
        heard: when it said something last, by time.monotonic().
    """

    def __init__(self, settings: AgentSettings, since_exec: Callable[[], float]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        self.heard = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            _child(settings, theirs, since_exec)
        theirs.close()

    def fileno(self) -> int:
        """The descriptor to poll: readable when there is a message, or the child has ended."""
        return self._socket.fileno()

    def receive(self, block: bool = True) -> tuple[Message, list[int]]:
        """The next message and its fds, which are the caller's.

        Raises:
            BlockingIOError: there is none yet, and it is not to be waited for.
            SupervisorError: it has ended.
            XdpdnsError: the start failed, for this reason.
        """
        self._socket.setblocking(block)
        try:
            received = receive(self._socket)
        except ConnectionError:
            received = None
        if received is None:
            raise SupervisorError(
                "the process that watches the interfaces has ended, and with it this agent: start "
                "it again (the log says why, or the kernel's: `dmesg | grep -i kill`)."
            )
        message = received[0]
        if isinstance(message, Failed):
            raise message.error()
        self.heard = time.monotonic()
        return received

    def close(self) -> None:
        """Have it end its work (detach, unless it is to stay), and wait until it has."""
        self._socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _child(settings: AgentSettings, agent: socket.socket, since_exec: Callable[[], float]) -> None:
    """Be the supervisor, and end without running anybody's exit handlers but the log's."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Ctrl-C and systemd's stop reach the child too: the agent's end is what counts.
            signal.signal(number, signal.SIG_IGN)
        try:
            _enter(settings.netns, agent)
            from xdpdns.program import Compilation

            # The compilers are what takes longest: they start before pyroute2 is imported.
            compilations = {
                one: Compilation(one) for one in dict.fromkeys(settings.programs.values())
            }
            from xdpdns.supervisor import child

            child.supervise(settings, agent, compilations, since_exec)
        except XdpdnsError as error:
            send(agent, Failed.of(error))
        code = 0
    except BaseException:
        log.exception("The supervisor failed: this is a bug in xdpdns.")
    finally:
        logging.shutdown()
        os._exit(code)


def _enter(namespace: str | None, agent: socket.socket) -> None:
    """Go where the interfaces are, and close everything that was inherited but the socket.

    Above all the listeners: an agent that is killed must leave its port free at once.

    Raises:
        AttachError: there is no such network namespace.
    """
    if namespace is not None:
        netns.enter(namespace)  # before its file may be closed
    # Not by os.closerange(): there may be 2^30, a minute's work where close_range(2) is missing.
    for fd in [int(one.name) for one in Path("/proc/self/fd").iterdir()]:
        if fd > 2 and fd != agent.fileno():
            with suppress(OSError):  # the folder's own
                os.close(fd)
