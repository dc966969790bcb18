"""What the agent calls a number is what bpf/ means by it: the headers compiled, and asked."""

from __future__ import annotations

import subprocess
from bisect import bisect_right
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import dns.rdataclass
import pytest

from tests.native.build import Kind, build
from tests.truth.compare import FLAG_BITS
from xdpdns import counters, decode, timing, vocab
from xdpdns.settings import ProgramSettings

EDGES = [(1232, 1400, 1500), (1,), (65534,), (512, 513), tuple(range(1000, 1016))]


@cache
def constants(edges: tuple[int, ...] = EDGES[0]) -> dict[str, int]:
    """What constants.c prints: numbers by name."""
    with TemporaryDirectory() as folder:
        program = build("constants", ProgramSettings(edns_edges=edges), Kind("cc"), Path(folder))
        text = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    pairs = (line.rsplit(" ", 1) for line in text.splitlines())
    return {name: int(number) for name, number in pairs}


def symbol(name: str) -> str:
    """A label's value as the headers spell it."""
    return "OTHER" if name == vocab.OTHER else name.upper()


def numbered(prefix: str, names: tuple[str, ...]) -> None:
    """Assert that the names are all of an enum, in its order."""
    found = constants()
    assert [found[f"{prefix}_{symbol(name)}"] for name in names] == list(range(len(names)))
    assert found[f"{prefix}_COUNT"] == len(names)


def test_outcomes() -> None:
    found = constants()
    names = list(vocab.outcomes())
    assert [found[f"outcome {name}"] for name in names] == list(range(len(names)))
    assert found["OUTCOME_COUNT"] == len(names)
    assert all(vocab.outcomes().values())


def test_classes() -> None:
    numbered("QCLASS", counters.QCLASSES)
    for number in range(65536):
        name = dns.rdataclass.to_text(dns.rdataclass.RdataClass.make(number))
        expected = name if name in counters.QCLASSES else vocab.OTHER
        assert counters.QCLASSES[constants()[f"qclass_index {number}"]] == expected, number


def test_edns_versions() -> None:
    numbered("VERSION", counters.EDNS_VERSIONS)
    for version in (*range(256), vocab.NO_EDNS, vocab.EDNS_UNSEEN):
        expected = str(version) if str(version) in counters.EDNS_VERSIONS else vocab.OTHER
        assert counters.EDNS_VERSIONS[constants()[f"version_index {version}"]] == expected


def test_flags_and_opcodes() -> None:
    found = constants()
    for flag, bit in counters.HEADER_FLAGS.items():
        assert found[f"header_index {FLAG_BITS[flag]}"] == bit
    for bit in range(11, 15):  # the opcode, which counters._opcodes() takes from bits 3 to 6
        assert found[f"header_index {bit}"] >> 3 & 15 == 1 << bit - 11


def test_overflows() -> None:
    numbered("OVERFLOW", counters.OVERFLOWS)


def test_usual() -> None:
    found = constants()
    assert found["USUAL_COUNT"] == 2 * counters.USUAL_LABELS * counters.USUAL_NAME_LEN
    for labels in range(1, counters.USUAL_LABELS + 1):
        usual = counters.usual(found[f"usual_labels {labels}"])
        assert usual == (counters.EDNS_VERSIONS.index("0"), labels, 1, 12 + 1 + 4 + 11)
        usual = counters.usual(found[f"usual_no_edns {labels}"])
        assert usual == (counters.EDNS_VERSIONS.index("no_edns"), labels, 1, 12 + 1 + 4)
    for length in range(1, counters.USUAL_NAME_LEN + 1):
        usual = counters.usual(found[f"usual_name_len {length}"])
        assert (usual.labels, usual.name_len, usual.size) == (1, length, 12 + length + 4 + 11)
    assert counters.QCLASSES[0] == "IN"


def test_fields() -> None:
    found = constants()
    assert found["SIZE_STEP"] == counters.SIZE_STEP
    assert {"qr", "do", "ad", "aa", "tc"} == decode._BITS.keys()
    for name, bit in decode._BITS.items():
        assert found[f"BIT_{name.upper()}"] == bit
    assert found["TLD_LEN_OTHER"] == decode._TLD_LEN_OTHER
    assert found["TLD_LEN_NONE"] == decode._TLD_LEN_NONE
    assert found["QTYPE_OTHER"] == decode._QTYPE_OTHER
    assert found["BIT_NO_QUESTION"] == decode._BIT_NO_QUESTION
    pseudo = {f"RCODE_{name.strip('~')}".upper(): n for n, name in vocab._PSEUDO_RCODES.items()}
    assert {name: found[name] for name in pseudo} == pseudo
    numbers = {name: number for number, name in vocab.PROTO_NAMES.items()}
    assert numbers == {"tcp": found["PROTO_TCP"], "udp": found["PROTO_UDP"]}


def test_types() -> None:
    registered = {number for number in range(65536) if constants()[f"registered {number}"]}
    assert registered == set(vocab.registered_qtypes())
    assert constants()["QTYPE_OTHER"] not in registered


def test_tld_bytes() -> None:
    assert constants()["TLD_BYTES"] == vocab.TLD_BYTES
    assert max(map(len, vocab.iana_tlds())) <= vocab.TLD_BYTES < constants()["TLD_LEN_OTHER"]
    assert 63 < vocab.TLD_BYTES_UNBOUNDED < constants()["TLD_LEN_NONE"]


@pytest.mark.parametrize("edges", EDGES, ids=str)
def test_edns_buckets(edges: tuple[int, ...]) -> None:
    names = vocab.edns_buckets(edges)
    found = constants(edges)
    assert names[found["EDNS_NONE"]] == vocab.NO_EDNS
    assert names[found["EDNS_UNSEEN"]] == vocab.EDNS_UNSEEN
    for size in range(65536):
        name = names[found[f"edns_bucket {size}"]]
        if size in edges:
            expected = str(size)
        else:
            above = [edge for edge in edges if edge > size]
            expected = f"leq{above[0] - 1}" if above else f"gt{edges[-1]}"
        assert name == expected, size


def test_timing() -> None:
    found = constants()
    assert found["PENDING_PAIRS"] * found["sizeof(struct waiting)"] == timing.SLOTS * 8
    assert (found["TIMING_SHIFT"], found["TIMING_FIRST"]) == (timing.SHIFT, timing.FIRST)
    assert found["TIMING_BUCKETS"] == timing.BUCKETS == len(timing.BOUNDS)
    names = [f"TIMING_{af}_{proto}".upper() for af, proto in timing.GROUPS]
    assert [found[name] for name in names] == list(range(found["TIMING_COUNT"]))
    members = [*timing._COUNTS, "bucket"]
    assert [found[f"timing {name}"] for name in members] == list(range(len(members)))
    assert found["timing units"] == len(timing._COUNTS) + len(timing.GROUPS) * timing.BUCKETS
    assert found["sizeof(struct timing)"] == 8 * timing._WORDS


def test_timing_buckets() -> None:
    edges = [bound >> timing.SHIFT for bound in timing.BOUNDS]
    asked = [name.split()[1] for name in constants() if name.startswith("timing_bucket")]
    assert len(asked) > 2 * timing.BUCKETS
    for units in map(int, asked):
        assert constants()[f"timing_bucket {units}"] == bisect_right(edges, units), units
