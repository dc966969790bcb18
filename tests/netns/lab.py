"""Two network namespaces and a cable: a nameserver's machine and a client's, for one test.

::

    with Lab() as lab:
        lab.server.run(["ip", "addr"])          # 192.0.2.1/24 and 2001:db8::1/64 on its eth0
        lab.client.run(["dig", "@192.0.2.1"])   # 192.0.2.2/24 and 2001:db8::2/64 on its eth0

Tests count every packet, so the lab is silent until a test speaks: neighbours are static, and
NOARP on both ends keeps IPv6 from joining multicast groups (MLD reports), from duplicate address
detection and from neighbour solicitation; there is no link-local address and no router
solicitation. The one exception is the kernel's answer to a packet that nobody waits for (ICMP
unreachable, TCP RST).

Needs root. Everything that a lab makes is ended by its id when the `with` block ends, however it
ends: first its processes, then its namespaces (the cable goes with them) and what was pinned there.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

SERVER4, SERVER6 = "192.0.2.1", "2001:db8::1"
CLIENT4, CLIENT6 = "192.0.2.2", "2001:db8::2"
SERVER_MAC, CLIENT_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"

PATIENCE = 60.0
"""Seconds to wait for what comes in less than one, unless the machine is busy with other things."""

T = TypeVar("T")

_NUMBERS = itertools.count()
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def wait_until(what: str, check: Callable[[], T], timeout: float = PATIENCE) -> T:
    """The first true value of `check()`, asked every 20 ms; TimeoutError names `what`."""
    deadline = time.monotonic() + timeout
    while True:
        if value := check():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)


@dataclass(frozen=True)
class Namespace:
    """A network namespace by its name under /run/netns."""

    name: str

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` inside; not by `ip netns exec`, whose own /sys makes pins vanish with it."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *argv]

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 60.0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run to its end, output as text; with `check` a failure raises with what it printed."""
        done = subprocess.run(
            self.command(argv), text=True, input=stdin, capture_output=True, timeout=timeout
        )
        if check and done.returncode:
            raise RuntimeError(f"{argv} exited {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def popen(
        self, argv: Sequence[str], log: IO[bytes] | int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start and don't wait; standard output and error go to `log`."""
        return subprocess.Popen(
            self.command(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )

    def connect(self, host: str, port: int, timeout: float = 5.0) -> socket.socket:
        """A TCP connection made inside; the socket then works from any namespace."""
        return self.inside(lambda: socket.create_connection((host, port), timeout))

    def inside(self, action: Callable[[], T]) -> T:
        """`action()` in a thread of its own that has entered the namespace and ends with it."""
        result: list[T] = []
        failure: list[BaseException] = []

        def enter() -> None:
            try:
                with Path("/run/netns", self.name).open() as namespace:
                    if _LIBC.setns(namespace.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), f"setns {self.name}")
                result.append(action())
            except BaseException as error:  # handed on to the caller's thread, below
                failure.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    def link(self, interface: str = "eth0") -> dict[str, Any]:
        """What `ip -s -j -d link show` says of an interface."""
        argv = ["ip", "-n", self.name, "-s", "-j", "-d", "link", "show", interface]
        [answer] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
        return dict(answer)

    def rx_packets(self, interface: str = "eth0") -> int:
        """The packets that the interface has received since it was made, by its own counter.

        For veth this is what passed its receive path, before XDP decides: a packet that the
        peer sent but a full ring dropped is not in it.
        """
        return int(self.link(interface)["stats64"]["rx"]["packets"])

    def xdp_program(self, interface: str = "eth0") -> int | None:
        """The id of the attached XDP program (native or generic); None if there is none."""
        xdp = self.link(interface).get("xdp")
        return int(xdp["prog"]["id"]) if xdp else None


class Lab:
    """A server's and a client's namespace, joined by a veth pair that is named eth0 at both ends.

    `queues` is the number of receive queues (hence of CPUs that may work at once) at each end.
    `tmp` is a folder for the files of this lab.
    """

    def __init__(self, *, queues: int = 1) -> None:
        stem = f"xdpdns-{os.getpid()}-{next(_NUMBERS)}"
        self.server = Namespace(f"{stem}-server")
        self.client = Namespace(f"{stem}-client")
        self.queues = queues
        self._stack = ExitStack()
        self._processes: list[Process] = []

    def __enter__(self) -> Lab:
        with ExitStack() as stack:
            self.tmp = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xdpdns-lab-")))
            for namespace in (self.server, self.client):
                _run(["ip", "netns", "add", namespace.name])
                stack.callback(_run, ["ip", "netns", "del", namespace.name])
                stack.callback(_unpin, Path("/run/netns", namespace.name).stat().st_ino)
            self._cable()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start(self, namespace: Namespace, argv: Sequence[str], name: str) -> Process:
        """Start a program that the lab will end, with what it prints in a file of its `name`."""
        process = Process(namespace, argv, self.tmp / f"{name}-{next(_NUMBERS)}.log")
        self._stack.callback(process.kill)
        self._processes.append(process)
        return process

    def end_processes(self) -> None:
        """End all programs that the lab has started, before the lab itself ends."""
        for process in reversed(self._processes):
            process.kill()

    def quiet(self, seconds: float = 0.2) -> int:
        """Wait until the server's eth0 has received nothing for so long; its `rx_packets()`."""
        last = self.server.rx_packets()
        since = time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.05)
            now = self.server.rx_packets()
            if now != last:
                last, since = now, time.monotonic()
        return last

    def new_cable(self) -> None:
        """Delete both ends of the cable and make it anew: other interfaces of the same names."""
        _ip(self.server, "link del eth0")
        self._cable()

    def _cable(self) -> None:
        queues = f"numrxqueues {self.queues} numtxqueues {self.queues}"
        ours = f"link add eth0 address {SERVER_MAC} {queues} type veth"
        theirs = f"peer name eth0 address {CLIENT_MAC} {queues} netns {self.client.name}"
        _ip(self.server, f"{ours} {theirs}")
        ends = (
            (self.server, (SERVER4, SERVER6), (CLIENT4, CLIENT6, CLIENT_MAC)),
            (self.client, (CLIENT4, CLIENT6), (SERVER4, SERVER6, SERVER_MAC)),
        )
        for namespace, (own4, own6), (far4, far6, far_mac) in ends:
            _ip(
                namespace,
                "link set lo up",
                "link set eth0 arp off",
                "link set eth0 addrgenmode none",
                "link set eth0 up",
                f"addr add {own4}/24 dev eth0",
                f"addr add {own6}/64 dev eth0 nodad",
                f"neigh replace {far4} lladdr {far_mac} dev eth0 nud permanent",
                f"neigh replace {far6} lladdr {far_mac} dev eth0 nud permanent",
            )


