"""The packets of a capture as Ethernet frames, read with dpkt: no line of xdpdns's own reader."""

from __future__ import annotations

import struct
from pathlib import Path

import dpkt

ETHERNET, NULL, LOOP, SLL, SLL2 = 1, 0, 108, 113, 276
RAW = frozenset({12, 14, 101})
RAW_IPV4, RAW_IPV6 = 228, 229
CARRIES_IP = frozenset({ETHERNET, NULL, LOOP, SLL, SLL2, RAW_IPV4, RAW_IPV6}) | RAW

ADDRESSES = bytes(12)
NO_ETHERTYPE = 0


def read(path: Path) -> list[bytes]:
    """All packets of the file as Ethernet frames; see read_timed()."""
    return [frame for _, frame in read_timed(path)]


def read_timed(path: Path) -> list[tuple[int, bytes]]:
    """All packets of the file as Ethernet frames, with their times in microseconds.

    Those before the damage if the file is damaged.

    Raises:
        ValueError: dpkt can't read the file, or its link type does not carry IP.
    """
    frames = []
    with path.open("rb") as file:
        try:
            reader = dpkt.pcap.UniversalReader(file)
        except (dpkt.Error, struct.error) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        # The upper half says whether frames have a checksum at their end.
        linktype = reader.datalink() & 0xFFFF
        if linktype not in CARRIES_IP:
            raise ValueError(f"link type {linktype}")
        try:
            for time, packet in reader:
                frames.append((round(float(time) * 1e6), to_ethernet(packet, linktype)))
        except dpkt.NeedData:
            return frames
    return frames


def to_ethernet(packet: bytes, linktype: int) -> bytes:
    """The packet with its link header replaced by an Ethernet header (tcpdump.org/linktypes.html).

    A packet that is shorter than its link header becomes a frame without EtherType (0).
    """
    if linktype == ETHERNET:
        return packet
    ethertype, start = NO_ETHERTYPE, 0
    if linktype in RAW and packet:
        ethertype = {4: 0x0800, 6: 0x86DD}.get(packet[0] >> 4, NO_ETHERTYPE)
    elif linktype == RAW_IPV4:
        ethertype = 0x0800
    elif linktype == RAW_IPV6:
        ethertype = 0x86DD
    elif linktype == SLL and len(packet) >= 16:
        ethertype, start = int.from_bytes(packet[14:16], "big"), 16
    elif linktype == SLL2 and len(packet) >= 20:
        ethertype, start = int.from_bytes(packet[:2], "big"), 20
    elif linktype in (NULL, LOOP) and len(packet) >= 4:
        family, start = packet[:4], 4
        # In the byte order of the machine that captured; numbers of PF_INET6 differ by system.
        number = family[0] or family[3]
        ethertype = 0x0800 if number == 2 else 0x86DD if number in (10, 24, 28, 30) else 0
    return ADDRESSES + ethertype.to_bytes(2, "big") + packet[start:]
