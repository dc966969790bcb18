"""Fuzzes the parsers natively with libFuzzer; without clang, with mutants of its own.

    tests/native/fuzz --seconds 600 --side responses --corpus /var/tmp/xdpdns-corpus

Starts from the vectors' frames. An input that traps is written to the corpus folder, so that every
later run with this folder meets it first.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from tests.native.build import ENVIRONMENT, MEMORY, Kind, build, seeds, stream
from xdpdns import vocab
from xdpdns.settings import ProgramSettings

LIBFUZZER = Kind("clang", f"fuzzer,{MEMORY}")
LONGEST = 4096
EXACT = ProgramSettings(tlds="all", qtypes="all")
"""The longest TLD: the words of read_tld() reach back the furthest."""

RESPONSES = replace(EXACT, side="responses", labels=vocab.RESPONSE_DIMENSIONS, timing=1)
SIDES = {"queries": replace(EXACT, timing=1), "responses": RESPONSES}
"""What is fuzzed: either side, each message prepared to be timed."""

DICTIONARY = (
    *(b"\x08\x00\x45\x00", b"\x86\xdd\x60\x00", b"\x81\x00", b"\x88\xa8"),  # EtherTypes
    b"\x00\x35",  # port 53
    b"\x00\x01\x00\x00\x00\x00\x00\x01",  # one question, one additional record
    *(b"\x01a\x01b\x01c\x01d", b"\x03ip6\x04arpa\x00", b"\xc0\x0c"),  # names
    b"\x00\x00\x29",  # the start of an OPT
)
"""Bytes that mean something, for libFuzzer to write and to put together."""


@dataclass(frozen=True)
class Result:
    """What a run did: inputs tried, the fuzzer's exit code, and the end of what it printed."""

    inputs: int
    failed: bool
    report: str


def libfuzzer_works(folder: Path) -> bool:
    """Whether clang is here with its fuzzer's runtime (Debian: libclang-rt-14-dev)."""
    if not LIBFUZZER.available:
        return False
    try:
        build("fuzz_target", EXACT, LIBFUZZER, folder)
    except RuntimeError:
        return False
    return True


def libfuzzer(
    seconds: int, corpus: Path, folder: Path, settings: ProgramSettings = EXACT
) -> Result:
    """Run libFuzzer for so long; what it finds worth keeping is added to `corpus`."""
    program = build("fuzz_target", settings, LIBFUZZER, folder)
    for frame in seeds():
        (corpus / sha256(frame).hexdigest()).write_bytes(frame)
    words = folder / "dictionary"
    words.write_text("\n".join(map(_quoted, DICTIONARY)))
    command = [str(program), f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=5"]
    command += ["-use_value_profile=1", "-print_final_stats=1", f"-dict={words}"]
    command += [f"-artifact_prefix={corpus}/crash-", str(corpus)]
    done = subprocess.run(command, capture_output=True, env=os.environ | ENVIRONMENT)
    report = done.stderr.decode(errors="replace")
    ran = re.search(r"number_of_executed_units: (\d+)", report)
    return Result(int(ran[1]) if ran else 0, done.returncode != 0, report[-6000:])


def mutate(seed: int, count: int, kind: Kind, folder: Path, settings: ProgramSettings) -> Result:
    """Run mutate.c: the same mutants for the same seed, with any compiler."""
    program = build("mutate", settings, kind, folder)
    done = subprocess.run(
        [program, str(seed), str(count)],
        input=stream([frame for frame in seeds() if frame]),
        capture_output=True,
        env=os.environ | ENVIRONMENT,
    )
    report = (done.stdout + done.stderr).decode(errors="replace")
    return Result(count, done.returncode != 0, report[-6000:])


def _quoted(word: bytes) -> str:
    """An entry of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"'


def main() -> int:
    """Run by hand; the exit code is 1 if an input trapped."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long")
    parser.add_argument("--side", choices=SIDES, default="queries", help="what is counted")
    parser.add_argument("--corpus", type=Path, help="folder of inputs to keep and go on from")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xdpdns-fuzz-") as folder:
        corpus = (options.corpus or Path(folder) / "corpus").resolve()
        corpus.mkdir(parents=True, exist_ok=True)
        if libfuzzer_works(Path(folder)):
            result = libfuzzer(options.seconds, corpus, Path(folder), SIDES[options.side])
        else:
            print("no clang with libFuzzer: mutants instead", file=sys.stderr)
            count = options.seconds * 100_000
            result = mutate(1, count, Kind("cc"), Path(folder), SIDES[options.side])
        print(result.report)
        print(f"{result.inputs} inputs, {'a fault' if result.failed else 'no fault'}")
    return int(result.failed)


if __name__ == "__main__":
    sys.exit(main())
