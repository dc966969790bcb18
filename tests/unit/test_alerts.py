"""The alerting and recording rules, judged by promtool and against the catalogue."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from xdpdns import vocab
from xdpdns.catalogue import CATALOGUE

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = [FOLDER / "alerts.yml", FOLDER / "rules.yml"]
TESTS = sorted((FOLDER / "tests").glob("*.yml"))


def promtool(*argv: str | Path, check: bool = True) -> str:
    """What promtool prints, on either stream; skips where it isn't installed."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not here: deploy/setup --dev installs it")
    done = subprocess.run(["promtool", *argv], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    found = [
        group for path in RULES for group in yaml.safe_load(path.read_text()).get("groups", [])
    ]
    return [rule for group in found for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def cases() -> list[dict[str, Any]]:
    """The expectations of all unit tests."""
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    return [case for test in tests for case in test["promql_expr_test"]]


def test_promtool_takes_the_rules() -> None:
    assert promtool("check", "rules", *RULES).count("SUCCESS") == len(RULES) == 2


def test_promtool_runs_their_unit_tests() -> None:
    assert promtool("test", "rules", *TESTS).count("SUCCESS") == len(TESTS) == 3


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    """What makes the test above worth something."""
    (tmp_path / "tests").mkdir()
    for path in RULES:
        shutil.copy(path, tmp_path)
    text = TESTS[0].read_text()
    wrong = text.replace('severity="page"', 'severity="ticket"')
    assert wrong != text
    path = tmp_path / "tests" / TESTS[0].name
    path.write_text(wrong)
    assert "FAILED" in promtool("test", "rules", path, check=False)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_seen_firing_and_silent(alert: str) -> None:
    named = [case for case in cases() if f'alertname="{alert}"' in case["expr"]]
    others = [
        case
        for case in cases()
        if case["exp_samples"] and f'alertname="{alert}"' not in str(case["exp_samples"])
    ]
    assert [case for case in named if case["exp_samples"]], "no case in which it fires"
    assert [case for case in named if not case["exp_samples"]], "no case in which it is silent"
    assert others


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_it_means_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    for text in rule["annotations"].values():
        assert text.strip().endswith("."), text
    for other in re.findall(r"\bXdpdns\w+", rule["annotations"]["runbook"]):
        assert other in ALERTS


def test_annotations_expand(tmp_path: Path) -> None:
    """promtool prints the alerts that it did not expect, with their annotations."""
    (tmp_path / "tests").mkdir()
    for path in RULES:
        shutil.copy(path, tmp_path)
    seen = set()
    for path in TESTS:
        content = yaml.safe_load(path.read_text())
        for test in content["tests"]:
            test["alert_rule_test"] = [
                {
                    "eval_time": case["eval_time"],
                    "alertname": re.findall(r'alertname="(\w+)"', case["expr"])[0],
                    "exp_alerts": [],
                }
                for case in test.pop("promql_expr_test")
                if case["exp_samples"] and "ALERTS{" in case["expr"]
            ]
        copy = tmp_path / "tests" / path.name
        copy.write_text(yaml.safe_dump(content))
        printed = promtool("test", "rules", copy, check=False)
        seen |= set(re.findall(r'alertname="(\w+)"', printed))
        assert "<error" not in printed, printed
        assert "<no value>" not in printed, printed
        assert "{{" not in printed, printed
        if "agents" in path.name:
            assert "the reason is replaced" in printed
            assert "the map of eth0 is 80% full" in printed
    assert seen == set(ALERTS)


def test_only_what_is_exported_or_recorded_is_asked_for() -> None:
    exported = {metric.name: {*metric.labels, "job", "instance"} for metric in CATALOGUE}
    for metric in CATALOGUE:
        if metric.kind == "histogram":
            exported[f"{metric.name}_bucket"] = {*exported.pop(metric.name), "le"}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        expr = rule["expr"]
        for name in re.findall(r"\w+:xdpdns_\w+:\w+", expr):
            assert name in recorded
        for name, matchers in re.findall(r"(?<!:)\b(xdpdns_\w+)\b(?!:)(?:{(.*?)})?", expr):
            assert name in exported, expr
            for label, value in re.findall(r'(\w+)=~?"(.*?)"', matchers):
                assert label in exported[name], expr
                if label == "outcome":
                    for pattern in value.split("|"):
                        assert [o for o in vocab.outcomes() if re.fullmatch(pattern, o)], pattern
