"""Somebody else changes the hook in the very moment: their program is there afterwards, always.

Each round sets two threads off at once, ours and theirs. Where there is one moment that matters
(between our look and our change), it is hit for certain by doing theirs from inside ours.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from tests.netns.actors import COMPILES, XDPDNS, Agent
from tests.netns.lab import Lab, Process, wait_until
from tests.netns.neighbours import Neighbours, load
from xdpdns import bpf_link, kernel
from xdpdns.errors import AttachError, KernelError, OccupiedError, XdpdnsError
from xdpdns.hooks import Hook, Hooks
from xdpdns.hooks.link import get

ROUNDS = int(os.environ.get("XDPDNS_RACE_ROUNDS", "40"))
"""Rounds of each race: few in the suite, which has to end; more, to be surer."""

FLAGS = {"native": 4, "generic": 2}
NOEXIST = 1


@pytest.fixture
def programs() -> Iterator[tuple[int, int, int]]:
    """Two XDP programs for us, one for them."""
    fds = [load(kernel.PROG_TYPE_XDP, name) for name in ("ours", "newer", "theirs")]
    yield fds[0], fds[1], fds[2]
    for fd in fds:
        os.close(fd)


def ident(program: int) -> int:
    return kernel.prog_info(program).id


class Them:
    """Another user of XDP by netlink, with a socket of their own."""

    def __init__(self) -> None:
        self.route = IPRoute()
        self.index = self.route.link_lookup(ifname="eth0")[0]

    def put(self, program: int, flags: int) -> bool:
        """`flags` without NOEXIST replaces what hangs on no link; False: taken, or mixed."""
        attrs = [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", flags)]
        try:
            self.route.link("set", index=self.index, xdp={"attrs": attrs})
        except NetlinkError as error:
            if error.code in (errno.EBUSY, errno.EEXIST):
                return False
            raise
        return True

    def force(self, program: int, mode: str) -> bool:
        """What it takes in place of ours: our link is detached first, by its id."""
        for _ in range(10):  # we may be just swapping
            if self.put(program, FLAGS[mode]):
                return True
            ours = get(self.route, index=self.index).programs.get(mode, 0)
            link = bpf_link.xdp_link(ours, self.index)
            if link >= 0:
                bpf_link.link_detach(link)
                os.close(link)
        return False


@contextmanager
def us_and_them() -> Iterator[tuple[Hooks, Them]]:
    with Hooks() as hooks, ExitStack() as stack:
        them = Them()
        stack.callback(them.route.close)
        yield hooks, them


def both(
    ours: Callable[[], Any], theirs: Callable[[], Any], late: float = 0.0015
) -> tuple[Any, Any]:
    """Do both at once, ours up to 1.5 ms late and theirs up to `late`; results, or our error."""
    results: list[Any] = [None, None]
    failures: list[BaseException] = []
    start = threading.Barrier(2)

    def run(place: int, action: Callable[[], Any]) -> None:
        start.wait()
        time.sleep(random.random() * (0.0015, late)[place])
        try:
            results[place] = action()
        except XdpdnsError as error:
            results[place] = error
        except BaseException as error:  # of the test itself: raised below
            failures.append(error)

    threads = [
        threading.Thread(target=run, args=(place, action))
        for place, action in enumerate((ours, theirs))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results[0], results[1]


def rounds(outcomes: Mapping[bool, int]) -> Iterator[int]:
    """So many races, and on a machine that hardly lets one side win up to ten times as many."""
    yield from range(ROUNDS)
    for number in range(ROUNDS, 10 * ROUNDS):
        if min(outcomes.values()):
            return
        yield number


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_both_attach(lab: Lab, mode: str, programs: tuple[int, int, int]) -> None:
    """By netlink like us: one of the two has it, and the other one knows."""
    ours, _, theirs = programs
    won = {True: 0, False: 0}

    def race() -> None:
        with us_and_them() as (hooks, them):
            for _ in rounds(won):
                got, put = both(
                    lambda: hooks.attach("eth0", ours, mode=mode),
                    lambda: them.put(theirs, FLAGS[mode] | NOEXIST),
                )
                there = hooks.link("eth0").programs
                if put:
                    assert isinstance(got, OccupiedError), got
                    assert there == {mode: ident(theirs)}
                else:
                    assert there == {mode: ident(ours)}
                    # nor do they replace it by mistake
                    assert not them.put(theirs, FLAGS[mode])
                    assert not them.put(-1, FLAGS[mode])
                    hooks.detach(got)
                won[put] += 1
                them.put(-1, FLAGS[mode])

    lab.server.inside(race)
    assert min(won.values()) > 0, won


@pytest.mark.parametrize("native", [True, False])
def test_both_attach_and_they_by_a_link(
    lab: Lab, native: bool, programs: tuple[int, int, int]
) -> None:
    ours, _, theirs = programs
    mode = "native" if native else "generic"
    won = {True: 0, False: 0}

    def take(index: int) -> int:
        try:
            return bpf_link.xdp_link_create(theirs, index, native=native)
        except KernelError as error:
            if error.errno in (errno.EBUSY, errno.EEXIST):
                return -1
            raise

    def race() -> None:
        with us_and_them() as (hooks, them):
            for _ in rounds(won):
                got, link = both(
                    lambda: hooks.attach("eth0", ours, mode=mode), lambda: take(them.index)
                )
                there = hooks.link("eth0").programs
                won[link >= 0] += 1
                if link >= 0:
                    assert isinstance(got, OccupiedError), got
                    assert there == {mode: ident(theirs)}
                    os.close(link)
                else:
                    assert there == {mode: ident(ours)}
                    hooks.detach(got)

    lab.server.inside(race)
    assert min(won.values()) > 0, won


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("change", ["replace", "detach"])
def test_they_take_our_place_while_we_change_it(
    lab: Lab, mode: str, change: str, programs: tuple[int, int, int]
) -> None:
    """They replace by force. Whenever that is, their program is what stays."""
    ours, newer, theirs = programs
    lost = {True: 0, False: 0}

    def race() -> None:
        with us_and_them() as (hooks, them):
            for _ in rounds(lost):
                made = hooks.attach("eth0", ours, mode=mode)
                act = (
                    (lambda m=made: hooks.replace(m, newer))
                    if change == "replace"
                    else (lambda m=made: hooks.detach(m))
                )
                failed, put = both(act, lambda: them.force(theirs, mode), late=0.006)
                made.close()
                assert put
                assert hooks.link("eth0").programs == {mode: ident(theirs)}
                assert failed is None or isinstance(failed, AttachError), failed
                lost[failed is not None] += 1
                them.put(-1, FLAGS[mode])

    lab.server.inside(race)
    assert min(lost.values()) > 0, lost


@pytest.mark.parametrize("by_link", [True, False])
def test_they_come_between_our_look_and_our_attaching(
    lab: Lab, by_link: bool, programs: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _, theirs = programs

    def race() -> None:
        with us_and_them() as (hooks, them):
            xdp: Any = hooks._kinds["xdp"]
            look, links = xdp.check, []

            def come(*arguments: Any) -> None:
                look(*arguments)
                if by_link:
                    links.append(bpf_link.xdp_link_create(theirs, them.index, native=True))
                else:
                    assert them.put(theirs, FLAGS["native"] | NOEXIST)

            # the second look is our asking who it is
            monkeypatch.setattr(xdp, "check", once(come, look))
            with pytest.raises(OccupiedError, match="theirs, native mode"):
                hooks.attach("eth0", ours)
            assert hooks.link("eth0").programs == {"native": ident(theirs)}
            for link in links:
                os.close(link)

    lab.server.inside(race)


def once(first: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is `first` the first time, and `then` from then on."""
    functions = iter((first,))
    return lambda *arguments: next(functions, then)(*arguments)


