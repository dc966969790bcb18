"""The same table from tshark: one process a file, one line of fields a packet.

Reassembly and guesses are switched off, so that each packet stands for itself; what tshark still
sees differently is explained by name in `tests.truth.rules`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.truth.reference import Config, Row
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
    layers = seen.layers
    if int(seen.dstport[0]) not in config.ports or flags >> 11 & 15 or seen.questions[0] != "1":
        return None
    if "41" in seen.record_types and seen.sizes:
        edns, do = edns_bucket(int(seen.sizes[0]), config.edges), int(seen.do[0] in ("1", "True"))
    else:
        edns, do = ("unseen" if seen.malformed and seen.additional[0] != "0" else "no_edns"), 0
    tld = tld_text(label(seen.names[0])) or "."
    return Row(
        af="ipv6" if "ipv6" in layers and "ip" not in layers else "ipv4",
        proto="udp",
        qr=str(flags >> 15),
        do=str(do),
        ad=str(flags >> 5 & 1),
        edns=edns,
        qtype=qtype_text(int(seen.types[0]), config.registered_only),
        tld=tld if config.tlds is None or tld in config.tlds else "~other",
    )


def label(name: str) -> bytes:
    """The last label of a name as tshark prints it (`<Root>` for the root, nothing escaped)."""
    if name == "<Root>":
        return b""
    return name.rpartition(".")[2].encode("utf-8", "surrogateescape")
