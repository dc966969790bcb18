"""The same table from tshark: one process a file, one line of fields a packet.

Reassembly and guesses are switched off, so that each packet stands for itself; what tshark still
sees differently is explained by name in `tests.truth.rules`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.truth.reference import Config, ResponseRow, Row, rcode_text
from tests.truth.wire import edns_bucket, qtype_text, tld_text

MISSING = shutil.which("tshark") is None
"""Whether there is no tshark to ask (Debian: `apt-get install tshark`)."""

OPTIONS = (
    "-n",
    *("-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"),
    *("-o", "udp.try_heuristic_first:FALSE", "-d", "udp.port==53,dns"),
)
FIELDS = (
    "frame.protocols",
    "udp.dstport",
    "dns.flags",
    "dns.count.queries",
    "dns.count.answers",
    "dns.count.auth_rr",
    "dns.count.add_rr",
    "dns.qry.name",
    "dns.qry.type",
    "dns.resp.name",
    "dns.resp.type",
    "dns.rr.udp_payload_size",
    "dns.resp.z.do",
    "_ws.malformed",
    "udp.srcport",
    "dns.resp.ext_rcode",
    "dns.response_to",
    "dns.time",
    "dns.qry.class",
)


class Dissection(NamedTuple):
    """What tshark shows of one packet; a list has an element for each time that a field occurs."""

    protocols: list[str]
    dstport: list[str]
    flags: list[str]
    questions: list[str]
    answers: list[str]
    authority: list[str]
    additional: list[str]
    names: list[str]
    types: list[str]
    owners: list[str]
    record_types: list[str]
    sizes: list[str]
    do: list[str]
    malformed: list[str]
    srcport: list[str]
    extended: list[str]
    response_to: list[str]
    time: list[str]
    classes: list[str]

    @property
    def layers(self) -> list[str]:
        """The protocols from the outermost on, like eth, ethertype, ip, udp, dns."""
        return self.protocols[0].split(":") if self.protocols else []

    @property
    def records(self) -> int:
        """How many records the header says there are after the question."""
        return sum(
            int(n) for counts in (self.answers, self.authority, self.additional) for n in counts[:1]
        )


def dissect(path: Path) -> list[Dissection]:
    """All packets of a capture, in order. A file that is cut gives what is readable.

    Raises:
        ValueError: tshark can't read the file at all.
    """
    command = ["tshark", "-r", str(path), *OPTIONS, "-T", "fields"]
    command += ["-E", "separator=\x1f", "-E", "aggregator=\x1e", "-E", "occurrence=a"]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode and not done.stdout:
        raise ValueError(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]
    return [
        Dissection(*(field.split("\x1e") if field else [] for field in line.split("\x1f")))
        for line in lines
    ]


def row(seen: Dissection, config: Config) -> Row | None:
    """The row of a packet as tshark saw it, or None if it saw no query.

    tshark looks into tunnels and quoted packets; such a row is explained by a rule.
    """
    if not (seen.flags and seen.names and seen.types and seen.dstport):
        return None
    flags = int(seen.flags[0], 16)
    if int(seen.dstport[0]) not in config.ports or flags >> 11 & 15 or seen.questions[0] != "1":
        return None
    edns, do = _edns(seen, config)
    tld = tld_text(label(seen.names[0])) or "."
    return Row(
        af=_family(seen),
        proto="udp",
        qr=str(flags >> 15),
        do=do,
        ad=str(flags >> 5 & 1),
        edns=edns,
        qtype=qtype_text(int(seen.types[0]), config.registered_only),
        tld=tld if config.tlds is None or tld in config.tlds else "~other",
    )


def response_row(seen: Dissection, config: Config) -> ResponseRow | None:
    """The row of a packet as tshark saw it, or None if it saw no response."""
    if not (seen.flags and seen.srcport and seen.questions):
        return None
    flags = int(seen.flags[0], 16)
    asked = seen.questions[0] == "1"
    if int(seen.srcport[0]) not in config.ports or not flags >> 15:
        return None
    if (not asked and seen.questions[0] != "0") or (asked and not (seen.names and seen.types)):
        return None
    edns, do = _edns(seen, config)
    extended = int(seen.extended[0], 16) if seen.extended and edns not in NO_OPT else 0
    rcode = rcode_text(extended << 4 | flags & 15)
    truncated = flags >> 9 & 1
    if rcode == "NOERROR" and seen.answers[0] == "0" and not truncated:
        referral = seen.authority[0] != "0" and seen.record_types[:1] == ["2"]
        rcode = "REFERRAL" if referral else "NODATA"
    tld, qtype = "~none", "~none"
    if asked:
        tld = tld_text(label(seen.names[0])) or "."
        tld = tld if config.tlds is None or tld in config.tlds else "~other"
        qtype = qtype_text(int(seen.types[0]), config.registered_only)
    return ResponseRow(
        af=_family(seen),
        proto="udp",
        rcode=rcode,
        tc=str(truncated),
        aa=str(flags >> 10 & 1),
        ad=str(flags >> 5 & 1),
        do=do,
        edns=edns,
        qtype=qtype,
        tld=tld,
    )


def _family(seen: Dissection) -> str:
    return "ipv6" if "ipv6" in seen.layers and "ip" not in seen.layers else "ipv4"


NO_OPT = ("no_edns", "unseen")


def _edns(seen: Dissection, config: Config) -> tuple[str, str]:
    """The labels `edns` and `do`."""
    if "41" in seen.record_types and seen.sizes:
        do = str(int(seen.do[0] in ("1", "True")))
        return edns_bucket(int(seen.sizes[0]), config.edges), do
    return ("unseen" if seen.malformed and seen.additional[0] != "0" else "no_edns"), "0"


def label(name: str) -> bytes:
    """The last label of a name as tshark prints it (`<Root>` for the root, nothing escaped)."""
    if name == "<Root>":
        return b""
    return name.rpartition(".")[2].encode("utf-8", "surrogateescape")


def answers(seen: Dissection, config: Config) -> int | None:
    """The index of the query that tshark says this response answers, if it is one over UDP."""
    layers = seen.layers
    plain = layers.count("ip") + layers.count("ipv6") == 1 and layers.count("dns") == 1
    ours = seen.srcport and int(seen.srcport[0]) in config.ports
    return int(seen.response_to[0]) - 1 if plain and ours and seen.response_to else None
