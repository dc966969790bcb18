from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.unit.metrics_fixture import (
    LEAVING,
    MARGINALS,
    RESPONSES,
    SNAPSHOT,
    STATE,
    histogram,
    parsed,
)
from xdpdns import catalogue, vocab
from xdpdns.catalogue import CATALOGUE, EDGES, catalogue_table
from xdpdns.exposition import render
from xdpdns.families import (
    AgentState,
    Family,
    InterfaceState,
    agent_families,
    exact_sizes,
    families,
    fold,
)
from xdpdns.snapshot import EdnsSizes, Histogram, Marginals


def fail(collector: str, error: Exception) -> None:
    raise AssertionError(collector) from error


def by_name(made: list[Family]) -> dict[str, Family]:
    return {family.metric.name: family for family in made}


def test_catalogue_follows_the_conventions() -> None:
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    for metric in CATALOGUE:
        assert re.fullmatch(r"xdpdns_[a-z_]+", metric.name)
        assert all(re.fullmatch(r"[a-z_]+", label) for label in metric.labels)
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_info") == (metric.kind == "info")


def test_everything_in_the_catalogue_is_exported_with_its_labels() -> None:
    states = [STATE, LEAVING, InterfaceState("eth1", False, "absent")]
    made = families(states, fail) + agent_families(AgentState(0.5, {"gc": 1}))
    assert [family.metric for family in made] == list(CATALOGUE)
    for family in made:
        assert any(block.rows for block in family.blocks)
        for block in family.blocks:
            labels = tuple(label for label in block.labels if label != "le")
            assert labels == family.metric.labels
            assert all(len(block.fixed) + len(row) == len(block.labels) for row in block.rows)


def test_queries_are_handed_on_uncopied() -> None:
    family = by_name(families([STATE], fail))["xdpdns_queries_total"]
    assert family.blocks[0].rows is SNAPSHOT.queries


def test_an_interface_that_is_down_says_why_and_keeps_its_counters() -> None:
    made = by_name(families([replace(STATE, up=False, reason="replaced")], fail))
    assert made["xdpdns_up"].blocks[0].rows == {(): 0}
    assert made["xdpdns_interface_down_info"].blocks[0].rows == {("replaced",): 1}
    assert made["xdpdns_packets_total"].blocks[0].rows == {("query",): 5, ("fragment",): 2}


def test_what_the_kernel_does_not_count_is_absent() -> None:
    made = by_name(families([replace(STATE, runs=None, run_seconds=None)], fail))
    assert not any("program_run" in name for name in made)
    assert "xdpdns_interface_down_info" not in made


def test_a_switched_off_dimension_leaves_the_labels() -> None:
    snapshot = replace(SNAPSHOT, dimensions=("af",), queries={("ipv6",): 9})
    made = by_name(families([replace(STATE, snapshot=snapshot)], fail))
    assert made["xdpdns_queries_total"].blocks[0].labels == ("interface", "direction", "af")


def test_a_broken_snapshot_costs_only_its_own_counters() -> None:
    class Broken(Marginals):
        @property
        def opcodes(self) -> dict[str, int]:
            raise OSError("the map is gone")

    broken = Broken.__new__(Broken)
    errors: list[tuple[str, str]] = []
    states = [
        replace(STATE, interface="eth1", snapshot=replace(SNAPSHOT, marginals=broken)),
        STATE,
    ]
    made = by_name(families(states, lambda name, error: errors.append((name, str(error)))))
    assert errors == [("interface/eth1", "the map is gone")]
    assert [block.fixed for block in made["xdpdns_up"].blocks] == [("eth1",), ("eth0",)]
    assert [block.fixed for block in made["xdpdns_queries_total"].blocks] == [("eth0", "ingress")]


def test_exact_edns_sizes_are_the_same_series_whatever_a_sender_offers() -> None:
    nothing = exact_sizes(EdnsSizes({}, 0, 0))
    every = {(size, do): 1 for size in range(65536) for do in (False, True)}
    flood = exact_sizes(EdnsSizes(every, 3, 2))
    assert list(nothing) == list(flood)
    assert set(nothing.values()) == {0}
    assert len(flood) == 2 * (len(vocab.EDNS_SIZES) + 1) + 2
    assert sum(flood.values()) == 2 * 65536 + 3 + 2
    assert flood["1232", "1"] == flood["1232", "0"] == 1
    assert flood["~other", "1"] == 65536 - len(vocab.EDNS_SIZES)
    assert (flood["no_edns", "0"], flood["unseen", "0"]) == (3, 2)


def test_exact_edns_sizes_are_absent_unless_they_are_counted() -> None:
    name = "xdpdns_edns_exact_queries_total"
    assert by_name(families([STATE], fail))[name].blocks[0].rows["512", "0"] == 1
    without = replace(STATE, snapshot=replace(SNAPSHOT, edns_sizes=None))
    assert name not in by_name(families([without], fail))


def test_one_interface_twice_is_exported_once() -> None:
    errors: list[str] = []
    made = families([STATE, STATE], lambda name, error: errors.append(f"{name}: {error}"))
    assert errors == ["interface/eth0: two states of the interface eth0"]
    assert all(len(family.blocks) in (1, 3) for family in made)


