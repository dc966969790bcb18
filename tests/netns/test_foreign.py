"""Another XDP program is on the interface: xdpdns refuses, says whose it is, touches nothing."""

from __future__ import annotations

import time

import pytest

from tests.netns.actors import XDPDNS, Agent
from tests.netns.foreign import TOOLS, Attach, by_ip_link, in_place_of
from tests.netns.lab import Lab


@pytest.mark.parametrize("wanted", ["auto", "native", "generic"])
@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("attach", TOOLS)
def test_refuses_an_occupied_interface(lab: Lab, attach: Attach, mode: str, wanted: str) -> None:
    attach(lab, mode)
    before = lab.server.link()["xdp"]
    owner = before["prog"]

    refused = lab.server.run([XDPDNS, "attach", "eth0", "--mode", wanted], check=False)

    assert refused.returncode == 1, refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert "eth0" in refused.stderr
    assert owner["name"] in refused.stderr
    assert str(owner["id"]) in refused.stderr
    assert lab.server.link()["xdp"] == before


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_detach_takes_only_what_is_ours(lab: Lab, mode: str) -> None:
    by_ip_link(lab, mode)
    owner = lab.server.xdp_program()
    done = lab.server.run([XDPDNS, "detach", "eth0"], check=False)
    assert "Traceback" not in done.stderr
    assert lab.server.xdp_program() == owner


def test_leaves_a_program_that_took_its_place(lab: Lab) -> None:
    agent = Agent(lab, "--mode", "native")
    ours = lab.server.xdp_program()
    in_place_of(agent.process.pid, lab, "native")
    owner = lab.server.xdp_program()
    assert owner not in (None, ours)
    time.sleep(1.5)  # a look or two
    assert lab.server.xdp_program() == owner
    assert agent.scrape().total("xdpdns_interface_down_info", reason="replaced") == 1

    agent.process.stop()
    assert "Traceback" not in agent.process.log
    assert lab.server.xdp_program() == owner


def test_one_occupied_interface_leaves_the_others_free(lab: Lab) -> None:
    by_ip_link(lab, "generic")
    owner = lab.server.xdp_program()
    refused = lab.server.run([XDPDNS, "attach", "lo", "eth0"], check=False)
    assert refused.returncode == 1
    assert lab.server.xdp_program("lo") is None
    assert lab.server.xdp_program() == owner


def test_a_second_agent_is_refused_and_the_first_goes_on(lab: Lab) -> None:
    agent = Agent(lab)
    ours = lab.server.xdp_program()
    second = [XDPDNS, "attach", "eth0", "--web.listen-address", "127.0.0.1:10531"]
    refused = lab.server.run(second, check=False)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert lab.server.xdp_program() == ours
    agent.stop()
