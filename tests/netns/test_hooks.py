"""The hooks by themselves: attach, swap, detach, look, with programs of two instructions."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest
from pyroute2 import IPRoute

from tests.netns.lab import Lab
from xdpdns import bpf_link, kernel
from xdpdns.errors import AttachError, OccupiedError
from xdpdns.hooks import Attachment, Direction, Hook, Hooks, Link

PROG_TYPE_SCHED_CLS = 3
GO_ON = {"xdp": kernel.XDP_PASS, "tcx": -1, "clsact": -1}
PLACES: list[tuple[Hook, Direction]] = [
    ("xdp", "ingress"),
    ("tcx", "ingress"),
    ("tcx", "egress"),
    ("clsact", "ingress"),
    ("clsact", "egress"),
]


def load(hook: Hook, name: str = "two_insns") -> int:
    """A program that lets everything go on: mov64 r0, ...; exit."""
    kind = kernel.PROG_TYPE_XDP if hook == "xdp" else PROG_TYPE_SCHED_CLS
    return kernel.prog_load(
        kind, name, struct.pack("<BBhiBBhi", 0xB7, 0, 0, GO_ON[hook], 0x95, 0, 0, 0)
    )


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    hook = request.node.callspec.params["hook"]
    fds = load(hook), load(hook)
    yield fds
    for fd in fds:
        os.close(fd)


def ident(program: int) -> int:
    return kernel.prog_info(program).id


@pytest.mark.parametrize(("hook", "direction"), PLACES)
def test_from_attach_to_detach(
    lab: Lab, hook: Hook, direction: Direction, programs: tuple[int, int]
) -> None:
    first, second = programs

    def life() -> None:
        with Hooks() as hooks:
            before = hooks.link("eth0")
            assert hooks.found(before) == []
            made = hooks.attach("eth0", first, hook, direction)
            assert (made.hook, made.direction, made.ifindex) == (hook, direction, before.index)
            link = hooks.link("eth0")
            assert hooks.look(made, link) == made.program_id == ident(first)
            [found] = hooks.found(link)
            assert (found.hook, found.direction, found.mode, found.program_id) == (
                *(hook, direction, made.mode, ident(first)),
            )

            hooks.replace(made, second)
            assert hooks.look(made, hooks.link("eth0")) == made.program_id == ident(second)

            lab.server.run(["ip", "link", "set", "eth0", "down"])
            lab.server.run(["ip", "link", "set", "eth0", "name", "dns0"])
            renamed = hooks.link_at(made.ifindex)
            assert renamed is not None
            assert (renamed.name, renamed.up) == ("dns0", False)
            assert hooks.look(made, renamed) == ident(second)

            hooks.detach(made)
            after = hooks.link("dns0")
            assert hooks.look(made, after) is None
            assert hooks.found(after) == []
            with pytest.raises(AttachError):
                hooks.detach(made)

    lab.server.inside(life)
    assert "clsact" not in lab.server.run(["tc", "qdisc", "show"]).stdout


@pytest.mark.parametrize(("hook", "direction"), PLACES)
def test_another_process_goes_on_with_it(
    lab: Lab, hook: Hook, direction: Direction, programs: tuple[int, int]
) -> None:
    """As JSON and file descriptors over a socket: the receiver swaps, and then detaches."""
    first, second = programs
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def attach() -> None:
            with Hooks() as hooks:
                made = hooks.attach("eth0", first, hook, direction)
                message = json.dumps(made.plain()).encode()
                socket.send_fds(ours, [message], made.fds())
                made.close()

        def go_on() -> None:
            message, fds, _, _ = socket.recv_fds(theirs, 4096, 2)
            made = Attachment.received(json.loads(message), fds)
            with Hooks() as hooks:
                assert hooks.look(made, hooks.link("eth0")) == ident(first)
                hooks.replace(made, second)
                hooks.detach(made)
                assert hooks.found(hooks.link("eth0")) == []
            os.close(fds[0])

        lab.server.inside(attach)
        lab.server.inside(go_on)


@pytest.mark.parametrize(("hook", "direction"), PLACES)
def test_an_interface_that_is_deleted(
    lab: Lab, hook: Hook, direction: Direction, programs: tuple[int, int]
) -> None:
    first, second = programs

    def life() -> None:
        with Hooks() as hooks:
            made = hooks.attach("eth0", first, hook, direction)
            lab.server.run(["ip", "link", "del", "eth0"])
            assert hooks.link_at(made.ifindex) is None
            with pytest.raises(AttachError, match="eth0"):
                hooks.replace(made, second)
            with pytest.raises(AttachError, match="eth0"):
                hooks.detach(made)
            lab.server.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth9"])
            lab.server.run(["ip", "link", "set", "eth0", "up"])
            again = hooks.attach("eth0", first, hook, direction)
            assert again.ifindex != made.ifindex
            assert hooks.look(again, hooks.link("eth0")) == ident(first)
            hooks.detach(again)

    lab.server.inside(life)


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_link_ends_with_its_last_holder_unless_it_is_pinned(
    lab: Lab, direction: Direction
) -> None:
    program = load("tcx")
    (lab.tmp / "bpf").mkdir()
    # bpffs takes the mount namespace of this process
    subprocess.run(["mount", "-t", "bpf", "bpf", f"{lab.tmp}/bpf"], check=True)
    pin = f"{lab.tmp}/bpf/link"

    def life() -> None:
        with Hooks() as hooks:
            made = hooks.attach("eth0", program, "tcx", direction)
            made.close()
            assert hooks.found(hooks.link("eth0")) == []

            made = hooks.attach("eth0", program, "tcx", direction)
            kernel.pin(made.link, pin)
            made.close()
            link = hooks.link("eth0")
            [found] = hooks.found(link)
            fd = kernel.pinned(pin)
            assert bpf_link.link_info(fd).id == found.link_id
            adopted = hooks.adopt(link, found, program, fd)
            other = load("tcx")
            hooks.replace(adopted, other)
            assert hooks.look(adopted, link) == ident(other)
            hooks.detach(adopted)  # although it is pinned
            assert hooks.found(hooks.link("eth0")) == []
            os.close(other)

    try:
        lab.server.inside(life)
    finally:
        subprocess.run(["umount", f"{lab.tmp}/bpf"], check=True)
        os.close(program)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_what_an_older_xdpdns_attached_by_netlink(lab: Lab, mode: str) -> None:
    """It hangs on no link, and is swapped and taken off all the same, unless it is another's."""
    older, newer, theirs = (load("xdp") for _ in range(3))

    def life() -> None:
        with Hooks() as hooks, IPRoute() as route:
            link = hooks.link("eth0")
            flags = {"native": 4, "generic": 2}[mode]

            def put(program: int) -> None:
                xdp = [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", flags)]
                route.link("set", index=link.index, xdp={"attrs": xdp})

            put(older)
            [found] = hooks.found(hooks.link("eth0"))
            adopted = hooks.adopt(link, found, older)
            hooks.replace(adopted, newer)
            assert hooks.look(adopted, hooks.link("eth0")) == ident(newer) == adopted.program_id
            put(theirs)
            for change in (partial(hooks.replace, adopted, older), partial(hooks.detach, adopted)):
                with pytest.raises(OccupiedError, match="it stays"):
                    change()
            assert hooks.look(adopted, hooks.link("eth0")) == ident(theirs)
            put(newer)
            hooks.detach(adopted)
            assert hooks.found(hooks.link("eth0")) == []

    lab.server.inside(life)
    for fd in (older, newer, theirs):
        os.close(fd)


def test_this_kernel_has_tcx(lab: Lab) -> None:
    def look() -> None:
        with Hooks() as hooks:
            assert hooks.at_tc() == "tcx"

    lab.server.inside(look)


def test_no_egress_at_xdp(lab: Lab) -> None:
    program = load("xdp")

    def life() -> None:
        with Hooks() as hooks, pytest.raises(AttachError, match="--hook tcx"):
            hooks.attach("eth0", program, "xdp", "egress")

    lab.server.inside(life)
    os.close(program)


def test_two_programs_on_three_hooks(lab: Lab) -> None:
    """What counting queries and responses takes: they know nothing of each other."""
    xdp, tc = load("xdp"), load("tcx")

    def life() -> None:
        with Hooks() as hooks:
            made = [
                hooks.attach("eth0", xdp),
                hooks.attach("eth0", tc, "tcx", "ingress"),
                hooks.attach("eth0", tc, "tcx", "egress"),
                hooks.attach("eth0", tc, "clsact", "ingress"),
                hooks.attach("eth0", tc, "clsact", "egress"),
            ]
            link: Link = hooks.link("eth0")
            assert len(hooks.found(link)) == 5
            for one in reversed(made):
                hooks.detach(one)
                assert hooks.look(one, hooks.link("eth0")) is None
            assert hooks.found(hooks.link("eth0")) == []

    lab.server.inside(life)
    assert "clsact" not in lab.server.run(["tc", "qdisc", "show"]).stdout
    for fd in (xdp, tc):
        os.close(fd)


def test_an_xdp_program_of_others_is_named_not_replaced(lab: Lab) -> None:
    ours, theirs = load("xdp"), load("xdp", "theirs")

    def life() -> None:
        with Hooks() as hooks:
            foreign = hooks.attach("eth0", theirs)
            with pytest.raises(OccupiedError, match=f"program {ident(theirs)}, theirs"):
                hooks.attach("eth0", ours)
            assert hooks.look(foreign, hooks.link("eth0")) == ident(theirs)
            hooks.detach(foreign)

    lab.server.inside(life)
    for fd in (ours, theirs):
        os.close(fd)