def gave_up_or_said(agent: Process) -> bool:
    return agent.exited is not None or "replaced ours" in agent.log


@pytest.mark.parametrize("hold", [["--keep"], []])
def test_they_come_by_force_while_an_agent_starts(
    lab: Lab, hold: list[str], programs: tuple[int, int, int]
) -> None:
    """With --keep while it takes over, else while it attaches: theirs is there from then on."""
    theirs = programs[2]
    chance = random.Random(4)
    argv = [*COMPILES, XDPDNS, "attach", "eth0", "--web.listen-address", "127.0.0.1:0", *hold]

    def put(program: int) -> bool:
        with us_and_them() as (_, them):  # netlink belongs to the thread
            return them.force(program, "native")

    try:
        for _ in range(4):
            if hold:
                assert Agent(lab, *hold).process.stop() == 0
            agent = lab.start(lab.server, argv, "agent")
            # a start takes some 0.6 to 1.2 s; the moments that matter are in its second half
            time.sleep(0.3 + chance.random())
            assert lab.server.inside(lambda: put(theirs))
            noticed = partial(gave_up_or_said, agent)
            wait_until(f"theirs is noticed: {agent.log}", noticed, 15)
            assert lab.server.xdp_program() == ident(theirs)
            assert agent.stop() in (0, 1), agent.log
            assert "Traceback" not in agent.log
            assert lab.server.xdp_program() == ident(theirs)
            lab.server.inside(lambda: put(-1))
            lab.server.run([XDPDNS, "detach", "eth0"])
    finally:
        lab.server.run([XDPDNS, "detach", "eth0"], check=False)


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize("hook", ["tcx", "clsact"])
def test_neighbours_at_tc_that_come_and_go(lab: Lab, hook: Hook, direction: Any) -> None:
    """While ours is put on, swapped and taken off: nobody misses theirs when they look."""
    ours, newer, third = load(name="ours"), load(name="newer"), load(name="third")
    rounds = ROUNDS // 2

    def theirs(index: int, route: Any) -> None:
        parent = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}[direction]
        types = {"ingress": bpf_link.TCX_INGRESS, "egress": bpf_link.TCX_EGRESS}
        if hook == "tcx":
            link = bpf_link.link_create(third, index, types[direction])
            there = [one.program_id for one in bpf_link.query(index, types[direction]).programs]
            assert ident(third) in there
            os.close(link)
            return
        one = {"parent": parent, "prio": 1}
        route.tc("add-filter", "bpf", index, 99, fd=third, name="t", direct_action=True, **one)
        handles = [message["handle"] for message in route.get_filters(index, parent=parent)]
        assert 99 in handles
        route.tc("del-filter", "bpf", index, 99, **one)

    def life(hooks: Hooks) -> None:
        made = hooks.attach("eth0", ours, hook, direction)
        hooks.replace(made, newer)
        assert hooks.look(made, hooks.link("eth0")) == ident(newer)
        hooks.detach(made)

    def race() -> None:
        with us_and_them() as (hooks, them), Neighbours(lab) as neighbours:
            for _ in range(rounds):
                failed, _ = both(lambda: life(hooks), lambda: theirs(them.index, them.route))
                assert failed is None, failed
                assert neighbours.untouched()

    lab.server.inside(race)
    for fd in (ours, newer, third):
        os.close(fd)


def test_two_of_ours_at_tcx_in_one_moment(lab: Lab) -> None:
    """The chain's revision decides: never both."""
    first, second = load(name="first"), load(name="second")
    with us_programs(first, second):

        def race() -> None:
            with Hooks() as one, Hooks() as other:
                for _ in range(ROUNDS):
                    results = both(
                        lambda: one.attach("eth0", first, "tcx"),
                        lambda: other.attach("eth0", second, "tcx"),
                    )
                    made = [result for result in results if not isinstance(result, XdpdnsError)]
                    assert len(made) == 1, results
                    one.detach(made[0])

        lab.server.inside(race)


@contextmanager
def us_programs(*fds: int) -> Iterator[None]:
    """Have programs of the test taken for ours."""
    ours = {ident(fd) for fd in fds}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xdpdns.hooks.owner.is_ours", lambda ident: ident in ours)
        yield
    for fd in fds:
        os.close(fd)
