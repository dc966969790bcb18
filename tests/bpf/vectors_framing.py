"""Vectors for what lies below DNS: Ethernet, tags, IP and UDP, well made and not."""

# ruff: noqa: E501 (a table: one vector a line)
from __future__ import annotations

from tests import packets as p
from tests.bpf.vectors import Vector, query
from tests.packets import dns_query, ethernet, frame4, frame6, ipv4, ipv6, opt, udp, vlan

DATAGRAM = udp(dns_query(additional=[opt(do=True)]))
PACKET4, PACKET6 = ipv4(DATAGRAM), ipv6(DATAGRAM)
QUESTION = dns_query()
SIZE = len(QUESTION)


def tagged(packet: bytes, *types: int, inner: int = p.IPV4) -> bytes:
    """A frame whose tags have these EtherTypes, the outermost first."""
    for ethertype in reversed(types):
        packet, inner = vlan(packet, inner=inner), ethertype
    return ethernet(packet, ethertype=inner)


def with_extensions(
    *extensions: p.Extension, proto: int = p.UDP, payload: bytes = DATAGRAM
) -> bytes:
    """An IPv6 frame with these extension headers."""
    return ethernet(ipv6(payload, proto=proto, extensions=extensions), ethertype=p.IPV6)


def found(description: str, frame: bytes, *, af: str = "ipv4") -> Vector:
    """A frame that holds `DATAGRAM`, and must be its row."""
    return query(description, frame, af=af, do=1, edns="1232")


HBH, DST = p.options_header(p.HOPOPTS), p.options_header(p.DSTOPTS)

ETHERNET = [
    Vector("runt of 14 bytes: an IPv4 header is missing", ethernet(b""), "ip_malformed"),
    Vector("runt of 14 bytes: an IPv6 header is missing", ethernet(b"", ethertype=p.IPV6), "ip_malformed"),
    Vector("ARP", ethernet(b"\0\1\x08\0\6\4\0\1" + bytes(20), ethertype=p.ARP), "not_ip"),
    Vector("LLDP", ethernet(b"\2\7\4" + bytes(43), ethertype=p.LLDP), "not_ip"),
    Vector("IEEE 802.3 length in place of an EtherType", ethernet(b"\x42\x42\3" + bytes(43), ethertype=46), "not_ip"),
    found("802.1Q", tagged(PACKET4, p.DOT1Q)),
    found("802.1Q, IPv6", tagged(PACKET6, p.DOT1Q, inner=p.IPV6), af="ipv6"),
    found("802.1ad", tagged(PACKET4, p.DOT1AD)),
    found("QinQ: 802.1ad, then 802.1Q", tagged(PACKET4, p.DOT1AD, p.DOT1Q)),
    found("QinQ, IPv6", tagged(PACKET6, p.DOT1AD, p.DOT1Q, inner=p.IPV6), af="ipv6"),
    found("two 802.1Q tags", tagged(PACKET4, p.DOT1Q, p.DOT1Q)),
    Vector("three tags", tagged(PACKET4, p.DOT1AD, p.DOT1Q, p.DOT1Q), "vlan_too_deep"),
    Vector("tag 0x9100 is not of a standard", tagged(PACKET4, 0x9100), "not_ip"),
    Vector("ARP in a tag", tagged(bytes(28), p.DOT1Q, inner=p.ARP), "not_ip"),
    Vector("the frame ends inside a tag", tagged(PACKET4, p.DOT1Q)[:16], "eth_truncated"),
    Vector("the frame ends inside the second tag", tagged(PACKET4, p.DOT1Q, p.DOT1Q)[:21], "eth_truncated"),
    query("Ethernet padding is not DNS", frame4(QUESTION) + bytes(18)),
    query("Ethernet padding that looks like OPT, ARCOUNT 0", frame4(QUESTION) + opt(do=True)),
    query("Ethernet padding that looks like OPT, ARCOUNT 1", frame4(dns_query(counts=(1, 0, 0, 1))) + opt(do=True), edns="unseen"),
    query("the same over IPv6", frame6(dns_query(counts=(1, 0, 0, 1))) + opt(do=True), af="ipv6", edns="unseen"),
]  # fmt: skip

