"""What the pictures of the dashboards ask of a Prometheus."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from grafana import picture

SERIES = {"metric": {"qtype": "A"}, "values": [[0, "1"]]}


def answer(**fields: object) -> bytes:
    return json.dumps({"status": "success", "data": {"result": [SERIES]}} | fields).encode()


@pytest.mark.parametrize("uid", picture.PICTURES)
def test_every_query_is_asked_with_its_variables_filled_in(uid: str) -> None:
    asked: list[dict[str, list[str]]] = []

    def ask(path: str) -> bytes:
        asked.append(parse_qs(urlsplit(path).query))
        return answer()

    found = picture.collect(ask, uid, 1000.0, 1600.0, "20s", instance="ns1")
    board = json.loads((picture.HERE / f"{uid}.json").read_text())
    targets = [target for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(asked) == len(targets)
    for query, target in zip(asked, targets, strict=True):
        [expr], [start], [end] = query["query"], query["start"], query["end"]
        assert "$" not in expr
        assert 'instance=~"ns1"' in expr
        assert (start, end) == ("1600.0" if target.get("instant") else "1000.0", "1600.0")
    assert (found["start"], found["end"]) == (1000.0, 1600.0)
    # two panels may have one title
    panels = {str(panel["id"]) for panel in board["panels"] if panel.get("targets")}
    assert {name.partition("/")[0] for name in found if "/" in name} == panels


def test_a_query_that_prometheus_refuses_is_named() -> None:
    with pytest.raises(ValueError, match="Queries: parse error"):
        picture.collect(
            lambda path: answer(status="error", error="parse error"), "xdpdns", 0, 1, "20s"
        )
