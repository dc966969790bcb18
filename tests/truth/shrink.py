"""The smallest frame that still shows a disagreement, and its text as a test vector."""

from __future__ import annotations

from collections.abc import Callable

from tests.truth.generator import MIN_FRAME
from tests.truth.reference import Verdict


def shrink(frame: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Cut out and blank bytes, greedily, as long as `fails` stays true (it must be for `frame`).

    First runs of bytes are cut out, long ones first, then single bytes are made zero; both until
    nothing changes any more.
    """
    while True:
        smaller = _zero(_cut(frame, fails), fails)
        if smaller == frame:
            return frame
        frame = smaller


def _cut(frame: bytes, fails: Callable[[bytes], bool]) -> bytes:
    size = len(frame) // 2
    while size:
        at = 0
        while at < len(frame):
            candidate = frame[:at] + frame[at + size :]
            if len(candidate) >= MIN_FRAME and fails(candidate):
                frame = candidate
            else:
                at += size
        size //= 2
    return frame


def _zero(frame: bytes, fails: Callable[[bytes], bool]) -> bytes:
    for at, byte in enumerate(frame):
        if byte:
            candidate = frame[:at] + b"\0" + frame[at + 1 :]
            if fails(candidate):
                frame = candidate
    return frame


def as_vector(frame: bytes, expected: Verdict) -> str:
    """The frame as a line for `tests.bpf.vectors`."""
    row = f", {type(expected.row).__name__}{tuple(expected.row)}" if expected.row else ""
    return f'Vector("", bytes.fromhex("{frame.hex()}"), "{expected.outcome}"{row})'
