"""Why tshark may see a packet differently: one small function for each named reason.

A rule is asked only where the rows differ, and must find its own reason in the packet; what no rule
explains is a disagreement. The rule's name is its function's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.truth.reference import ResponseRow, Row, Verdict
from tests.truth.tshark import Dissection
from tests.truth.wire import MAX_STEPS

LINKS = {"eth", "ethertype", "sll", "null", "raw", "vlan", "ieee8021ad"}
EXTENSIONS = {"ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr", "ah"}


AnyRow = Row | ResponseRow


class Case(NamedTuple):
    """A packet that the two decoders see differently: our verdict, tshark's row and fields."""

    frame: bytes
    ours: Verdict
    theirs: AnyRow | None
    seen: Dissection


def unprintable_name(case: Case) -> bool:
    """The TLD has bytes that tshark prints as escapes, replacement characters or bare dots."""
    ours, theirs = case.ours.row, case.theirs
    if ours is None or theirs is None or "\\" not in ours.tld:
        return False
    return theirs._replace(tld=ours.tld) == ours


def name_notice(case: Case) -> bool:
    """Tshark prints a notice in place of a name that it can't read, and goes on to the type.

    Pointers it follows: in a question (RFC 1035 has nothing before it to point to) that is a loop,
    or runs through the header or the records.
    """
    if case.ours.outcome == "name_compressed":
        return case.theirs is not None
    broken = case.ours.outcome in ("name_reserved", "name_too_long", "name_truncated")
    return broken and case.seen.names[0].startswith("<")


def layers_between(case: Case) -> bool:
    """The message lies in a tunnel or a quoted packet, behind layers that are not looked into."""
    layers = case.seen.layers
    plain = LINKS | EXTENSIONS | {"ip", "ipv6", "udp", "dns"}
    once = layers.count("ip") + layers.count("ipv6") == 1
    ah_over_ipv4 = "ip" in layers and "ah" in layers
    return case.ours.row is None and (not once or ah_over_ipv4 or not plain.issuperset(layers))


def three_tags(case: Case) -> bool:
    """Tags are read two deep."""
    layers = case.seen.layers
    tags = layers.count("vlan") + layers.count("ieee8021ad")
    return case.ours.outcome == "vlan_too_deep" and tags > 2


def tag_9100(case: Case) -> bool:
    """Tshark takes EtherType 0x9100 for a tag; neither 802.1Q nor 802.1ad has it."""
    return case.ours.outcome == "not_ip" and b"\x91\x00" in case.frame[12:22]


def total_length_zero(case: Case) -> bool:
    """Tshark takes an IPv4 total length of 0 for segmentation offload on the capturing machine."""
    at = _ip_header(case.frame)
    malformed = case.ours.outcome == "ip_malformed"
    return malformed and case.frame[at] >> 4 == 4 and case.frame[at + 2 : at + 4] == b"\0\0"


def version_before_ethertype(case: Case) -> bool:
    """Tshark goes by the version in the IP header where the EtherType says another."""
    at = _ip_header(case.frame)
    ethertype = int.from_bytes(case.frame[at - 2 : at], "big")
    version = case.frame[at] >> 4
    return case.ours.outcome == "ip_malformed" and (ethertype, version) in (
        (0x0800, 6),
        (0x86DD, 4),
    )


def extension_bound(case: Case) -> bool:
    """More than eight IPv6 extension headers."""
    many = sum(layer in EXTENSIONS for layer in case.seen.layers) > 8
    return case.ours.outcome == "ip_ext_too_long" and many


def udp_length_zero(case: Case) -> bool:
    """Over IPv6 tshark takes a UDP length of 0 for a jumbogram's (RFC 2675)."""
    return case.ours.outcome == "udp_malformed" and "ipv6" in case.seen.layers


def walk_bound(case: Case) -> bool:
    """The records, and the labels of their owner names, are more than the walk has steps.

    Of a name over 255 bytes tshark shows no labels, so there may be as many as steps.
    """
    labels = sum(
        MAX_STEPS if owner == "<Name too long>" else owner.count(".") + 1
        for owner in case.seen.owners
        if owner == "<Name too long>" or not owner.startswith("<")
    )
    return _unseen(case) and case.seen.records + labels > MAX_STEPS


def cut_records(case: Case) -> bool:
    """Tshark does not call a cut message malformed when the packet is a fragment or was snapped."""
    fewer = len(case.seen.record_types) < case.seen.records
    return _unseen(case) and fewer and not case.seen.malformed


def cut_data(case: Case) -> bool:
    """A record's fixed part is there but its data runs past the end: tshark shows none of it."""
    ours, theirs = case.ours.row, case.theirs
    if ours is None or theirs is None or not case.seen.malformed:
        return False
    return theirs.edns == "unseen" and theirs._replace(edns=ours.edns, do=ours.do) == ours


RULES: tuple[Callable[[Case], bool], ...] = (
    unprintable_name,
    name_notice,
    version_before_ethertype,
    layers_between,
    three_tags,
    tag_9100,
    total_length_zero,
    extension_bound,
    udp_length_zero,
    walk_bound,
    cut_records,
    cut_data,
)


def explain(case: Case) -> str | None:
    """The name of the first rule that explains the difference, or None."""
    return next((rule.__name__ for rule in RULES if rule(case)), None)


def beyond_reach(ours: AnyRow | None, theirs: AnyRow | None) -> bool:
    """We could not reach an OPT, they say what is there; the rows are the same otherwise."""
    if ours is None or theirs is None or ours.edns != "unseen":
        return False
    return theirs._replace(edns=ours.edns, do=ours.do) == ours


def _unseen(case: Case) -> bool:
    return beyond_reach(case.ours.row, case.theirs)


def _ip_header(frame: bytes) -> int:
    """Where the IP header starts behind at most two tags."""
    at = 14
    while frame[at - 2 : at] in (b"\x81\x00", b"\x88\xa8") and at < 22:
        at += 4
    return at
