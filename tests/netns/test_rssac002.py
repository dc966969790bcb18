"""`xdpdns report rssac002` of running counters: what is read beside an agent that counts NSD."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.actors import Agent, dnsperf, start_nsd
from tests.netns.lab import Lab
from tests.netns.mix import known_mix
from xdpdns.errors import UnreadableError
from xdpdns.rssac002 import counters
from xdpdns.rssac002.counters import Reading, ReportError
from xdpdns.rssac002.measures import between

COUNT = 500


def read(lab: Lab) -> Reading:
    return lab.server.inside(lambda: counters.read(["eth0"]))


def test_what_was_counted_between_two_readings(lab: Lab) -> None:
    start_nsd(lab)
    agent = Agent(lab)
    dnsperf(lab, [query.wire for query in known_mix(7)])
    before = read(lab)
    dnsperf(lab, [query.wire for query in known_mix(COUNT)])
    after = read(lab)
    assert before.interfaces["eth0"].maps == after.interfaces["eth0"].maps
    made = between(before.interfaces["eth0"].measures, after.interfaces["eth0"].measures)
    assert made is not None
    for what in ("queries-received", "responses-sent"):
        found = {key: n for key, n in made["traffic-volume"].items() if what in key and n}
        assert sum(found.values()) == COUNT
        assert all("-udp-" in key for key in found)
    assert sum(made["rcode-volume"].values()) == COUNT
    for sizes in ("udp-request-sizes", "udp-response-sizes"):
        assert sum(made[sizes].values()) == COUNT
    assert made["tcp-request-sizes"] == made["tcp-response-sizes"] == {}

    # began again: other maps, although they count the same
    agent.stop()
    Agent(lab)
    assert read(lab).interfaces["eth0"].maps != after.interfaces["eth0"].maps


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (("--no-responses",), ReportError, "eth0 counts no responses"),
        (("--labels", "af,qtype"), UnreadableError, "no proto and no qr, .* --labels"),
        (("--response-labels", "af,proto"), UnreadableError, "no rcode, .* --response-labels"),
    ],
)
def test_what_is_not_enough(
    lab: Lab, options: tuple[str, ...], error: type[Exception], text: str
) -> None:
    Agent(lab, *options)
    with pytest.raises(error, match=text):
        read(lab)


def test_nothing_counts(lab: Lab, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "xdpdns", "report", "rssac002", "--state", tmp_path / "state")
    done = subprocess.run(
        [*command, "--netns", lab.server.name, "eth0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "no xdpdns counts on eth0" in done.stderr
    assert list(tmp_path.iterdir()) == []
