"""The hooks on kernels that this machine doesn't have, and attachments as plain data."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from xdpdns import bpf_link
from xdpdns.errors import KernelError, MissingNeedError
from xdpdns.hooks import Attachment, Hooks, Link, tcx

ETH0 = Link("eth0", 2, up=True, mtu=1500, programs={})


def answer(patch: pytest.MonkeyPatch, number: int) -> None:
    """Have every question about TCX answered by an error."""
    kind = MissingNeedError if number == errno.EPERM else KernelError

    def query(ifindex: int, hook: int) -> bpf_link.Chain:
        raise kind("no", number)

    patch.setattr(bpf_link, "query", query)


def test_before_tcx(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, errno.EINVAL)
    assert not tcx.supported()
    assert tcx.Tcx().found(ETH0) == []
    with pytest.raises(MissingNeedError, match=r"Linux 6\.6: use `--hook clsact`"):
        tcx.Tcx().check(ETH0, "ingress")


def test_an_interface_that_went_away_says_nothing_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, errno.ENODEV)
    assert tcx.supported()
    assert tcx.Tcx().found(ETH0) == []


def test_not_permitted_is_not_taken_for_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, errno.EPERM)
    for ask in (tcx.supported, lambda: tcx.Tcx().found(ETH0)):
        with pytest.raises(MissingNeedError):
            ask()


@pytest.mark.parametrize("number", [errno.EBUSY, errno.ENOBUFS, errno.ENODEV])
def test_what_netlink_says_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """One interface that goes while it is asked for must not end what watches the others."""

    def refuse(*_: object) -> None:
        raise NetlinkError(number)

    with Hooks() as hooks:
        monkeypatch.setattr(hooks._route, "get_qdiscs", refuse)
        monkeypatch.setattr(hooks._route, "get_links", refuse)
        asks: list[Callable[[], object]] = [hooks.links, lambda: hooks.found(ETH0)]
        for ask in asks:
            with pytest.raises(KernelError) as raised:
                ask()
            assert raised.value.errno == number


@pytest.mark.parametrize("fds", [[5], [5, 6]])
def test_an_attachment_crosses_a_socket_as_json(fds: list[int]) -> None:
    link = fds[1] if len(fds) > 1 else -1
    made = Attachment("eth0", 2, "tcx", "egress", "tcx", 77, program=5, link=link)
    assert made.fds() == fds
    there = Attachment.received(json.loads(json.dumps(made.plain())), [fd + 10 for fd in fds])
    assert there.plain() == made.plain()
    assert there.fds() == [fd + 10 for fd in fds]
