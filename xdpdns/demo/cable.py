"""A nameserver's machine and a client's as two private network namespaces, joined by a cable.

Both namespaces have no name: they end with this process, however it ends, and so do the interfaces
in them. The cable is silent until somebody speaks, since every packet is going to be counted:
neighbours are static, and without ARP IPv6 neither looks for neighbours nor joins groups. The
addresses are those for documentation (RFC 5737, RFC 3849), the MAC addresses locally administered.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from xdpdns import netns
from xdpdns.errors import AttachError

PORT = 53

# linux/if.h, linux/if_link.h, linux/neighbour.h, linux/if_addr.h
_IFF_UP, _IFF_NOARP = 0x1, 0x80
_ADDR_GEN_MODE_NONE = 1
_NUD_PERMANENT = 0x80
_IFA_F_NODAD = 0x02  # usable at once, also while the far end is not up


@dataclass(frozen=True, slots=True)
class End:
    """One end's addresses."""

    ipv4: str
    ipv6: str
    mac: str


SERVER = End("192.0.2.1", "2001:db8::1", "02:00:00:00:00:01")
CLIENT = End("192.0.2.2", "2001:db8::2", "02:00:00:00:00:02")


class Cable:
    """Two namespaces, `server` and `client` (fds), with an interface eth0 in each.

    On the server UDP sockets are bound to port 53 that nobody reads: queries end there in silence,
    and are counted all the same.

    Raises, when it is entered:
        MissingNeedError: no permission to make namespaces.
        AttachError: the kernel can't make such a network (no veth, no IPv6).
    """

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.server = self._namespace(stack)
            self.client = self._namespace(stack)
            try:
                netns.inside(self.server, self._lay)
                netns.inside(self.client, lambda: _configure(CLIENT, SERVER))
                sinks = netns.inside(self.server, lambda: _sockets(SERVER, PORT))
            except (NetlinkError, OSError) as error:
                raise AttachError(
                    f"the private network could not be made ({error}): the kernel needs veth and "
                    "IPv6 for it."
                ) from error
            for one in sinks.values():
                stack.callback(one.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def client_sockets(self) -> dict[str, socket.socket]:
        """UDP sockets of the client, one for each family; the caller closes them."""
        return netns.inside(self.client, lambda: _sockets(CLIENT, 0))

    def _lay(self) -> None:
        peer = {"ifname": "eth0", "address": CLIENT.mac, "net_ns_fd": self.client}
        with IPRoute() as route:
            route.link("add", ifname="eth0", kind="veth", address=SERVER.mac, peer=peer)
        _configure(SERVER, CLIENT)

    @staticmethod
    def _namespace(stack: ExitStack) -> int:
        fd = netns.create()
        stack.callback(os.close, fd)
        return fd


def _configure(own: End, far: End) -> None:
    silent = {
        "attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)]})]
    }
    flags = _IFF_UP | _IFF_NOARP
    with IPRoute() as route:
        route.link("set", index=route.link_lookup(ifname="lo")[0], state="up")
        [index] = route.link_lookup(ifname="eth0")
        route.link("set", index=index, IFLA_AF_SPEC=silent)
        route.link("set", index=index, flags=flags, change=flags)
        for address, prefix, neighbour in ((own.ipv4, 24, far.ipv4), (own.ipv6, 64, far.ipv6)):
            route.addr("add", index=index, address=address, prefixlen=prefix, flags=_IFA_F_NODAD)
            route.neigh(
                "replace", dst=neighbour, lladdr=far.mac, ifindex=index, state=_NUD_PERMANENT
            )


def _sockets(own: End, port: int) -> dict[str, socket.socket]:
    made: dict[str, socket.socket] = {}
    for af, family, address in (
        ("ipv4", socket.AF_INET, own.ipv4),
        ("ipv6", socket.AF_INET6, own.ipv6),
    ):
        made[af] = socket.socket(family, socket.SOCK_DGRAM)
        made[af].bind((address, port))
    return made
