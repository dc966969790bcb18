"""Rows by queries: as many different ones as wanted, run through the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from tests import packets as p
from xdpdns import kernel, vocab
from xdpdns.settings import ProgramSettings

_SIZES = (512, 1232, 1300, 1400, 1450, 1500, 4096)
"""One for each EDNS bucket."""
_TIMES = (1, 3, 11)
"""How often a row's query comes, so that numbers have one digit or two."""


def queries() -> Iterator[bytes]:
    """Frames of queries whose rows (of all dimensions) are all different.

    Types and TLDs change fastest, as they do in traffic.
    """
    tlds = sorted(ProgramSettings().allowed_tlds or ())
    names = [p.labels(tld) if tld else p.labels() for tld in tlds]
    frames = (p.frame4, p.frame6)
    for size, do, ad, frame, qtype in product(
        _SIZES, (False, True), (0, 1), frames, vocab.registered_qtypes()
    ):
        additional = [p.opt(size, do=do)]
        for name in names:
            yield frame(p.dns_query(name, qtype, ad=ad, additional=additional))


def fill(program: int, count: int, start: int = 0) -> None:
    """Have a program, given by its fd, make rows number `start` to `count`."""
    # One by one: to repeat a packet the kernel waits for all CPUs (bpf_dispatcher_change_prog())
    run = kernel.TestRun(program)
    for number, frame in enumerate(islice(queries(), start, count), start):
        for _ in range(_TIMES[number % len(_TIMES)]):
            if run.run(frame) != kernel.XDP_PASS:
                raise AssertionError("the program did not return XDP_PASS")
