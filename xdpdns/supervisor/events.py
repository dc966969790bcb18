"""What the kernel says when links come, change and go (rtnetlink(7)), as a file to poll."""

from __future__ import annotations

import errno
import socket
import struct

RTMGRP_LINK = 1
_RTM_DELLINK = 17
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHi")  # struct ifinfomsg: family, type, index, ...


class LinkEvents:
    """A socket that becomes readable with each change of a link in this network namespace.

    pyroute2's sockets run an event loop of their own; this is to be polled beside other files.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, RTMGRP_LINK))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def drain(self) -> set[int]:
        """Read all that there is; the indexes of links that were deleted or left the namespace.

        What was lost in an overflow shows when the links are looked at, but for an index that was
        given again meanwhile.
        """
        gone: set[int] = set()
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return gone
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            gone |= deleted(data)


def deleted(data: bytes) -> set[int]:
    """The interface indexes of the RTM_DELLINK messages in a datagram."""
    gone = set()
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            break
        if kind == _RTM_DELLINK and at + _HEADER.size + _LINK.size <= len(data):
            family, _, index = _LINK.unpack_from(data, at + _HEADER.size)
            # A port that leaves its bridge is a DELLINK of AF_BRIDGE, and the link stays.
            if family == socket.AF_UNSPEC:
                gone.add(index)
        at += (length + 3) & ~3
    return gone
