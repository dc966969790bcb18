"""The arithmetic of `xdpdns plan`; tests/bpf/test_plan_memory.py holds it against the kernel."""

from __future__ import annotations

import itertools
import json
from math import prod

import pytest
from click.testing import CliRunner

from xdpdns import kernel, vocab
from xdpdns.cli import main
from xdpdns.map_sizes import map_bytes, maps
from xdpdns.plan import ELSEWHERE, plan, to_json
from xdpdns.settings import ProgramSettings

SMALL = ProgramSettings(labels=("af", "do", "edns", "tld"), tlds="nl,de,.", edns_edges=(1232,))


def test_the_product_is_that_of_the_values() -> None:
    made = plan(ProgramSettings(), 4)
    assert [one.label for one in made.sides["queries"].dimensions] == list(vocab.DIMENSIONS)
    values = [one.values or 0 for one in made.sides["queries"].dimensions]
    assert values[:6] == [2, 2, 2, 2, 2, 9]
    assert values[6:] == [len(vocab.registered_qtypes()) + 1, len(vocab.iana_tlds()) + 1]
    assert [one.product for one in made.sides["queries"].dimensions] == list(
        itertools.accumulate(values, int.__mul__)
    )
    assert made.rows == made.max_series == 100_000


def test_the_rows_that_can_be_are_those_that_a_small_configuration_lists() -> None:
    buckets = ("no_edns", "unseen", "leq1231", "1232", "gt1232")
    possible = [
        row
        for row in itertools.product(("4", "6"), "01", buckets, ("nl", "de", ".", "~other"))
        if not (row[1] == "1" and row[2] in ("no_edns", "unseen"))
    ]
    made = plan(SMALL, 4)
    assert made.sides["queries"].dimensions[-1].product == prod((2, 2, 5, 4)) == 80
    assert made.sides["queries"].reachable == made.rows == len(possible) == 64
    assert made.max_series == 100_000


@pytest.mark.parametrize("labels", [("af", "edns"), ("af", "do"), ("qr",)])
def test_without_do_or_edns_every_row_can_be(labels: tuple[str, ...]) -> None:
    made = plan(ProgramSettings(labels=labels), 4)
    assert made.sides["queries"].reachable == made.sides["queries"].dimensions[-1].product


def test_without_a_list_only_max_series_bounds() -> None:
    made = plan(ProgramSettings(tlds="all", labels=("af", "tld"), max_series=77), 4)
    assert (
        made.sides["queries"].dimensions[1].values,
        made.sides["queries"].dimensions[1].product,
    ) == (None, None)
    assert made.sides["queries"].reachable is None
    assert made.rows == 77
    assert to_json(made)["queries"]["total"] is None
    assert to_json(made)["responses"] is None


def test_all_types_are_65536() -> None:
    made = plan(ProgramSettings(labels=("qtype",), qtypes="all"), 4)
    assert made.rows == 65536


def test_memory_grows_by_a_value_for_each_row_and_cpu() -> None:
    made = plan(ProgramSettings(labels=("af",), max_series=900), 3)
    assert list(made.memory) == [3, *ELSEWHERE]
    counters = next(spec for spec in made.maps if spec.name == "counters")
    # two blocks of 512 rows, the counters, the number that is kept, and a spare key (of 8 bytes, as
    # an element of the hash and in `keys`)
    each = 2 * 4096 + 2 * counters.value_size + 8
    grown = made.memory[64] - made.memory[8]
    assert 56 * each < grown < 56 * (each + 100)


def test_a_map_that_is_left_out_costs_nothing() -> None:
    always = ["queries", "counts", "keys", "numbers", "spare", "counters"]
    assert [spec.name for spec in maps(ProgramSettings(labels=("af",)), 2)] == always
    assert [spec.name for spec in maps(ProgramSettings(tlds="all"), 2)] == always


