"""The layers below DNS, from the frame to the message: half of the reference (see there)."""

from __future__ import annotations

from struct import Struct
from typing import Literal, NamedTuple

from tests.truth.wire import Ended

Side = Literal["queries", "responses"]
"""What is counted: messages to a watched port, or from one."""

ETHERNET_HEADER, TAG, IPV4_HEADER, IPV6_HEADER, UDP_HEADER = 14, 4, 20, 40, 8
TAG_TYPES = frozenset({0x8100, 0x88A8})  # 802.1Q and 802.1ad; the pre-standard 0x9100 is none.
MAX_TAGS = 2
IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP = 6, 17
HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, DESTINATION = 0, 43, 44, 51, 60
EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTH, DESTINATION})


class Datagram(NamedTuple):
    """What a UDP header and the IP header before it say, and the payload."""

    af: str
    source: bytes
    destination: bytes
    sport: int
    dport: int
    payload: bytes


_u16 = Struct("!H").unpack_from
_ports = Struct("!HH").unpack_from

ENCRYPTED = {"dot": (TCP, 853), "doq": (UDP, 853), "doh3": (UDP, 443)}


class Ports(NamedTuple):
    """The ports that carry DNS, and the encrypted transports that are told apart, by name."""

    watched: frozenset[int]
    encrypted: frozenset[str]

    def outcome(self, proto: int, port: int) -> str:
        """What a packet that is not to (or from) a watched port is."""
        for name in self.encrypted:
            if ENCRYPTED[name] == (proto, port):
                return name
        return "other_port" if proto == UDP else "not_udp"


def message(frame: bytes, ports: Ports, side: Side, max_extensions: int) -> Datagram:
    """The UDP datagram to (or from) a watched port.

    Raises:
        Ended: there is none.
    """
    ethertype, start = _ethernet(frame)
    ip = start
    if ethertype == IPV4:
        af, (proto, start, end) = "ipv4", _ipv4(frame, start)
    elif ethertype == IPV6:
        af, (proto, start, end) = "ipv6", _ipv6(frame, start, max_extensions)
    else:
        raise Ended("not_ip")
    start, end = _udp(frame, proto, start, end, ports, side)
    addresses, size = (ip + 12, 4) if af == "ipv4" else (ip + 8, 16)
    ends = frame[addresses : addresses + size], frame[addresses + size : addresses + 2 * size]
    sport, dport = _ports(frame, start - UDP_HEADER)
    return Datagram(af, *ends, sport, dport, frame[start:end])


def _ethernet(frame: bytes) -> tuple[int, int]:
    """The EtherType after at most two tags, and where its payload starts (IEEE 802.3, 802.1Q)."""
    if len(frame) < ETHERNET_HEADER:
        raise Ended("eth_truncated")
    (ethertype,) = _u16(frame, 12)
    start = ETHERNET_HEADER
    tags = 0
    while ethertype in TAG_TYPES:
        # Silent: a third tag is too deep even where the frame ends before its value.
        if tags == MAX_TAGS:
            raise Ended("vlan_too_deep")
        if start + TAG > len(frame):
            raise Ended("eth_truncated")
        (ethertype,) = _u16(frame, start + 2)
        start += TAG
        tags += 1
    return ethertype, start


def _ipv4(frame: bytes, start: int) -> tuple[int, int, int]:
    """Protocol, payload start and end of an IPv4 packet (RFC 791, section 3.1)."""
    if start + IPV4_HEADER > len(frame) or frame[start] >> 4 != 4:
        raise Ended("ip_malformed")
    header = (frame[start] & 15) * 4
    (total_length,) = _u16(frame, start + 2)
    # A total length below the header's is malformed, also the 0 of a segment that the sender's
    # card had still to cut: no such packet comes in from a wire.
    if header < IPV4_HEADER or start + header > len(frame) or total_length < header:
        raise Ended("ip_malformed")
    (fragment,) = _u16(frame, start + 6)
    if fragment & 0x1FFF:
        raise Ended("fragment")
    return frame[start + 9], start + header, min(len(frame), start + total_length)


def _ipv6(frame: bytes, start: int, max_extensions: int) -> tuple[int, int, int]:
    """Upper protocol, its start and the end of an IPv6 packet (RFC 8200, sections 3 and 4).

    Silent: a payload length of 0 is taken as it is (a jumbogram, RFC 2675, is longer than any
    frame that a name server receives); an order of extension headers that RFC 8200 advises
    against is read all the same, as section 4.1 asks; a ninth header is too many even where the
    frame, but not the packet, ends inside the eighth.
    """
    if start + IPV6_HEADER > len(frame) or frame[start] >> 4 != 6:
        raise Ended("ip_malformed")
    (payload_length,) = _u16(frame, start + 4)
    total = start + IPV6_HEADER + payload_length
    end = min(len(frame), total)
    number = frame[start + 6]
    start += IPV6_HEADER
    seen = 0
    while number in EXTENSIONS:
        if seen == max_extensions:
            raise Ended("ip_ext_too_long")
        # Every extension header has at least 8 bytes (an AH of fewer than 12 is malformed too,
        # but the walk does not need its other fields).
        if start + 8 > end:
            raise Ended("ip_malformed")
        if number == FRAGMENT:
            if _u16(frame, start + 2)[0] >> 3:
                raise Ended("fragment")
            length = 8
        elif number == AUTH:
            length = (frame[start + 1] + 2) * 4  # RFC 4302: 32-bit words minus 2.
        else:
            length = (frame[start + 1] + 1) * 8
        number = frame[start]
        start += length
        if start > total:
            raise Ended("ip_malformed")
        seen += 1
    if start > end:
        raise Ended("ip_malformed")
    return number, start, end


def _udp(
    frame: bytes, proto: int, start: int, end: int, ports: Ports, side: Side
) -> tuple[int, int]:
    """Where the payload of a UDP datagram to or from a watched port starts and ends (RFC 768).

    Silent: TCP needs its first 4 bytes, the ports, to be told apart; TCP to another port is
    `not_udp`, like every other protocol.
    """
    which = 1 if side == "queries" else 0
    if proto == TCP and start + 4 <= end:
        port = _ports(frame, start)[which]
        raise Ended("tcp" if port in ports.watched else ports.outcome(TCP, port))
    if proto != UDP:
        raise Ended("not_udp")
    # Silent: without a whole header it is malformed, whatever the port; a length below the
    # header's is malformed only on a watched port, since others are not looked into.
    if start + UDP_HEADER > end:
        raise Ended("udp_malformed")
    port = _ports(frame, start)[which]
    if port not in ports.watched:
        raise Ended(ports.outcome(UDP, port))
    (length,) = _u16(frame, start + 4)
    if length < UDP_HEADER:
        raise Ended("udp_malformed")
    return start + UDP_HEADER, min(end, start + length)