IP_V4 = [
    *(
        found(f"IHL {ihl}", ethernet(ipv4(DATAGRAM, options=b"\1" * (4 * (ihl - 5)))))
        for ihl in range(6, 16)
    ),
    *(
        Vector(f"IHL {ihl}", ethernet(ipv4(DATAGRAM, ihl=ihl)), "ip_malformed")
        for ihl in range(5)
    ),
    Vector("IHL past the frame", ethernet(ipv4(b"\1" * 39, ihl=15)), "ip_malformed"),
    Vector("IHL past the total length", ethernet(ipv4(DATAGRAM, ihl=15, total_length=59)), "ip_malformed"),
    Vector("version 6 under EtherType IPv4", ethernet(ipv4(DATAGRAM, version=6)), "ip_malformed"),
    Vector("IPv6 under EtherType IPv4", ethernet(PACKET6), "ip_malformed"),
    Vector("first fragment, cut inside the UDP header", ethernet(ipv4(DATAGRAM[:7], more=True)), "udp_malformed"),
    found("first fragment that holds the whole message", ethernet(ipv4(DATAGRAM, more=True))),
    query("first fragment that holds the question", ethernet(ipv4(DATAGRAM[:40], more=True)), edns="unseen"),
    Vector("first fragment that ends inside the name", ethernet(ipv4(DATAGRAM[:24], more=True)), "name_truncated"),
    Vector("later fragment", ethernet(ipv4(DATAGRAM, offset=1, more=True)), "fragment"),
    Vector("last fragment", ethernet(ipv4(DATAGRAM, offset=185)), "fragment"),
    Vector("a fragment at the highest offset", ethernet(ipv4(DATAGRAM, offset=0x1FFF)), "fragment"),
    Vector("later fragment of TCP", ethernet(ipv4(p.tcp(b""), proto=p.TCP, offset=1)), "fragment"),
    found("total length longer than the frame", ethernet(ipv4(DATAGRAM, total_length=1500))),
    query("total length shorter than the frame", ethernet(ipv4(DATAGRAM, total_length=28 + SIZE)), edns="unseen"),
    Vector("total length that ends inside the name", ethernet(ipv4(DATAGRAM, total_length=44)), "name_truncated"),
    Vector("total length that ends inside the UDP header", ethernet(ipv4(DATAGRAM, total_length=27)), "udp_malformed"),
    Vector("total length of the header alone", ethernet(ipv4(DATAGRAM, total_length=20)), "udp_malformed"),
    Vector("total length 19", ethernet(ipv4(DATAGRAM, total_length=19)), "ip_malformed"),
    Vector("total length 0", ethernet(ipv4(DATAGRAM, total_length=0)), "ip_malformed"),
    Vector("ICMP", ethernet(ipv4(b"\x08" + bytes(39), proto=p.ICMP)), "not_udp"),
    Vector("ICMP error that quotes a query", ethernet(ipv4(b"\3\3" + bytes(6) + PACKET4, proto=p.ICMP)), "not_udp"),
    Vector("ESP", ethernet(ipv4(bytes(40), proto=p.ESP)), "not_udp"),
    Vector("AH over IPv4 is not looked behind", ethernet(ipv4(b"\x11\4" + bytes(22) + DATAGRAM, proto=p.AH)), "not_udp"),
    Vector("IPv6 in IPv4", ethernet(ipv4(PACKET6, proto=41)), "not_udp"),
]  # fmt: skip

