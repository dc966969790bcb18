"""An interface as netlink shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_GETLINK

_IFF_UP = 1
_XDP_MODES = {"xdp": "native", "xdpgeneric": "generic", "xdpoffload": "offload"}


@dataclass(frozen=True, slots=True)
class Link:
    """An interface.

    `programs` has the id of the XDP program in each mode (`native`, `generic`, `offload`) that has
    one; the programs on other hooks are netlink's or bpf(2)'s to ask for, see Hooks.found().
    """

    name: str
    index: int
    up: bool
    mtu: int
    programs: dict[str, int]


def get(route: Any, **which: int | str) -> Link:
    """One interface by its `index` or `ifname`, by an IPRoute.

    Without NLM_F_ACK, which pyroute2's own "get" sets: it leaves the acknowledgement in a queue
    for good (0.9.7), 1.5 kB each time.

    Raises:
        NetlinkError: there is none, with ENODEV.
    """
    return from_message(route.link((RTM_GETLINK, NLM_F_REQUEST), **which)[0])


def from_message(message: Any) -> Link:
    """A Link from pyroute2's ifinfmsg."""
    xdp = message.get_attr("IFLA_XDP")
    programs: dict[str, int] = {}
    attached = xdp.get_attr("IFLA_XDP_ATTACHED") if xdp else None
    if attached in _XDP_MODES:
        programs[_XDP_MODES[attached]] = xdp.get_attr("IFLA_XDP_PROG_ID")
    elif attached is not None:
        for mode, attribute in (
            ("native", "IFLA_XDP_DRV_PROG_ID"),
            ("generic", "IFLA_XDP_SKB_PROG_ID"),
            ("offload", "IFLA_XDP_HW_PROG_ID"),
        ):
            if ident := xdp.get_attr(attribute):
                programs[mode] = ident
    return Link(
        name=message.get_attr("IFLA_IFNAME"),
        index=message["index"],
        up=bool(message["flags"] & _IFF_UP),
        mtu=message.get_attr("IFLA_MTU") or 0,
        programs=programs,
    )
