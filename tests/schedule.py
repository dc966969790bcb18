"""Which tests stay together on one of pytest-xdist's workers, and which of them start first.

A file stays together: its fixtures are made once. The tests of a shared capture do, wherever they
are: it is dissected once. The longest files start first, so that at the end there is something
short left for every worker.
"""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

LONGEST = (
    "tests/netns/test_keep_hooks.py",
    "tests/netns/test_keep.py",
    "tests/netns/test_systemd.py",
    "tests/netns/test_both.py",
    "tests/netns/test_come_and_go.py",
    "tests/netns/test_dashboards.py",
    "tests/netns/test_answers.py",
    "tests/netns/test_fleet_budget.py",
    "tests/netns/test_fleet.py",
    "tests/netns/test_races.py",
    "tests/netns/test_prometheus.py",
    "tests/netns/test_dump.py",
    "tests/netns/test_top.py",
    "tests/netns/test_sample.py",
    "tests/netns/test_sample_guest.py",
    "tests/netns/test_attach.py",
    "tests/netns/test_bad_input.py",
    "tests/netns/test_neighbours.py",
    "tests/netns/test_output.py",
    "tests/netns/test_totals.py",
    "tests/netns/test_privileges.py",
    "tests/native/test_cut.py",
    "tests/native/test_fuzz.py",
    "tests/bpf/test_rssac002.py",
    "tests/bpf/test_report_edns.py",
    "tests/bpf/test_overload.py",
    "tests/bpf/test_concurrency.py",
)


def order(test: str) -> int:
    """Tests are sorted by this; those that are equal stay in their order."""
    file = test.partition("::")[0]
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """As LoadFileScheduling, but for captures, and in the order of the tests."""

    def __init__(self, config: object, log: object = None) -> None:
        super().__init__(config, log)
        self.config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        if capture := re.match(r"tests/truth/test_capture\w*\.py::\w+\[(.+)\]$", nodeid):
            return capture[1]
        return nodeid.partition("::")[0]
