"""Addresses to listen on: reading them, and binding them."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xdpdns.errors import ListenError, SettingsError

BACKLOG = 1024

_SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]

_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_MEND = {
    errno.EADDRINUSE: "stop what listens there (`ss -ltnp` names it) or give another port",
    errno.EACCES: "give a port above 1023, or run as root",
    errno.EADDRNOTAVAIL: "give an address that this machine has (`ip address` lists them)",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; an empty host is every address of the machine, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `:10530`, `127.0.0.1:10530`, `[::1]:10530` or `name:10530`; port 0 is any free one.

    Raises:
        SettingsError: it is none of these.

    """
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+(?:%[^\]\s]+)?)\]|([^\s:\[\]]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise SettingsError(
            f"{text!r} is no address to listen on: write :PORT, ADDRESS:PORT or [IPV6]:PORT, "
            "with a port up to 65535."
        )
    return Address(match[1] or match[2] or "", int(match[3]))


def bind(addresses: Iterable[Address]) -> list[socket.socket]:
    """Bind and listen on all of the addresses; the sockets don't block.

    Raises:
        ListenError: one of them can't be had; then none is.

    """
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets += _bind(address)
    except ListenError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _bind(address: Address) -> list[socket.socket]:
    bound: list[socket.socket] = []
    refusal: OSError | None = None
    try:
        for family, sockaddr in _candidates(address):
            try:
                bound.append(_listen(family, sockaddr, both=not address.host))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                refusal = error  # a name may have an address that this machine hasn't
            if bound and not address.host:
                break
        if refusal is not None and not bound:
            raise refusal
    except OSError as error:
        for one in bound:
            one.close()
        mend = _MEND.get(error.errno or 0, "give another --web.listen-address")
        raise ListenError(f"Can't listen on {address} ({error.strerror}): {mend}.") from error
    return bound


def _candidates(address: Address) -> Iterator[tuple[int, _SocketAddress]]:
    if not address.host:
        yield socket.AF_INET6, ("::", address.port)
        yield socket.AF_INET, ("0.0.0.0", address.port)  # noqa: S104 - where there is no IPv6
        return
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, _, _, _, sockaddr in dict.fromkeys(found):
        yield family, sockaddr


def _listen(family: int, sockaddr: _SocketAddress, both: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # whoever writes [::] may want 0.0.0.0 as well
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        made.bind(sockaddr)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def name_of(listener: socket.socket) -> str:
    """Name the address that a socket is bound to, as :func:`parse_address` reads it."""
    host, port = listener.getsockname()[:2]
    return str(Address(host, port))