class Process:
    """A running program: its log, its end."""

    def __init__(self, namespace: Namespace, argv: Sequence[str], log: Path) -> None:
        self.argv = list(argv)
        self._log = log
        with log.open("wb") as out:
            self._popen = namespace.popen(argv, out)

    @property
    def pid(self) -> int:
        """The program's process id (nsenter becomes the program, so it is not a child's)."""
        return self._popen.pid

    @property
    def log(self) -> str:
        """Everything that it has printed so far."""
        return self._log.read_text(errors="backslashreplace")

    @property
    def exited(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._popen.poll()

    def wait_until(self, what: str, check: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait for `check()`; the program's early end or a time-out raises with its log."""

        def ready() -> bool:
            if self.exited is not None:
                raise RuntimeError(f"{self.argv} exited {self.exited}: {self.log}")
            return check()

        try:
            wait_until(what, ready, timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.log}") from None

    def stop(self, number: int = signal.SIGINT, timeout: float = PATIENCE) -> int:
        """Send a signal and wait; the exit code (negative: died of that signal)."""
        if self.exited is None:
            self._popen.send_signal(number)
        return self._popen.wait(timeout)

    def kill(self) -> None:
        """End it now, if it still runs."""
        if self.exited is None:
            self._popen.kill()
        self._popen.wait(10)


def _unpin(inode: int) -> None:
    """Remove what `attach --keep` left: the next namespace may have the same inode."""
    for place in Path("/sys/fs/bpf/xdpdns").glob(f"{inode}-*"):
        shutil.rmtree(place, ignore_errors=True)


def _ip(namespace: Namespace, *lines: str) -> None:
    _run(["ip", "-n", namespace.name, "-batch", "-"], stdin="\n".join(lines))


def _run(argv: Sequence[str], stdin: str = "") -> None:
    done = subprocess.run(argv, text=True, input=stdin, capture_output=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{list(argv)}: {done.stderr.strip()}")
