"""What an operator can choose about the program, validated once and then frozen."""

from __future__ import annotations

from dataclasses import dataclass

from xdpdns import vocab
from xdpdns.errors import SettingsError

MAX_SERIES_LIMIT = 10_000_000
MAX_EDGES = 16
MAX_TIMING = 65536


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """What is compiled into the BPF program, and how large its maps are.

    Attributes:
        ports: UDP and TCP destination ports that carry DNS, 1 to 8 of them.
        encrypted: those of vocab.ENCRYPTED whose packets have an outcome of their own.
        labels: the dimensions of a row, a subset of vocab.SIDES[side] in that order.
        edns_edges: ascending EDNS sizes in bytes that separate the buckets.
        tlds: the option's text, see vocab.parse_tlds().
        qtypes: `registered` folds types without a mnemonic into ~other, `all` does not.
        max_series: the most rows that there can be.
        exact_edns: also count every EDNS size by itself (1 MB a CPU; Snapshot.edns_sizes).
        tcp: also count the messages in TCP segments (Snapshot.tcp).
        timing: 0, or one of how many queries is timed until its response: a power of two.
        capture_clock: take the time of a packet from the map `clock`, not from the kernel.
        side: `queries`, or `responses`.
        hands_over: leave packets without a watched destination port, and responses between two of
            them, to the program of the other side (LoadedProgram.hand_over()).
        hook: `xdp`, or `tc` for TCX and clsact, where the kernel has made a socket buffer already.
    """

    ports: tuple[int, ...] = (53,)
    encrypted: tuple[str, ...] = ("dot", "doq")
    labels: tuple[str, ...] = vocab.DIMENSIONS
    edns_edges: tuple[int, ...] = (1232, 1400, 1500)
    tlds: str = "iana"
    qtypes: str = "registered"
    max_series: int = 100_000
    exact_edns: bool = False
    tcp: bool = False
    timing: int = 0
    capture_clock: bool = False
    side: str = "queries"
    hands_over: bool = False
    hook: str = "xdp"

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: the first value that can't be used.
        """
        if not 1 <= len(self.ports) <= vocab.MAX_PORTS or len(set(self.ports)) != len(self.ports):
            raise SettingsError(f"--port: give 1 to {vocab.MAX_PORTS} different ports.")
        for port in self.ports:
            if not 1 <= port <= 65535:
                raise SettingsError(f"--port: {port} is no port: give 1 to 65535.")
        strange = [name for name in self.encrypted if name not in vocab.ENCRYPTED]
        if strange:
            raise SettingsError(
                f"--encrypted: {', '.join(strange)} is unknown: choose from "
                f"{','.join(vocab.ENCRYPTED)}, or give `none`."
            )
        chosen = tuple(name for name in vocab.ENCRYPTED if name in self.encrypted)
        object.__setattr__(self, "encrypted", chosen)
        dimensions = vocab.SIDES[self.side]
        unknown = [label for label in self.labels if label not in dimensions]
        if unknown or not self.labels:
            option = "--labels" if self.side == "queries" else "--response-labels"
            raise SettingsError(
                f"{option}: {', '.join(unknown) or 'nothing'} is not a dimension: "
                f"choose from {','.join(dimensions)}."
            )
        ordered = tuple(label for label in dimensions if label in self.labels)
        object.__setattr__(self, "labels", ordered)
        edges = self.edns_edges
        if (
            not 1 <= len(edges) <= MAX_EDGES
            or any(not 1 <= edge <= 65534 for edge in edges)
            or list(edges) != sorted(set(edges))
        ):
            raise SettingsError(
                f"--edns-edges: give 1 to {MAX_EDGES} ascending sizes from 1 to 65534, "
                "such as 1232,1400,1500."
            )
        if self.qtypes not in ("registered", "all"):
            raise SettingsError(
                f"--qtypes: {self.qtypes!r} is unknown: choose `registered` or `all`."
            )
        if not 1 <= self.max_series <= MAX_SERIES_LIMIT:
            raise SettingsError(
                f"--max-series: {self.max_series} is out of bounds: give 1 to {MAX_SERIES_LIMIT}."
            )
        if self.timing & (self.timing - 1) or not 0 <= self.timing <= MAX_TIMING:
            raise SettingsError(
                f"--latency-sample: {self.timing} is not a power of two up to {MAX_TIMING}: give "
                "1 to time every query, 16 for one in 16, or 0 for none."
            )
        vocab.parse_tlds(self.tlds)

    @property
    def allowed_tlds(self) -> frozenset[bytes] | None:
        """The TLDs that have rows of their own; None when all do, or when there is no TLD."""
        return vocab.parse_tlds(self.tlds) if "tld" in self.labels else None

    def cflags(self) -> list[str]:
        """The compiler's arguments: each dimension, port, edge and list as a constant."""
        every = dict.fromkeys(vocab.DIMENSIONS + vocab.RESPONSE_DIMENSIONS)
        flags = [f"-DKEY_{name.upper()}={int(name in self.labels)}" for name in every]
        bounded = self.tlds != "all"
        width = vocab.TLD_BYTES if bounded else vocab.TLD_BYTES_UNBOUNDED
        watched = "||".join(f"(p)=={port}" for port in self.ports)
        types = "1"
        if self.qtypes == "registered":
            types = "||".join(
                f"((t)>={first}&&(t)<={last})" if first != last else f"(t)=={first}"
                for first, last in vocab.ranges(vocab.registered_qtypes())
            )
        return [
            *flags,
            f"-DHOOK_TC={int(self.hook == 'tc')}",
            f"-DRESPONSES={int(self.side == 'responses')}",
            f"-DHANDS_OVER={int(self.hands_over)}",
            *(
                f"-DENCRYPTED_{name.upper()}={int(name in self.encrypted)}"
                for name in vocab.ENCRYPTED
            ),
            f"-DTCP={int(self.tcp)}",
            f"-DTIMING={int(self.timing > 0)}",
            f"-DTIMING_SAMPLE={max(self.timing, 1)}",
            f"-DCAPTURE_CLOCK={int(self.capture_clock)}",
            *(["-DEXACT_EDNS=1"] if self.exact_edns else []),
            f"-DTLD_BYTES={width}",
            f"-DTLDS_BOUNDED={int(bounded)}",
            f"-DWATCHED_PORT(p)=({watched})",
            f"-DQTYPE_REGISTERED(t)=({types})",
            "-DEDNS_EDGES(X)=" + " ".join(f"X({edge})" for edge in self.edns_edges),
        ]