def test_of_two_under_one_name_the_one_that_counts_is_exported() -> None:
    """eth0 was deleted, and eth1 is called eth0 now: both are watched."""
    gone = InterfaceState("eth0", False, "absent")
    errors: list[str] = []
    for states in ([gone, STATE], [STATE, gone]):
        made = by_name(families(states, lambda name, _: errors.append(name)))
        assert [block.rows for block in made["xdpdns_up"].blocks] == [{(): 1}]
        assert len(made["xdpdns_packets_total"].blocks) == 1
        assert "xdpdns_interface_down_info" not in made
    assert errors == ["interface/eth0"] * 2


def test_two_programs_of_one_interface() -> None:
    made = by_name(families([STATE, LEAVING], fail))
    assert [block.fixed for block in made["xdpdns_up"].blocks] == [("eth0",)]
    attached = {block.fixed: block.rows for block in made["xdpdns_interface_info"].blocks}
    assert attached == {
        ("eth0", "ingress"): {("native", "7"): 1},
        ("eth0", "egress"): {("tcx", "8"): 1},
    }
    assert [b.fixed for b in made["xdpdns_packets_total"].blocks] == [
        ("eth0", "ingress", "queries"),
        ("eth0", "egress", "responses"),
    ]
    assert made["xdpdns_responses_total"].blocks[0].rows is RESPONSES.queries


def test_both_sides_of_one_direction() -> None:
    """What hands over to the other counts beside it, but only one is attached and runs."""
    other = replace(LEAVING, direction="ingress", runs=0, run_seconds=0.0)
    made = by_name(families([STATE, other], fail))
    assert [block.fixed for block in made["xdpdns_packets_total"].blocks] == [
        ("eth0", "ingress", "queries"),
        ("eth0", "ingress", "responses"),
    ]
    for name in ("xdpdns_up", "xdpdns_interface_info", "xdpdns_program_runs_total"):
        assert len(made[name].blocks) == 1
    assert len(parsed(render(families([STATE, other], fail), False, fail))) > 0


def test_messages_over_tcp_have_no_outcomes_of_packets() -> None:
    rows = by_name(families([STATE], fail))["xdpdns_tcp_messages_total"].blocks[0].rows
    assert rows == {("query",): 3, ("qdcount",): 1, ("split",): 2, ("unread",): 4}


def test_response_times_are_in_seconds() -> None:
    made = by_name(families([LEAVING], fail))
    buckets, total, count = made["xdpdns_response_duration_seconds"].blocks
    assert buckets.fixed == ("eth0", "egress", "ipv4", "udp")
    assert buckets.rows == {("1.6384e-05",): 20, ("3.2768e-05",): 21, ("+Inf",): 21}
    assert total.rows == {(): 0.0002}
    assert count.rows == {(): 21}
    pairing = made["xdpdns_response_pairing_total"].blocks[0].rows
    assert pairing["matched",] == 21
    assert pairing["expired",] == 4
    assert made["xdpdns_latency_sample_ratio"].blocks[0].rows == {(): 0.0625}


def test_a_state_with_an_error_is_counted() -> None:
    errors: list[str] = []
    state = InterfaceState("eth0", False, "unreadable", error=OSError("gone"))
    families([state], lambda name, _: errors.append(name))
    assert errors == ["interface/eth0"]


def test_fold_is_cumulative_and_exact_at_every_edge() -> None:
    one_by_one = histogram(1, 256)  # value v was seen v + 1 times
    for metric in (catalogue.NAME_LENGTH, catalogue.NAME_LABELS):
        rows = fold(one_by_one, EDGES[metric])
        assert [le for (le,) in rows] == [f"{edge}.0" for edge in EDGES[metric]] + ["+Inf"]
        for edge in EDGES[metric]:
            assert rows[(f"{edge}.0",)] == sum(v + 1 for v in range(edge + 1))
        assert rows[("+Inf",)] == one_by_one.count


def test_the_size_edges_are_bounds_of_sixteen_byte_buckets() -> None:
    rows = fold(MARGINALS.size, EDGES[catalogue.SIZE])
    assert [le for (le,) in rows] == [f"{edge}.0" for edge in EDGES[catalogue.SIZE]] + ["+Inf"]
    assert rows[("31.0",)] == 1 + 2
    assert rows[("47.0",)] == 1 + 2 + 3


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((10, 20), {("10.0",): 1, ("20.0",): 3, ("+Inf",): 7}),
        ((12, 25, 99), {("10.0",): 1, ("20.0",): 3, ("+Inf",): 7}),  # down to a true bound
        ((3,), {("+Inf",): 7}),  # no bound is at or below it
        ((), {("+Inf",): 7}),
    ],
)
def test_fold_never_claims_more_than_the_buckets_say(
    edges: tuple[int, ...], expected: dict[tuple[str, ...], int]
) -> None:
    assert fold(Histogram((10, 20), (1, 2, 4), 0), edges) == expected


def test_the_readme_table_has_a_line_for_every_metric() -> None:
    lines = catalogue_table().splitlines()
    assert len(lines) == 2 + len(CATALOGUE)
    assert lines[2] == (
        "| `xdpdns_up` | gauge | `interface` | "
        "Whether the packets of this interface are counted (1) or not (0). |"
    )