IP_V6 = [
    found("plain", ethernet(PACKET6, ethertype=p.IPV6), af="ipv6"),
    found("hop-by-hop options", with_extensions(HBH), af="ipv6"),
    found("hop-by-hop and destination options", with_extensions(HBH, DST), af="ipv6"),
    found("options of 264 bytes", with_extensions(p.options_header(length=264)), af="ipv6"),
    found("routing header", with_extensions(p.routing_header()), af="ipv6"),
    found("routing header with four segments", with_extensions(p.routing_header(segments=4)), af="ipv6"),
    found("authentication header", with_extensions(p.auth_header()), af="ipv6"),
    found("authentication header with 32 bytes of ICV", with_extensions(p.auth_header(icv=32)), af="ipv6"),
    found("atomic fragment", with_extensions(p.fragment_header()), af="ipv6"),
    found("first fragment that holds the whole message", with_extensions(p.fragment_header(more=True)), af="ipv6"),
    query("first fragment that holds the question", with_extensions(p.fragment_header(more=True), payload=DATAGRAM[:40]), af="ipv6", edns="unseen"),
    Vector("first fragment that ends inside the name", with_extensions(p.fragment_header(more=True), payload=DATAGRAM[:24]), "name_truncated"),
    Vector("later fragment", with_extensions(p.fragment_header(offset=1, more=True)), "fragment"),
    Vector("last fragment", with_extensions(p.fragment_header(offset=181)), "fragment"),
    Vector("later fragment after hop-by-hop options", with_extensions(HBH, p.fragment_header(offset=181)), "fragment"),
    Vector("later fragment of TCP", with_extensions(p.fragment_header(offset=181), proto=p.TCP), "fragment"),
    found("all five kinds", with_extensions(HBH, DST, p.routing_header(), p.fragment_header(), p.auth_header(), DST), af="ipv6"),
    found("eight extension headers", with_extensions(*[DST] * 8), af="ipv6"),
    Vector("nine extension headers", with_extensions(*[DST] * 9), "ip_ext_too_long"),
    Vector("an extension header past the end", with_extensions((p.DSTOPTS, b"\0\xff" + bytes(6))), "ip_malformed"),
    Vector("the packet ends inside an extension header", with_extensions((p.DSTOPTS, bytes(7)), payload=b""), "ip_malformed"),
    Vector("the payload length ends inside an extension header", ethernet(ipv6(DATAGRAM, extensions=[HBH], payload_length=7), ethertype=p.IPV6), "ip_malformed"),
    Vector("ESP", with_extensions(proto=p.ESP), "not_udp"),
    Vector("no next header", with_extensions(proto=p.NO_NEXT), "not_udp"),
    Vector("no next header after hop-by-hop options", with_extensions(HBH, proto=p.NO_NEXT), "not_udp"),
    Vector("ICMPv6", with_extensions(proto=58), "not_udp"),
    Vector("version 4 under EtherType IPv6", ethernet(ipv6(DATAGRAM, version=4), ethertype=p.IPV6), "ip_malformed"),
    Vector("IPv4 under EtherType IPv6", ethernet(PACKET4, ethertype=p.IPV6), "ip_malformed"),
    found("payload length longer than the frame", ethernet(ipv6(DATAGRAM, payload_length=1440), ethertype=p.IPV6), af="ipv6"),
    query("payload length shorter than the frame", ethernet(ipv6(DATAGRAM, payload_length=8 + SIZE), ethertype=p.IPV6), af="ipv6", edns="unseen"),
    Vector("payload length 0", ethernet(ipv6(DATAGRAM, payload_length=0), ethertype=p.IPV6), "udp_malformed"),
]  # fmt: skip

