"""A third opinion: dpkt for the headers, dnspython for the message, both as they come.

They decode well-formed packets whole (the names in records, the records' data), refuse many of the
others, and are asked only for rows.
"""

from __future__ import annotations

import struct

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dpkt

from tests.truth.reference import Config, ResponseRow, Row
from tests.truth.wire import edns_bucket, qtype_text, tld_text


class NoOpinionError(Exception):
    """The libraries refuse the packet, or repair it; the text says what."""


def row(frame: bytes, config: Config) -> Row | None:
    """The row of a packet, or None if the libraries see no query to a watched port in it.

    Raises:
        NoOpinionError: it is not well-formed, in a way that the definitions may still count.
    """
    packet = _ip(frame)
    if packet is None:
        return None
    datagram = packet.data
    if not isinstance(datagram, dpkt.udp.UDP) or datagram.dport not in config.ports:
        return None
    message = _message(datagram)
    if message.opcode() != dns.opcode.QUERY or len(message.question) != 1:
        return None
    labels = message.question[0].name.labels
    tld = tld_text(labels[-2]) if len(labels) > 1 else "."
    return Row(
        af="ipv4" if isinstance(packet, dpkt.ip.IP) else "ipv6",
        proto="udp",
        qr=str(int(bool(message.flags & dns.flags.QR))),
        do=str(int(bool(message.ednsflags & dns.flags.DO))),
        ad=str(int(bool(message.flags & dns.flags.AD))),
        edns="no_edns" if message.edns < 0 else edns_bucket(message.payload, config.edges),
        qtype=qtype_text(message.question[0].rdtype, config.registered_only),
        tld=tld if config.tlds is None or tld in config.tlds else "~other",
    )


def response_row(frame: bytes, config: Config) -> ResponseRow | None:
    """The row of a response, or None if the libraries see no response from a watched port.

    Raises:
        NoOpinionError: it is not well-formed, in a way that the definitions may still count.
    """
    packet = _ip(frame)
    if packet is None:
        return None
    datagram = packet.data
    if not isinstance(datagram, dpkt.udp.UDP) or datagram.sport not in config.ports:
        return None
    message = _message(datagram)
    if not message.flags & dns.flags.QR or len(message.question) > 1:
        return None
    if message.opcode() == dns.opcode.UPDATE:
        raise NoOpinionError("UPDATE")  # dnspython reads its sections as something else
    code = message.rcode()
    rcode = dns.rcode.to_text(code) if code <= 11 or 16 <= code <= 23 else "~other"
    truncated = bool(message.flags & dns.flags.TC)
    answers, authority = (int.from_bytes(datagram.data[at : at + 2], "big") for at in (6, 8))
    if rcode == "NOERROR" and not answers and not truncated:
        referral = (
            authority and message.authority and message.authority[0].rdtype == dns.rdatatype.NS
        )
        rcode = "REFERRAL" if referral else "NODATA"
    qtype = tld = "~none"
    if message.question:
        labels = message.question[0].name.labels
        tld = tld_text(labels[-2]) if len(labels) > 1 else "."
        tld = tld if config.tlds is None or tld in config.tlds else "~other"
        qtype = qtype_text(message.question[0].rdtype, config.registered_only)
    return ResponseRow(
        af="ipv4" if isinstance(packet, dpkt.ip.IP) else "ipv6",
        proto="udp",
        rcode=rcode,
        tc=str(int(truncated)),
        aa=str(int(bool(message.flags & dns.flags.AA))),
        ad=str(int(bool(message.flags & dns.flags.AD))),
        do=str(int(bool(message.ednsflags & dns.flags.DO))),
        edns="no_edns" if message.edns < 0 else edns_bucket(message.payload, config.edges),
        qtype=qtype,
        tld=tld,
    )


def _message(datagram: dpkt.udp.UDP) -> dns.message.Message:
    wire = datagram.data
    if datagram.ulen != 8 + len(wire):
        raise NoOpinionError("UDP length")
    try:
        return dns.message.from_wire(wire, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, struct.error, ValueError) as error:
        raise NoOpinionError(type(error).__name__) from error


def _ip(frame: bytes) -> dpkt.ip.IP | dpkt.ip6.IP6 | None:
    try:
        ethernet = dpkt.ethernet.Ethernet(frame)
    except (dpkt.Error, struct.error, IndexError, AttributeError) as error:
        # dpkt 1.9.8 takes any first extension header for a fragment's if a later one is.
        raise NoOpinionError(type(error).__name__) from error
    packet = ethernet.data
    if isinstance(packet, dpkt.ip.IP):
        if packet.mf or packet.offset:
            raise NoOpinionError("fragment")
        return packet
    if isinstance(packet, dpkt.ip6.IP6):
        if dpkt.ip.IP_PROTO_FRAGMENT in packet.extension_hdrs:
            raise NoOpinionError("fragment")
        return packet
    return None
