"""A child with no network face that takes programs off when the agent ends, however it ends.

Detaching needs CAP_NET_ADMIN, which the agent gives up before it speaks HTTP. So a child keeps it:
it listens to nobody but its parent, is told once for each program, and then waits for the other
end of a socket to be closed. That also happens when the agent is killed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys

from xdpdns import netns, privileges
from xdpdns.attach import Netlink
from xdpdns.errors import XdpdnsError

log = logging.getLogger(__name__)


class Guardian:
    """The parent's view of the child. Must be made before the process has threads.

    `namespace` is that of the interfaces, None for this process's own.
    """

    def __init__(self, namespace: str | None) -> None:
        self._socket, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            _child(theirs, namespace)
        theirs.close()

    def guard(self, interface: str, mode: str, program: int) -> None:
        """Have a program taken off an interface at the end; returns when the child knows of it.

        Raises:
            ConnectionError: the child has gone.
        """
        message = json.dumps([interface, mode]).encode()
        socket.send_fds(self._socket, [message], [program])
        if not self._socket.recv(1):
            raise ConnectionResetError("the guardian has gone")

    def close(self) -> None:
        """Have all programs taken off now, and wait until they are."""
        self._socket.close()
        os.waitpid(self.pid, 0)


def _child(parent: socket.socket, namespace: str | None) -> None:
    """Wait, detach, and end without running anybody's exit handlers."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Ctrl-C and systemd's stop reach the child too: the parent's end is what counts.
            signal.signal(number, signal.SIG_IGN)
        if namespace is not None:
            netns.enter(namespace)  # before its file may be closed
        # Whatever else the agent has open then (the compiler's pipe) is not held open here.
        os.closerange(3, parent.fileno())
        os.closerange(parent.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        _guard(parent)
        code = 0
    except (XdpdnsError, OSError) as error:
        log.warning("Nothing to detach: %s", error)
    except BaseException:
        log.exception("The guardian failed: this is a bug in xdpdns.")
    finally:
        os._exit(code)


def _guard(parent: socket.socket) -> None:
    privileges.drop(privileges.CAP_NET_ADMIN)
    guarded: list[tuple[str, str, int]] = []
    while True:
        message, fds, _, _ = socket.recv_fds(parent, 4096, 1)
        if not message:
            break
        interface, mode = json.loads(message)
        guarded.append((interface, mode, fds[0]))
        parent.send(b"k")
    if not guarded:
        return
    with Netlink() as netlink:
        for interface, mode, program in reversed(guarded):
            try:
                netlink.detach(interface, mode, program)
            except XdpdnsError as error:
                log.warning("Nothing to detach: %s", error)
