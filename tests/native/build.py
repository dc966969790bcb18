"""Builds the C programs of this folder against bpf/, with sanitizers and the agent's own flags."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bpf.vectors import VECTORS
from tests.bpf.vectors_framing import FRAMING
from tests.bpf.vectors_responses import RESPONSES
from xdpdns.settings import ProgramSettings
from xdpdns.vocab import bpf_folder

HERE = Path(__file__).parent
MEMORY = "address,undefined"
"""What is trapped: reads beyond the frame's ends, and what C leaves undefined."""

ENVIRONMENT = {
    # a wide zone before each allocation: words are read backwards
    "ASAN_OPTIONS": "redzone=256:quarantine_size_mb=16:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


@dataclass(frozen=True)
class Kind:
    """A compiler and the sanitizers that it builds in."""

    compiler: str
    sanitizers: str = MEMORY

    @property
    def available(self) -> bool:
        """Whether the compiler is installed."""
        return shutil.which(self.compiler) is not None

    def __str__(self) -> str:
        return f"{self.compiler}-{self.sanitizers.replace(',', '+')}"


def build(source: str, settings: ProgramSettings, kind: Kind, into: Path) -> Path:
    """Compile one of the sources here (its name without .c); returns the program.

    Raises:
        RuntimeError: with what the compiler said.
    """
    program = into / f"{source}-{kind}"
    command = [kind.compiler, "-std=gnu11", "-O1", "-g", "-Wall", "-Werror"]
    command += ["-Wno-unknown-pragmas", f"-fsanitize={kind.sanitizers}"]
    command += ["-fno-sanitize-recover=all", "-fno-omit-frame-pointer", f"-I{bpf_folder()}"]
    command += [*settings.cflags(), str(HERE / f"{source}.c"), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{source} does not build with {kind}: {done.stderr[:4000]}")
    return program


def stream(frames: list[bytes]) -> bytes:
    """Frames as frames.h reads them."""
    return b"".join(len(frame).to_bytes(4, "little") + frame for frame in frames)


def seeds() -> list[bytes]:
    """The vectors' frames: what fuzzers start from."""
    return [vector.frame for vector in VECTORS + FRAMING + RESPONSES]
