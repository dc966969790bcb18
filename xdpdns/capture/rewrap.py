"""Every link type that carries IP, made Ethernet: that is what an XDP program sees.

The fourteen bytes of an Ethernet header are written over the link header (and, where that is
shorter, over the file's record header in front of it), so nothing is copied or moved.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xdpdns.capture.batch import Batch
from xdpdns.errors import CaptureError

ETHERNET_HEADER = 14

_ADDRESSES = bytes(12)
_IPV4 = _ADDRESSES + b"\x08\x00"
_IPV6 = _ADDRESSES + b"\x86\xdd"
# An 802.3 frame of length 0: no Ethernet type, so whatever follows is not IP.
_NOT_IP = _ADDRESSES + b"\x00\x00"

# if_arp.h types whose cooked packets have another number where the Ethernet type would be
# (LINKTYPE_LINUX_SLL): Frame Relay, radiotap, netlink.
_ARPHRD_NO_ETHERTYPE = {b"\x03\x02", b"\x03\x23", b"\x03\x38"}

# PF_INET is 2 everywhere; PF_INET6 is Linux's, NetBSD's and OpenBSD's, FreeBSD's, Darwin's.
_FAMILIES = {2: _IPV4, 10: _IPV6, 24: _IPV6, 28: _IPV6, 30: _IPV6}

_VERSIONS = {4: _IPV4, 6: _IPV6}


def _cooked_v1(buffer: bytearray, at: int) -> bytes:
    if bytes(buffer[at + 2 : at + 4]) in _ARPHRD_NO_ETHERTYPE:
        return _NOT_IP
    return _ADDRESSES + buffer[at + 14 : at + 16]


def _cooked_v2(buffer: bytearray, at: int) -> bytes:
    if bytes(buffer[at + 8 : at + 10]) in _ARPHRD_NO_ETHERTYPE:
        return _NOT_IP
    return _ADDRESSES + buffer[at : at + 2]


def _null(buffer: bytearray, at: int) -> bytes:
    # In the byte order of the machine that captured: the smaller reading is the right one.
    number = bytes(buffer[at : at + 4])
    family = min(int.from_bytes(number, "little"), int.from_bytes(number, "big"))
    return _FAMILIES.get(family, _NOT_IP)


def _loop(buffer: bytearray, at: int) -> bytes:
    return _FAMILIES.get(int.from_bytes(buffer[at : at + 4], "big"), _NOT_IP)


def _raw(buffer: bytearray, at: int) -> bytes:
    return _VERSIONS.get(buffer[at] >> 4, _NOT_IP)


def _raw_ipv4(buffer: bytearray, at: int) -> bytes:
    return _IPV4


def _raw_ipv6(buffer: bytearray, at: int) -> bytes:
    return _IPV6


LINK_HEADERS: dict[int, tuple[int, Callable[[bytearray, int], bytes]]] = {
    0: (4, _null),  # LINKTYPE_NULL
    12: (0, _raw),  # DLT_RAW, as some systems wrote it
    14: (0, _raw),  # DLT_RAW on OpenBSD
    101: (0, _raw),  # LINKTYPE_RAW
    108: (4, _loop),  # LINKTYPE_LOOP
    113: (16, _cooked_v1),  # LINKTYPE_LINUX_SLL
    228: (0, _raw_ipv4),  # LINKTYPE_IPV4
    229: (0, _raw_ipv6),  # LINKTYPE_IPV6
    276: (20, _cooked_v2),  # LINKTYPE_LINUX_SLL2
}
"""LINKTYPE_ number -> bytes of its header, and what makes the Ethernet header from it."""

ETHERNET = 1

NAMES = {
    3: "AX.25",
    6: "IEEE 802.5 Token Ring",
    7: "ARCNET",
    8: "SLIP",
    9: "PPP",
    10: "FDDI",
    50: "PPP in HDLC-like framing",
    51: "PPPoE",
    100: "LLC-encapsulated ATM",
    104: "Cisco HDLC",
    105: "IEEE 802.11",
    107: "Frame Relay",
    109: "OpenBSD IPsec",
    117: "OpenBSD pflog",
    119: "IEEE 802.11 with Prism header",
    127: "IEEE 802.11 with radiotap header",
    129: "Linux ARCNET",
    163: "IEEE 802.11 with AVS header",
    187: "Bluetooth HCI",
    189: "USB, Linux",
    192: "PPI",
    195: "IEEE 802.15.4",
    197: "ERF",
    201: "Bluetooth HCI with direction",
    220: "USB, Linux, padded",
    226: "Solaris ipnet",
    227: "CAN",
    239: "NFLOG",
    249: "USBPcap",
    251: "Bluetooth LE",
    253: "netlink",
}
"""Names of the likelier link types that can't be read (https://www.tcpdump.org/linktypes.html)."""


def check_linktype(linktype: int, path: Path) -> None:
    """See that packets of this link type can be made Ethernet frames.

    Raises:
        CaptureError: they can't; the text names the link type.
    """
    if linktype != ETHERNET and linktype not in LINK_HEADERS:
        name = f" ({NAMES[linktype]})" if linktype in NAMES else ""
        raise CaptureError(
            f"{path} has packets of link type {linktype}{name}, which don't carry IP in a way "
            "known here: capture on an Ethernet, cooked, raw IP or loopback interface."
        )


def rewrap(batch: Batch, path: Path) -> Batch:
    """Make each packet of the batch an Ethernet frame, in place; returns the batch.

    The destination and source addresses are zero, the Ethernet type is the link header's (for raw
    IP the one of the IP version) or 0 where that names no network protocol. A packet too short for
    its link header becomes a frame too short for an Ethernet header. `linktype` becomes Ethernet.

    Raises:
        CaptureError: the link type can't be made Ethernet; the text names it.
    """
    if batch.linktype == ETHERNET:
        return batch
    check_linktype(batch.linktype, path)
    buffer, offsets, lengths = batch.buffer, batch.offsets, batch.lengths
    size, header_of = LINK_HEADERS[batch.linktype]
    shift = size - ETHERNET_HEADER
    least = size or 1
    for i, offset in enumerate(offsets):
        if lengths[i] < least:
            lengths[i] = min(lengths[i], ETHERNET_HEADER - 1)
            continue
        frame = offset + shift
        buffer[frame : offset + size] = header_of(buffer, offset)
        offsets[i] = frame
        lengths[i] -= shift
    batch.linktype = ETHERNET
    return batch