TRANSPORT = [
    Vector("port 5353", frame4(QUESTION, dport=5353), "other_port"),
    Vector("port 5353 over IPv6", frame6(QUESTION, dport=5353), "other_port"),
    Vector("port 0x3500: 53 in the wrong byte order", frame4(QUESTION, dport=0x3500), "other_port"),
    Vector("from port 53 to another: a reply", ethernet(ipv4(udp(dns_query(qr=1), sport=53, dport=40000))), "other_port"),
    query("from port 53 to port 53", ethernet(ipv4(udp(QUESTION, sport=53)))),
    query("from port 0", ethernet(ipv4(udp(QUESTION, sport=0)))),
    found("UDP length longer than the frame", ethernet(ipv4(udp(DATAGRAM[8:], length=1400)))),
    found("UDP length 65535", ethernet(ipv6(udp(DATAGRAM[8:], length=65535)), ethertype=p.IPV6), af="ipv6"),
    query("UDP length shorter than the frame: OPT lies outside", ethernet(ipv4(udp(DATAGRAM[8:], length=8 + SIZE))), edns="unseen"),
    Vector("UDP length that ends inside the name", ethernet(ipv4(udp(QUESTION, length=24))), "name_truncated"),
    Vector("UDP length that ends inside the question", ethernet(ipv4(udp(QUESTION, length=7 + SIZE))), "question_truncated"),
    Vector("UDP length that ends inside the DNS header", ethernet(ipv4(udp(QUESTION, length=19))), "dns_truncated"),
    Vector("UDP length 8", ethernet(ipv4(udp(QUESTION, length=8))), "dns_truncated"),
    Vector("UDP length 7", ethernet(ipv4(udp(QUESTION, length=7))), "udp_malformed"),
    Vector("UDP length 0", ethernet(ipv4(udp(QUESTION, length=0))), "udp_malformed"),
    Vector("UDP length 0 over IPv6", ethernet(ipv6(udp(QUESTION, length=0)), ethertype=p.IPV6), "udp_malformed"),
    Vector("UDP length 0 to another port", ethernet(ipv4(udp(QUESTION, dport=5353, length=0))), "other_port"),
    Vector("half a UDP header", ethernet(ipv4(udp(b"")[:4])), "udp_malformed"),
    Vector("no UDP header at all", ethernet(ipv4(b"")), "udp_malformed"),
    Vector("TCP to 53", ethernet(ipv4(p.tcp(b"\0\x1d" + QUESTION), proto=p.TCP)), "tcp"),
    Vector("TCP to 53 over IPv6", with_extensions(proto=p.TCP, payload=p.tcp(b"")), "tcp"),
    Vector("TCP to 5353", ethernet(ipv4(p.tcp(QUESTION, dport=5353), proto=p.TCP)), "not_udp"),
    Vector("TCP from 53", ethernet(ipv4(p.tcp(QUESTION, sport=53, dport=40000), proto=p.TCP)), "not_udp"),
    Vector("UDP to 853: DNS over QUIC", frame4(QUESTION, dport=853), "doq"),
    Vector("UDP to 853 over IPv6", frame6(QUESTION, dport=853), "doq"),
    Vector("UDP to 853 behind extensions", with_extensions(HBH, payload=udp(QUESTION, dport=853)), "doq"),
    Vector("UDP length 0 to 853", ethernet(ipv4(udp(QUESTION, dport=853, length=0))), "doq"),
    Vector("UDP from 853", ethernet(ipv4(udp(QUESTION, sport=853, dport=40000))), "other_port"),
    query("UDP from 853 to 53", ethernet(ipv4(udp(QUESTION, sport=853)))),
    Vector("UDP to 443: HTTP/3", frame4(QUESTION, dport=443), "doh3"),
    Vector("UDP to 443 over IPv6", frame6(QUESTION, dport=443), "doh3"),
    Vector("TCP to 853: DNS over TLS", ethernet(ipv4(p.tcp(QUESTION, dport=853), proto=p.TCP)), "dot"),
    Vector("TCP to 853 over IPv6", with_extensions(proto=p.TCP, payload=p.tcp(b"", dport=853)), "dot"),
    Vector("TCP to 853 behind IP options", ethernet(ipv4(p.tcp(b"", dport=853), proto=p.TCP, options=b"\1" * 8)), "dot"),
    Vector("TCP from 853", ethernet(ipv4(p.tcp(b"", sport=853, dport=40000), proto=p.TCP)), "not_udp"),
    Vector("TCP to 443 is all of the web", ethernet(ipv4(p.tcp(b"", dport=443), proto=p.TCP)), "not_udp"),
    Vector("TCP that ends inside its ports", ethernet(ipv4(p.tcp(b"")[:3], proto=p.TCP)), "not_udp"),
    Vector("UDP-Lite (136) is not UDP", ethernet(ipv4(DATAGRAM, proto=136)), "not_udp"),
]  # fmt: skip

FRAMING = [*ETHERNET, *IP_V4, *IP_V6, *TRANSPORT]
