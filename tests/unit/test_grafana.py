"""The dashboards: committed as built, of metrics and labels that exist, and fit for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.build import build
from xdpdns import vocab
from xdpdns.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
BOARDS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "grafana").glob("*.json")}
RECORDED = {
    rule["record"]: set(re.findall(r"by \((.*?)\)", rule["expr"])[0].split(", "))
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
}
# What Prometheus says of a scrape, and prometheus_client of a process.
OTHERS = {
    "up": set[str](),
    "scrape_samples_scraped": set[str](),
    "process_resident_memory_bytes": set[str](),
    "process_cpu_seconds_total": set[str](),
}
TARGET = {"job", "instance"}
FUNCTIONS = (
    "sum|rate|increase|count|vector|max|min|avg|abs|stddev|topk|sort_desc|end|by|on|or|and|"
    "offset|group_left|histogram_quantile"
)


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


EVERY = [
    pytest.param(uid, panel, id=f"{uid}: {panel['title']}")
    for uid, board in BOARDS.items()
    for panel in panels(board)
]


def test_the_committed_json_is_what_is_built() -> None:
    for path, text in build().items():
        assert path.read_text() == text, f"run python -m grafana.build: {path.name} is old"
    assert {path.stem for path in build()} == set(BOARDS)


@pytest.mark.parametrize("uid", BOARDS)
def test_uids_and_variables_are_stable(uid: str) -> None:
    board = BOARDS[uid]
    assert board["uid"] == uid
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names[:4] == ["datasource", "job", "instance", "interface"]
    for variable in board["templating"]["list"][1:4]:
        name, label = re.findall(r"label_values\((\w+)(?:{.*})?, (\w+)\)", variable["query"])[0]
        assert label == variable["name"]
        assert label in KNOWN[name]
    assert {link["url"] for link in board["links"]} == {f"/d/{o}" for o in BOARDS if o != uid}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("uid", "panel"), EVERY)
def test_each_panel_explains_itself(uid: str, panel: dict[str, Any]) -> None:
    assert len(panel["description"]) > 20
    assert panel["description"].endswith(".")
    assert panel["links"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    config = panel["fieldConfig"]
    overridden = [p["id"] for o in config.get("overrides", []) for p in o["properties"]]
    axis = panel.get("options", {}).get("yAxis", {})
    assert config["defaults"].get("unit") or "unit" in overridden or axis.get("unit")
    for link in [*panel["links"], *config["defaults"].get("links", [])]:
        assert re.match(r"/d/(\S+?)\?", link["url"])[1] in BOARDS  # type: ignore[index]


@pytest.mark.parametrize(("uid", "panel"), EVERY)
def test_queries_ask_only_for_what_is_exported(uid: str, panel: dict[str, Any]) -> None:
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        check(target["expr"])
        for label in re.findall(r"{{(.*?)}}", target.get("legendFormat", "")):
            names = re.findall(r"([a-zA-Z_:][\w:]*){", target["expr"])
            assert any(label in KNOWN[name] for name in names), target


def known() -> Iterator[tuple[str, set[str]]]:
    """Each name that a query may ask for, with its labels."""
    for metric in CATALOGUE:
        labels = {*metric.labels, *TARGET}
        if metric.kind == "histogram":
            yield f"{metric.name}_bucket", {*labels, "le"}
            yield f"{metric.name}_sum", labels
            yield f"{metric.name}_count", labels
        else:
            yield metric.name, labels
    yield from RECORDED.items()
    for name, labels in OTHERS.items():
        yield name, labels | TARGET


KNOWN = dict(known())


def check(expr: str) -> None:
    """Names, labels and outcomes of an expression; every selector is bounded by the variables."""
    selectors = re.findall(r"([a-zA-Z_:][\w:]*){(.*?)}", expr)
    assert selectors
    labels: set[str] = set()
    for name, matchers in selectors:
        assert name in KNOWN, f"{name} is not exported: {expr}"
        labels |= KNOWN[name]
        given = dict(re.findall(r'(\w+)(?:=~|!=|=)"(.*?)"', matchers))
        assert set(given) <= KNOWN[name], f"{name} has no such label: {matchers}"
        for variable in ("job", "instance", "interface"):
            assert given.get(variable, f"${variable}") == f"${variable}"
            assert variable in given or variable not in KNOWN[name], expr
        for pattern in given.get("outcome", "").split("|"):
            assert not pattern or [o for o in vocab.outcomes() if re.fullmatch(pattern, o)]
    for listed in re.findall(r"\b(?:by|on|group_left) \((.*?)\)", expr):
        assert set(filter(None, listed.split(", "))) <= labels, f"{listed}: {expr}"
    for name in re.findall(r"[a-zA-Z_:][\w:]*\b(?!{)", expr):
        assert name not in KNOWN, f"{name} without the variables: {expr}"
    bare = re.sub(r"{.*?}|\[.*?\]|\b(?:by|on|group_left) \(.*?\)|offset \S+?(?=[ )]|$)", "", expr)
    names = set(re.findall(r"[a-zA-Z_:][\w:]*", bare))
    assert names - set(KNOWN) <= set(FUNCTIONS.split("|")), expr


@pytest.mark.parametrize(
    "expr",
    [
        'xdpdns_querys_total{job=~"$job",instance=~"$instance",interface=~"$interface"}',
        'xdpdns_up{job=~"$job",instance=~"$instance",interface=~"$interface",af="ipv4"}',
        'sum by (qtyp) (xdpdns_queries_total{job=~"$job",instance=~"$instance",'
        'interface=~"$interface"})',
        'xdpdns_up{job=~"$job"}',
        'xdpdns_up{job=~"$job",instance=~"$instance",interface=~"$interface"} / xdpdns_up',
        'xdpdns_packets_total{job=~"$job",instance=~"$instance",interface=~"$interface",'
        'outcome="querry"}',
    ],
)
def test_the_check_finds_what_does_not_exist(expr: str) -> None:
    with pytest.raises(AssertionError):
        check(expr)
