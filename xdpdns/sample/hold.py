"""The programs on an interface for as long as this process lives, beside everybody else's.

At TCX each hangs on a BPF link that nobody else has. A filter at clsact would outlive us, so that a
child puts it there, and takes it off when we have gone, however that was: then its end of a socket
is closed.
"""

from __future__ import annotations

import errno
import os
import pickle
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import BinaryIO

from pyroute2 import IPRoute

from xdpdns import bpf_link
from xdpdns.errors import AttachError, KernelError, MissingNeedError, OccupiedError, XdpdnsError
from xdpdns.hooks import Attachment, Direction, Hook, Link
from xdpdns.hooks.clsact import PRIORITY, Clsact
from xdpdns.netns import in_thread

HANDLE = 0x78647361
"""Of our clsact filters, beside those of an agent: "xdsa" in ASCII."""

_TCX: dict[Direction, int] = {"ingress": bpf_link.TCX_INGRESS, "egress": bpf_link.TCX_EGRESS}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE = 0.05
"""Seconds after which no packet is in a filter that was taken off: the kernel doesn't say when."""


@contextmanager
def hold(link: Link, programs: Mapping[Direction, int], hook: Hook) -> Iterator[None]:
    """Have the programs, given by fd, see every packet; none is in them any more afterwards.

    Raises:
        AttachError: the interface has gone, or takes no program there.
        OccupiedError: at clsact a sample is being taken already.
        MissingNeedError: not permitted, or the kernel has no such hook.
    """
    with _at_tcx(link, programs) if hook == "tcx" else _at_clsact(link, programs):
        yield


@contextmanager
def _at_tcx(link: Link, programs: Mapping[Direction, int]) -> Iterator[None]:
    fds: list[int] = []
    try:
        for direction, program in programs.items():
            try:
                fds.append(bpf_link.link_create(program, link.index, _TCX[direction]))
            except MissingNeedError:
                raise
            except KernelError as error:
                raise AttachError(
                    f"{link.name} does not take a program at TCX {direction} "
                    f"({os.strerror(error.errno)}): it needs Linux 6.6, `--hook clsact` does not."
                ) from error
        yield
    finally:
        for fd in fds:
            try:
                bpf_link.link_detach(fd)  # which waits for the packets that are in the program
            except KernelError as error:
                if error.errno != errno.ENOLINK:  # the interface has gone, and the program with it
                    raise
            finally:
                os.close(fd)


@contextmanager
def _at_clsact(link: Link, programs: Mapping[Direction, int]) -> Iterator[None]:
    ours, theirs = socket.socketpair()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _keep(link, programs, theirs)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        with ours, ours.makefile("rb") as answers:
            problem = _answer(answers)
            if problem is not None:
                raise problem
            yield
    finally:
        os.waitpid(pid, 0)
        time.sleep(_GRACE)


def _occupied(link: Link) -> OccupiedError:
    mend = f"for way in ingress egress; do tc filter del dev {link.name} $way"
    return OccupiedError(
        f"a sample is being taken at clsact of {link.name} already: wait for its end; or, if that "
        "was killed together with its child, take off what it left: "
        f"`{mend} protocol all prio {PRIORITY} handle {HANDLE:#x} bpf; done`."
    )


def _answer(answers: BinaryIO) -> XdpdnsError | None:
    """What the child says."""
    try:
        found: XdpdnsError | None = pickle.load(answers)  # noqa: S301  our own child wrote it
    except EOFError as error:
        raise AttachError(
            "the process that was to attach at clsact has ended: is there enough memory?"
        ) from error
    return found


def _keep(link: Link, programs: Mapping[Direction, int], parent: socket.socket) -> None:
    """The child's life: attach, say how that went, wait for the parent's end, detach."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    code = 1
    try:
        in_thread(lambda: _attached(link, programs, parent))  # pyroute2 keeps things by thread
        code = 0
    finally:
        os._exit(code)


def _attached(link: Link, programs: Mapping[Direction, int], parent: socket.socket) -> None:
    done: list[Attachment] = []
    with IPRoute() as route:
        clsact = Clsact(route, HANDLE)
        try:
            for direction, program in programs.items():
                done.append(clsact.attach(link, program, direction, "auto"))
            parent.sendall(pickle.dumps(None))
            parent.recv(1)
        except OccupiedError:
            parent.sendall(pickle.dumps(_occupied(link)))
        except XdpdnsError as error:
            parent.sendall(pickle.dumps(error))
        finally:
            for attachment in reversed(done):  # the first one may have made the qdisc
                with suppress(AttachError):  # it has gone already, or the interface has
                    clsact.detach(attachment)
