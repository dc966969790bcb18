"""Interfaces and their drivers: who drives one, and whether that driver runs XDP natively."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from dataclasses import dataclass

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from xdpdns.errors import MissingNeedError
from xdpdns.hooks import Found, Hooks, Link, owner

# linux/sockios.h, linux/ethtool.h
_SIOCETHTOOL = 0x8946
_ETHTOOL_GDRVINFO = 3
_DRVINFO_SIZE = 196

# linux/netdev.h (6.3)
_NETDEV_CMD_DEV_GET = 1
_XDP_ACT_BASIC = 1

BEFORE_NETDEV = frozenset(
    # Kernels before 6.3 don't say; these ran XDP in some release up to 6.2 (their ndo_bpf).
    (
        *("atlantic", "bnxt_en", "bonding", "ena", "fsl_dpa", "fsl_dpaa2_eth", "fsl_enetc"),
        *("hv_netvsc", "i40e", "ice", "igb", "igc", "ixgbe", "ixgbevf", "mlx4_en", "mlx5_core"),
        *("mvneta", "mvpp2", "netsec", "nfp", "nicvf", "qede", "sfc", "stmmac", "tun", "veth"),
        *("vif", "virtio_net"),
    )
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program on an interface: its hook, what it is, whether xdpdns put it there.

    `mode` is `native`, `generic` or `offload` at XDP, else `tcx` or `clsact`.
    """

    mode: str
    direction: str
    name: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Device:
    """An interface, seen by whoever wants to attach to it.

    `driver` is empty for those that have none (lo); `native` is whether the driver runs XDP, None
    if the kernel can't be asked and the driver isn't known.
    """

    interface: str
    up: bool
    driver: str
    native: bool | None
    programs: tuple[Program, ...]


class _Netdev(genlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """A message of the generic netlink family `netdev`, as far as it is used."""

    nla_map = (
        ("UNSPEC", "none"),
        ("IFINDEX", "uint32"),
        ("PAD", "hex"),
        ("XDP_FEATURES", "uint64"),
    )


def devices() -> list[Device]:
    """All interfaces of the network namespace that the calling thread is in."""
    features = xdp_features()
    with Hooks() as hooks:
        return [_device(link, _found(hooks, link), features) for link in hooks.links()]


def _found(hooks: Hooks, link: Link) -> list[Found]:
    try:
        return hooks.found(link)
    except MissingNeedError:  # only XDP programs are shown to everybody
        return [Found("xdp", "ingress", mode, ident) for mode, ident in link.programs.items()]


def _device(link: Link, found: list[Found], features: dict[int, int] | None) -> Device:
    name = driver(link.name)
    native: bool | None
    if features is not None:
        native = bool(features.get(link.index, 0) & _XDP_ACT_BASIC)
    else:
        native = True if name in BEFORE_NETDEV else None
    programs = tuple(
        Program(
            one.mode, one.direction, owner.describe(one.program_id), owner.is_ours(one.program_id)
        )
        for one in found
    )
    return Device(link.name, link.up, name, native, programs)


def driver(interface: str) -> str:
    """The name of an interface's driver (ETHTOOL_GDRVINFO); empty if it has none."""
    info = ctypes.create_string_buffer(struct.pack("=I", _ETHTOOL_GDRVINFO), _DRVINFO_SIZE)
    request = struct.pack("16sP", interface.encode(), ctypes.addressof(info))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            fcntl.ioctl(one, _SIOCETHTOOL, request.ljust(40, b"\0"))
        except OSError:
            return ""
    return info.raw[4:36].split(b"\0")[0].decode(errors="replace")


def xdp_features() -> dict[int, int] | None:
    """What each interface's driver can do with XDP, by interface index (enum netdev_xdp_act).

    None where the kernel has no such question yet (before 6.3).
    """
    with GenericNetlinkSocket() as one:
        try:
            one.bind("netdev", _Netdev)
            message = _Netdev()
            message["cmd"], message["version"] = _NETDEV_CMD_DEV_GET, 1
            answers = one.nlm_request(
                message, msg_type=one.prid, msg_flags=NLM_F_REQUEST | NLM_F_DUMP
            )
            return {a.get_attr("IFINDEX"): a.get_attr("XDP_FEATURES") or 0 for a in answers}
        except (NetlinkError, OSError):
            return None
