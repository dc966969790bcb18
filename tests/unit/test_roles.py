"""Which programs an interface has in each role, and which of them belong together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
from click.testing import CliRunner

from tests.unit.test_plan import SMALL
from xdpdns import roles
from xdpdns.cli import main
from xdpdns.errors import SettingsError
from xdpdns.plan import plan
from xdpdns.roles import Way
from xdpdns.running import exchange
from xdpdns.settings import ProgramSettings
from xdpdns.timing import TIMED

IN_Q, IN_R = Way("ingress", "queries"), Way("ingress", "responses")
OUT_Q, OUT_R = Way("egress", "queries"), Way("egress", "responses")


@pytest.mark.parametrize(
    ("role", "responses", "expected"),
    [
        ("server", True, [IN_Q, OUT_R]),
        ("client", True, [IN_R, OUT_Q]),
        ("both", True, [IN_Q, IN_R, OUT_Q, OUT_R]),
        ("server", False, [IN_Q]),
        ("client", False, [OUT_Q]),
        ("both", False, [IN_Q, OUT_Q]),
    ],
)
def test_what_goes_which_way(role: str, responses: bool, expected: list[Way]) -> None:
    made = roles.programs(role, ProgramSettings(timing=16), responses=responses)
    assert list(made) == expected
    for way, settings in made.items():
        assert settings.side == way.side
        assert settings.hook == ("xdp" if way.direction == "ingress" else "tc")
        assert settings.timing == (16 if responses else 0)
        # only the queries' program hands over, and only where there is another one
        assert settings.hands_over == (role == "both" and responses and way.side == "queries")


@pytest.mark.parametrize("hook", ["tcx", "clsact"])
def test_at_tc_both_directions_are_the_same_programs(hook: Any) -> None:
    made = roles.programs("both", ProgramSettings(), hook=hook)
    assert made[IN_Q] == made[OUT_Q]
    assert made[IN_R] == made[OUT_R]
    assert {settings.hook for settings in made.values()} == {"tc"}


def test_partners_time_the_same_exchanges() -> None:
    assert IN_Q.partner == OUT_R
    assert OUT_Q.partner == IN_R
    for way in itertools.chain(*roles.WAYS.values()):
        assert way.partner.partner == way


def test_the_queries_program_is_on_the_hook_of_both() -> None:
    for role, entries in (("both", [IN_Q, OUT_Q]), ("client", [IN_R, OUT_Q])):
        made = roles.programs(role, ProgramSettings())
        assert list(roles.directions(made).values()) == entries


@dataclass(frozen=True)
class Running:
    """Of a RunningProgram what exchange() looks at."""

    way: Way


def test_an_exchange_is_of_one_role() -> None:
    """Two queries' programs, as while one takes over: the first of each way."""
    found: Any = [Running(way) for way in (IN_Q, IN_R, OUT_Q, OUT_R, IN_Q)]
    server, client = exchange(found), exchange(found, "client")
    assert [(side, one.way) for side, one in server.items()] == [
        ("queries", IN_Q),
        ("responses", OUT_R),
    ]
    assert server["queries"] is found[0]
    assert [one.way for one in client.values()] == [OUT_Q, IN_R]


def test_without_its_role_an_exchange_is_of_the_other() -> None:
    found: Any = [Running(IN_R), Running(OUT_Q)]
    assert [one.way for one in exchange(found).values()] == [OUT_Q, IN_R]
    assert exchange([]) == {}


def test_the_plan_of_both_has_all_maps() -> None:
    """Two tables of waiting queries, each shared by partners; and rows of both directions."""
    made = plan(roles.programs("both", replace(SMALL, timing=1)), 4)
    names = [spec.name for spec in made.maps]
    assert names.count("counters") == 4
    assert names.count("queries") == names.count("responses") == 2
    assert all(names.count(name) == 2 for name in TIMED if name != "clock")
    assert made.sides["queries"].rows == 2 * plan(SMALL, 4).rows


def test_plan_takes_the_role() -> None:
    server, both = (
        CliRunner().invoke(main, ["plan", "--role", role]).stdout for role in ("server", "both")
    )
    assert "100,000 of queries" in server
    assert "200,000 of queries" in both


@pytest.mark.parametrize("text", ["dot,doh", "", "None"])
def test_encrypted_transports_that_are_unknown(text: str) -> None:
    done = CliRunner().invoke(main, ["plan", "--encrypted", text])
    if text:
        assert done.exit_code == 2
        assert "--encrypted" in done.output
        assert "dot,doq,doh3" in done.output
    else:
        assert done.exit_code == 0


def test_encrypted_transports_in_one_order() -> None:
    assert ProgramSettings(encrypted=("doh3", "dot")).encrypted == ("dot", "doh3")
    with pytest.raises(SettingsError, match="--encrypted: dox is unknown"):
        ProgramSettings(encrypted=("dox",))
