"""The configuration file: what it can set, what comes before it, and how errors are named."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from xdpdns.cli import config_file, main

BAD = """\
[attach]
interfaces = ["eth0"]
mdoe = "x"
mode = "fast"
web.listen-address = "10530"
labels = ["af",
  "qtpye"]
keep = "yes"
max-series = 0
edns-edges = ["a"]
netns = 7
port = [true]

[repotr.edns]
port = 1

[report.edns]
port = 99999
plt = 1

[demo]
rate = "5"
seconds = 0.1

[config]
x = 1
"""

SAID = """\
3: attach.mdoe: `attach` has no such option: did you mean mode?
4: attach.mode: 'fast' is not one of 'auto', 'native', 'generic'.
5: attach.web.listen-address: '10530' is no address to listen on
6: attach.labels: qtpye is not a dimension: choose from af,proto,
8: attach.keep: here should be true or false.
9: attach.max-series: 0 is out of bounds: give 1 to
10: attach.edns-edges: 'a' is not a list of numbers such as 1232,1400.
11: attach.netns: here should be a text in quotes.
12: attach.port: here should be a text or a list.
14: repotr: there is no such command: did you mean report?
18: report.edns.port: 99999 is no port: give 1 to 65535.
19: report.edns.plt: `report edns` has no such option: did you mean plot?
22: demo.rate: here should be a number, without quotes.
23: demo.seconds: 0.1 is not in the range x>=0.5.
25: config: there is no such command.
"""


def run(command: str, **variables: str) -> Result:
    return CliRunner().invoke(main, shlex.split(command), env=variables)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.toml"


@pytest.fixture(autouse=True)
def nothing_in_etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "DEFAULT", tmp_path / "etc.toml")


def test_every_error_is_named_with_its_line(path: Path) -> None:
    path.write_text(BAD)
    done = run(f"config check {path}")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert len(lines) == len(SAID.splitlines())
    for line, wanted in zip(lines, SAID.splitlines(), strict=True):
        assert line.startswith(f"{path}:{wanted}")


def test_every_error_as_json(path: Path) -> None:
    path.write_text('[attach]\nmdoe = "x"\n')
    done = run(f"config check {path} --output json", XDPDNS_PLAN_LABEL="tld")
    assert done.exit_code == 1
    assert json.loads(done.output) == {
        "file": str(path),
        "ok": False,
        "problems": [
            {
                "file": str(path),
                "line": 2,
                "key": "attach.mdoe",
                "problem": "`attach` has no such option: did you mean mode?",
            }
        ],
        "environment": [
            {
                "variable": "XDPDNS_PLAN_LABEL",
                "problem": "there is no such option: did you mean XDPDNS_PLAN_LABELS?",
            }
        ],
    }


def test_nothing_is_wrong(path: Path) -> None:
    path.write_text('[attach]\ninterfaces = ["eth0"]\ntlds = ["nl", "de"]\nverbose = true\n')
    done = run(f"config check {path}", XDPDNS_CONFIG="x", XDPDNS_OPTIONS="-v")
    assert (done.exit_code, done.output) == (0, f"{path} can be used.\n")


def plan(arguments: str, **variables: str) -> dict[str, Any]:
    done = run(f"{arguments} plan --output json", **variables)
    assert done.exit_code == 0, done.output
    made: dict[str, Any] = json.loads(done.output)
    return made


def labels(made: dict[str, Any]) -> list[str]:
    return [one["label"] for one in made["queries"]["dimensions"]]


def test_command_line_environment_file_default(path: Path) -> None:
    path.write_text('[plan]\nlabels = ["af", "tld"]\nmax-series = 7\nedns-edges = "100,200"\n')
    assert plan("")["max_series"] == 100_000
    made = plan(f"--config {path}")
    assert (labels(made), made["max_series"]) == (["af", "tld"], 7)
    made = plan("", XDPDNS_CONFIG=str(path), XDPDNS_PLAN_LABELS="do")
    assert (labels(made), made["max_series"]) == (["do"], 7)
    done = run(f"--config {path} plan --labels qr --output json", XDPDNS_PLAN_LABELS="do")
    made = json.loads(done.output)
    assert (labels(made), made["max_series"]) == (["qr"], 7)


def test_the_usual_file(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.write_text("[plan]\nmax-series = 7\n")
    monkeypatch.setattr(config_file, "DEFAULT", path)
    assert plan("")["max_series"] == 7
    assert plan("--config /dev/null")["max_series"] == 100_000


@pytest.mark.parametrize("command", ["plan", "attach lo --dry-run"])
def test_a_mistyped_variable_is_warned_of(command: str, caplog: pytest.LogCaptureFixture) -> None:
    variable = f"XDPDNS_{command.split()[0].upper()}_PROT"
    done = run(command, **{variable: "53"})
    said = done.output + caplog.text
    assert done.exit_code == 0
    assert f"the variable {variable} is no option's, and has no effect: did you mean" in said
    assert "no option's" not in run(command, XDPDNS_SERVICE_HOST="10.0.0.1").output


def test_a_file_with_an_error_stops_the_command(path: Path) -> None:
    path.write_text('[plan]\nmax-series = "7"\n[replay]\nportt = 1\n')
    done = run(f"--config {path} plan")
    assert done.exit_code == 2
    assert f"{path}:2: plan.max-series: here should be a whole number" in done.output
    # what another command is told does not matter
    assert "replay" not in done.output
    # and nothing keeps anybody from help
    assert run(f"--config {path} plan --help").exit_code == 0
    assert run(f"--config {path} --version").exit_code == 0


def test_a_table_of_no_command_stops_every_command(path: Path) -> None:
    path.write_text("[paln]\nmax-series = 7\n")
    done = run(f"--config {path} plan")
    assert (done.exit_code, "did you mean plan?" in done.output) == (2, True)


def test_nested_commands(path: Path) -> None:
    path.write_text("[report.edns]\nfiles = []\n")
    done = run(f"--config {path} report edns")
    assert (done.exit_code, f"{path}:2: report.edns.files" in done.output) == (2, True)


def test_config_behind_the_command(path: Path) -> None:
    done = run(f"plan --config {path}")
    assert (done.exit_code, "before the command" in done.output) == (2, True)


def test_show_says_where_values_come_from(path: Path) -> None:
    path.write_text('[attach]\nport = 5353\nweb.listen-address = "[::1]:1"\n')
    done = run(
        f"--config {path} config show attach --output json",
        XDPDNS_ATTACH_KEEP="1",
        XDPDNS_ATTACH_LABELS="af,tld",
        XDPDNS_ATTACH_MODE="what",
    )
    assert done.exit_code == 0, done.output
    made = json.loads(done.output)
    assert made["file"] == str(path)
    found = {value["name"]: value for value in made["values"]}
    assert {value["command"] for value in made["values"]} == {"attach"}
    for name, value, source, origin in [
        ("port", [5353], "file", f"{path}:2"),
        ("web.listen-address", ["[::1]:1"], "file", f"{path}:3"),
        ("keep", True, "environment", "XDPDNS_ATTACH_KEEP"),
        ("labels", ["af", "tld"], "environment", "XDPDNS_ATTACH_LABELS"),
        ("mode", "what", "environment", "XDPDNS_ATTACH_MODE"),
        ("max-series", 100_000, "default", ""),
        ("user", None, "default", ""),
    ]:
        assert found[name] == {
            "command": "attach",
            "name": name,
            "value": value,
            "source": source,
            "origin": origin,
        }


def test_what_show_prints_is_a_file_of_the_same_values(path: Path) -> None:
    path.write_text('[attach]\ninterfaces = ["eth0"]\ntlds = "nl,de"\n[demo]\nrate = 7.5\n')
    shown = run(f"--config {path} config show")
    assert shown.exit_code == 0
    copy = path.with_name("copy.toml")
    copy.write_text(shown.output)
    before, after = [
        json.loads(run(f"--config {one} config show --output json").output)["values"]
        for one in (path, copy)
    ]
    assert [(value["command"], value["name"], value["value"]) for value in before] == [
        (value["command"], value["name"], value["value"]) for value in after
    ]


def test_show_of_no_command() -> None:
    done = run("config show atach")
    assert (done.exit_code, "no command `atach`" in done.output) == (2, True)


def test_the_recheck_of_a_running_command(path: Path) -> None:
    path.write_text("[attach]\nprot = 53\n")
    with click.Context(main, info_name="xdpdns"):
        [problem] = config_file.problems(path)
        assert problem.startswith(f"{path}:2: attach.prot:")
        path.write_text("[attach\n")
        [problem] = config_file.problems(path)
        assert problem.startswith(f"{path}:1: this is no TOML")
        path.write_text("[attach]\nport = 53\n")
        assert config_file.problems(path) == []
