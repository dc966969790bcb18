"""What the supervisor is made of, without a kernel: selection, messages, events, waiting."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from xdpdns import netns
from xdpdns.errors import AttachError, KernelError, MissingNeedError, OccupiedError, SupervisorError
from xdpdns.layout import Field, Layout
from xdpdns.pins import stale
from xdpdns.supervisor import child
from xdpdns.supervisor.backoff import Backoff
from xdpdns.supervisor.events import deleted
from xdpdns.supervisor.messages import (
    Alive,
    Failed,
    Forgotten,
    Loaded,
    Message,
    Started,
    State,
    receive,
    send,
)
from xdpdns.supervisor.outbox import AgentEndedError, Outbox
from xdpdns.supervisor.selection import Selection

LAYOUT = Layout(8, {"af": Field(0, 1), "tld": Field(1, 1, 7)})


# --- which interfaces ---------------------------------------------------------------------------


def test_names_are_not_followed() -> None:
    chosen = Selection.of(["eth0", "lo"])
    assert chosen.names == ("eth0", "lo")
    assert not chosen.grows
    assert not chosen.follows("eth0")


@pytest.mark.parametrize(
    ("name", "followed"),
    [("eth0", True), ("eth12", True), ("Eth0", False), ("veth0", False), ("eth9", False)],
)
def test_patterns(name: str, followed: bool) -> None:
    chosen = Selection.of(["eth*", "lan0"], excluded=["eth9*"])
    assert chosen.names == ("lan0",)
    assert chosen.grows
    assert chosen.follows(name) is followed


def test_the_loopback_has_to_be_named() -> None:
    assert not Selection.of(["l*"]).follows("lo")
    assert not Selection.of([], everything=True).follows("lo")
    assert Selection.of(["lo"], everything=True).names == ("lo",)


def test_only_patterns_have_to_match_something() -> None:
    chosen = Selection.of(["eth*", "wlan?"], everything=True)
    with pytest.raises(AttachError, match=r"no interface matches wlan\?:"):
        chosen.require_matches(["eth0"])
    Selection.of([], everything=True).require_matches([])


# --- messages -----------------------------------------------------------------------------------


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@pytest.mark.parametrize(
    "message",
    [
        Loaded(3, "ingress", "queries", ("queries", "counters"), LAYOUT, LAYOUT),
        State(3, "eth0", "replaced", "another program replaced ours.", {}),
        Forgotten(3),
        Started(),
        Alive(),
    ],
)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    ours, theirs = pair()
    with ours, theirs:
        send(ours, message)
        assert receive(theirs) == (message, [])


def test_files_come_along() -> None:
    ours, theirs = pair()
    with ours, theirs, Path("/dev/null").open() as file:
        send(ours, Loaded(1, "egress", "responses", (), LAYOUT, LAYOUT), [file.fileno()])
        received = receive(theirs)
        assert received is not None
        [fd] = received[1]
        assert os.path.samestat(os.fstat(fd), os.fstat(file.fileno()))
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_the_end_is_told_from_an_empty_socket() -> None:
    ours, theirs = pair()
    with theirs:
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            receive(theirs)
        ours.close()
        assert receive(theirs) is None


@pytest.mark.parametrize(
    "error",
    [OccupiedError("eth0 is taken."), MissingNeedError("run as root.", 1), KernelError("no.", 22)],
)
def test_an_error_arrives_as_it_was_raised(error: OccupiedError | KernelError) -> None:
    made = Failed.of(error).error()
    assert type(made) is type(error)
    assert str(made) == str(error)
    assert getattr(made, "errno", 0) == getattr(error, "errno", 0)


def test_too_many_files_have_a_sentence() -> None:
    ours, theirs = pair()
    with ours, theirs, Path("/dev/null").open() as file:
        send(ours, Started(), [file.fileno()] * 100)
        with pytest.raises(SupervisorError, match="LimitNOFILE"):
            receive(theirs)


def state(number: int, reason: str) -> State:
    return State(number, f"eth{number}", reason, "", {})


def test_an_agent_that_does_not_read_gets_the_latest() -> None:
    ours, theirs = pair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        outbox = Outbox(ours)
        for _ in range(5000):
            outbox.put(Alive())
        for reason in ("absent", "down", ""):
            outbox.put(state(1, reason))
            outbox.put(state(2, reason))
        outbox.put(Forgotten(2))
        seen: list[Message] = []
        while True:
            try:
                received = receive(theirs)
            except BlockingIOError:
                before = len(seen)
                outbox.flush()
                try:
                    received = receive(theirs)
                except BlockingIOError:
                    assert len(seen) == before
                    break
            assert received is not None
            seen.append(received[0])
        assert [m for m in seen if m != Alive()] == [state(1, ""), Forgotten(2)]
        assert len(seen) < 5000
        theirs.close()
        with pytest.raises(AgentEndedError):
            outbox.put(Alive())


# --- netlink events -----------------------------------------------------------------------------


def link_message(kind: int, index: int, family: int = 0) -> bytes:
    body = struct.pack("=BxHiII", family, 1, index, 0, 0) + b"\0" * 5
    header = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0)
    return (header + body).ljust((16 + len(body) + 3) & ~3, b"\0")


NEW, DELETED, BRIDGE = 16, 17, 7


def test_deleted_links_are_seen_among_others() -> None:
    data = link_message(NEW, 3) + link_message(DELETED, 4) + link_message(DELETED, 300)
    assert deleted(data) == {4, 300}


def test_a_port_that_leaves_its_bridge_is_not_deleted() -> None:
    assert deleted(link_message(DELETED, 4, BRIDGE)) == set()


@pytest.mark.parametrize("end", range(64))
def test_a_cut_datagram_is_no_trouble(end: int) -> None:
    data = (link_message(DELETED, 4) + link_message(DELETED, 5))[:end]
    assert deleted(data) <= {4, 5}


def test_a_message_of_no_length_ends_it() -> None:
    assert deleted(b"\0" * 64) == set()


# --- trying again -------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_waits_grow_until_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("xdpdns.supervisor.backoff.time", clock)
    backoff = Backoff()
    tries = []
    for _ in range(200):
        if backoff.ready():
            tries.append(clock.now)
        clock.now += 1.0
    waits = [after - before for before, after in pairwise(tries)]
    assert waits[:6] == [1, 2, 4, 8, 16, 30]
    assert set(waits[6:]) == {30}
    # it has lasted for long: the next time is a first time again
    clock.now += 100
    assert backoff.ready()
    clock.now += 1
    assert backoff.ready()
    assert not backoff.ready()
    backoff.reset()
    assert backoff.ready()


# --- what is left of namespaces -----------------------------------------------------------------


def proc(folder: Path, *processes: str) -> Path:
    """A /proc in which each process is in the network namespace of a file of its name."""
    for name in processes:
        task = folder / name / "task" / name / "ns"
        task.mkdir(parents=True)
        (task / "net").write_text("")
        (folder / name / "ns").symlink_to(f"task/{name}/ns")
    (folder / "self").mkdir()
    (folder / "self" / "mountinfo").write_text(
        "30 1 0:4 net:[4026532999] /run/netns/a rw shared:2 - nsfs nsfs rw\n"
        "31 1 0:5 / /proc rw - proc proc rw\n"
    )
    return folder


def test_living_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = proc(tmp_path, "1", "17")
    (folder / "self" / "ns").mkdir()
    (folder / "self" / "ns" / "pid").write_text("")
    inode = (folder / "self" / "ns" / "pid").stat().st_ino
    monkeypatch.setattr(netns, "_FIRST_PID_NAMESPACE", inode)
    expected = {(folder / name / "ns" / "net").stat().st_ino for name in ("1", "17")}
    assert netns.living(folder) == expected | {4026532999}
    # in a container one can't see them all
    monkeypatch.setattr(netns, "_FIRST_PID_NAMESPACE", 1)
    assert netns.living(folder) is None


def test_hidden_processes_make_it_unknown(tmp_path: Path) -> None:
    assert netns.living(proc(tmp_path, "17")) is None


def test_only_what_is_gone_is_unpinned(tmp_path: Path) -> None:
    own = Path("/proc/thread-self/ns/net").stat().st_ino
    for name in (f"{own}-2", f"{own}-3", "77-2", "88-2", "strange"):
        pin = tmp_path / name / "0123456789abcdef" / "queries"
        pin.parent.mkdir(parents=True)
        pin.write_text("")
    assert stale({2}, None, tmp_path) == [(own, 3)]
    assert stale({2}, {own, 77}, tmp_path) == [(88, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{own}-2", "77-2", "strange"]


# --- who knows what -----------------------------------------------------------------------------


def imported(module: str) -> set[str]:
    """The top-level modules that a fresh Python has after an import."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    argv = [sys.executable, "-c", code]
    return set(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split())


