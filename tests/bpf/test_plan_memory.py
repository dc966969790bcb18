"""`xdpdns plan` against the kernel: the maps that are really made, their memory, a real scrape."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from xdpdns import kernel, present_replay, roles, vocab
from xdpdns.loader import LoadedProgram
from xdpdns.map_sizes import map_bytes, maps
from xdpdns.plan import plan
from xdpdns.program import compile_program
from xdpdns.settings import ProgramSettings

SETTINGS = [
    ProgramSettings(),
    ProgramSettings(tlds="all", max_series=4096),
    ProgramSettings(labels=("af", "qtype", "tld"), tlds="nl,de", max_series=5000),
    ProgramSettings(labels=("qr",), max_series=2),
    ProgramSettings(tlds="none", max_series=1_000_000),
    ProgramSettings(labels=("af", "edns"), exact_edns=True, max_series=64),
    *roles.programs("server", ProgramSettings(timing=16)).values(),
]


def memlock(fd: int) -> int:
    """The kernel's figure: bytes of a map, from fdinfo."""
    text = Path(f"/proc/self/fdinfo/{fd}").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("memlock:")]
    return int(line.split()[1])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_maps_and_memory_are_the_kernels(settings: ProgramSettings) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it loads a BPF program")
    compiled = compile_program(settings)
    program = LoadedProgram(compiled, settings)
    try:
        planned = {spec.name: spec for spec in maps(settings, kernel.cpu_numbers())}
        assert set(planned) == set(program.maps)
        for name, fd in program.maps.items():
            info = kernel.map_info(fd)
            spec = planned[name]
            made = (info.kind, info.key_size, info.max_entries)
            assert made == (spec.kind, spec.key_size, spec.max_entries), name
            # the plan takes struct counters to be as large as the kernel allows
            assert info.value_size == spec.value_size or name == "counters"
            assert info.value_size <= spec.value_size
            real = replace(spec, value_size=info.value_size)
            expected = map_bytes(real, kernel.possible_cpus())
            assert memlock(fd) == pytest.approx(expected, rel=0.02), name
    finally:
        program.close()


def test_all_memory_is_as_planned() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it loads a BPF program")
    settings = ProgramSettings()
    program = LoadedProgram(compile_program(settings), settings)
    try:
        kernels = sum(map(memlock, program.maps.values()))
    finally:
        program.close()
    planned = plan(settings, kernel.possible_cpus()).memory[kernel.possible_cpus()]
    assert planned == pytest.approx(kernels, rel=0.02)
    assert planned >= kernels


@pytest.mark.parametrize("exact_edns", [False, True])
def test_a_scrape_is_as_large_as_planned(exact_edns: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it loads a BPF program")
    settings = ProgramSettings(max_series=20_000, exact_edns=exact_edns)
    made = plan(settings, 2)
    program = LoadedProgram(compile_program(settings), settings)
    try:
        snapshot = program.snapshot()
    finally:
        program.close()
    random.seed(53)
    values = {
        "af": tuple(vocab.AF_NAMES.values()),
        "proto": tuple(vocab.PROTO_NAMES.values()),
        "edns": vocab.edns_buckets(settings.edns_edges),
        "qtype": [vocab.qtype_text(number) for number in vocab.registered_qtypes()],
        "tld": [vocab.tld_text(tld) for tld in sorted(vocab.iana_tlds())],
    }
    rows: dict[tuple[str, ...], int] = {}
    while len(rows) < made.rows:
        row = tuple(random.choice(values.get(label, ["0", "1"])) for label in settings.labels)
        rows[row] = random.randrange(10**6, 10**7)
    text = present_replay.prometheus(replace(snapshot, queries=rows), "eth0")
    series = [line for line in text.splitlines() if not line.startswith("#")]
    # present_replay.prometheus() has no interface_info, which the agent has
    assert len(series) + 1 - made.rows == pytest.approx(made.other_series, abs=2)
    assert len(text) == pytest.approx(made.scrape_bytes, rel=0.02)