@pytest.mark.parametrize(
    ("spec", "cpus", "expected"),
    [
        # what Linux 6.18 says of them on two CPUs
        (kernel.MapSpec("", kernel.MAP_TYPE_PERCPU_HASH, 32, 8, 1000), 2, 121_280),
        (kernel.MapSpec("", kernel.MAP_TYPE_PERCPU_HASH, 8, 8, 100_000), 2, 10_098_048),
        (kernel.MapSpec("", kernel.MAP_TYPE_PERCPU_HASH, 72, 8, 1 << 20), 2, 167_773_056),
        (kernel.MapSpec("", kernel.MAP_TYPE_HASH, 24, 8, 1500), 2, 153_840),
        (kernel.MapSpec("", kernel.MAP_TYPE_PERCPU_ARRAY, 4, 9504, 1), 2, 19_328),
    ],
)
def test_bytes_as_a_kernel_said(spec: kernel.MapSpec, cpus: int, expected: int) -> None:
    assert map_bytes(spec, cpus) == expected


def test_responses_have_rows_too() -> None:
    """Each response code, and what has no question."""
    settings = ProgramSettings(side="responses", labels=("rcode", "qtype", "tld"), tlds="nl")
    responses = plan(settings, 4).sides["responses"]
    rcodes = 12 + 8 + len(("NODATA", "REFERRAL", "~other"))
    qtypes = len(vocab.registered_qtypes()) + len(("~other", "~none"))
    assert [one.values for one in responses.dimensions] == [rcodes, qtypes, 3]
    assert responses.rows == rcodes * qtypes * 3


@pytest.mark.parametrize(
    ("options", "sides"),
    [
        ("", {"queries", "responses"}),
        ("--no-responses", {"queries"}),
        ("--role client", {"queries", "responses"}),
    ],
)
def test_the_command_counts_what_attach_does(options: str, sides: set[str]) -> None:
    done = CliRunner().invoke(main, ["plan", "--output", "json", *options.split()])
    made = json.loads(done.stdout)
    assert {side for side in ("queries", "responses") if made[side]} == sides
    assert made["rows"] == sum(made[side]["rows"] for side in sides)
    timed = CliRunner().invoke(main, ["plan", "--output", "json", "--latency-sample", "16"])
    assert "pending" in {one["map"] for one in json.loads(timed.stdout)["maps"]}
    assert "pending" not in {one["map"] for one in made["maps"]}


def test_the_command_as_json() -> None:
    done = CliRunner().invoke(
        main, ["plan", "--output", "json", "--labels", "af,tld", "--tlds", "nl"]
    )
    assert done.exit_code == 0
    made = json.loads(done.stdout)
    assert made["queries"]["dimensions"][0] == {
        "label": "af",
        "values": 2,
        "product": 2,
        "examples": ["ipv4", "ipv6"],
        "mean_bytes": 4.0,
    }
    queries, responses = made["queries"], made["responses"]
    assert (queries["total"], queries["reachable"], queries["rows"]) == (4, 4, 4)
    assert made["rows"] == 4 + responses["rows"]
    here = next(row["bytes"] for row in made["memory"] if row["cpus"] == made["cpus"])
    assert here == sum(row["bytes"] for row in made["maps"])


def test_the_command_as_a_table() -> None:
    done = CliRunner().invoke(main, ["plan", "--max-series", "5000"])
    assert done.exit_code == 0
    assert f"{plan(ProgramSettings(), 1).sides['queries'].dimensions[-1].product:,}" in done.stdout
    assert "(the machine planned for)" in done.stdout
    assert "5,000" in done.stdout


def test_the_command_for_another_machine() -> None:
    done = CliRunner().invoke(main, ["plan", "--cpus", "48", "--output", "json"])
    made = json.loads(done.stdout)
    assert made["cpus"] == 48
    by_cpus = {row["cpus"]: row["bytes"] for row in made["memory"]}
    assert by_cpus[48] == sum(row["bytes"] for row in made["maps"])
    assert by_cpus[8] < by_cpus[48] < by_cpus[64]
    assert CliRunner().invoke(main, ["plan", "--cpus", "0"]).exit_code == 2


def test_wrong_usage() -> None:
    done = CliRunner().invoke(main, ["plan", "--labels", "colour"])
    assert done.exit_code == 2
    assert "colour is not a dimension" in done.stderr