def test_the_agent_knows_no_netlink() -> None:
    agent = imported("xdpdns.app, xdpdns.interface, xdpdns.server")
    assert "h11" in agent
    assert not agent & {"pyroute2", "bcc"}


def test_the_supervisor_speaks_no_http() -> None:
    supervisor = imported("xdpdns.supervisor.child")
    assert "pyroute2" in supervisor
    assert not supervisor & {"h11", "prometheus_client", "bcc", "click"}


# --- looking ------------------------------------------------------------------------------------


class Ended(Outbox):
    """An agent that ends after so many messages."""

    def __init__(self, messages: int) -> None:
        self.left = messages
        self.told: list[Message] = []

    def put(self, message: Message, fds: Any = ()) -> None:
        """Keep it."""
        self.told.append(message)
        self.left -= 1

    def listen(self, *others: int, timeout: float) -> list[int]:
        """Wait in vain, or learn of the end."""
        if not self.left:
            raise AgentEndedError
        time.sleep(min(timeout, 0.01))
        return []


def supervision(outbox: Outbox) -> child.Supervision:
    settings: Any = SimpleNamespace(selection=Selection.of(["eth0"]))
    made = child.Supervision(settings, outbox, ExitStack())
    made._events = SimpleNamespace(fileno=lambda: 0, drain=set)  # type: ignore[assignment]
    return made


def test_the_agent_hears_of_a_long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that cost a lot are far apart; the watchdog must not take that for the end."""
    monkeypatch.setattr(child, "LOOK_EVERY", 0.02)
    outbox, looks = Ended(20), []
    watching = supervision(outbox)

    def look(gone: set[int]) -> bool:
        looks.append(time.monotonic())
        began = time.thread_time()
        while time.thread_time() - began < 0.01:
            pass
        return True

    monkeypatch.setattr(watching, "look", look)
    watching.watch()
    assert outbox.told == [Alive()] * 20
    assert len(looks) < 7
    assert all(later - before > child.SHARE * 0.009 for before, later in pairwise(looks))


def test_to_attach_is_not_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a look that had a lot to do the next one is as soon as ever."""
    monkeypatch.setattr(child, "LOOK_EVERY", 0.02)
    watching = supervision(Ended(10))
    looks = []

    def look(gone: set[int]) -> bool:
        looks.append(time.monotonic())
        began = time.thread_time()
        while time.thread_time() - began < 0.01:
            pass
        watching._quiet = False
        return True

    monkeypatch.setattr(watching, "look", look)
    watching.watch()
    assert len(looks) == 10


def test_one_that_cannot_be_looked_at_is_refused() -> None:
    """And the others are looked at; it is said once."""

    class Failing:
        name = "eth0"
        programs: ClassVar[dict[object, object]] = {}
        state = State(1, "eth0", "", "", {"ingress": ("native", 7)})

        def look(self, link: object) -> bool:
            raise KernelError("could not list the filters (Device or resource busy).", 16)

    outbox = Ended(-1)
    watching, failing = supervision(outbox), Failing()
    for _ in range(2):
        watching._look_at(failing, None)  # type: ignore[arg-type]
    [told] = outbox.told
    assert isinstance(told, State)
    assert (told.reason, told.hooks) == ("refused", {})
    assert "could not list the filters" in told.detail
