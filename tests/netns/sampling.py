"""Samples in the lab: begun, asked for while they run, and what they have printed."""

from __future__ import annotations

import os
import socket
from typing import Any

from tests import packets as p
from tests.netns.actors import XDPDNS
from tests.netns.lab import (
    CLIENT4,
    CLIENT6,
    SERVER4,
    SERVER6,
    Lab,
    Namespace,
    Process,
    wait_until,
)
from tests.schemas import valid
from xdpdns import kernel
from xdpdns.errors import KernelError
from xdpdns.hooks import Hooks
from xdpdns.sample.program import NAME

HOOKS = ["tcx", "clsact"]
SERVERS = {4: SERVER4, 6: SERVER6}
CLIENTS = {4: CLIENT4, 6: CLIENT6}
QUERIES = 170
"""By each address family, by default; of 17 one may be let through."""


def at(namespace: Namespace, interface: str = "eth0") -> list[tuple[str, str, int]]:
    """Every program on an interface: hook, direction, id."""

    def look() -> list[tuple[str, str, int]]:
        with Hooks() as hooks:
            link = hooks.link(interface)
            return [(one.hook, one.direction, one.program_id) for one in hooks.found(link)]

    return namespace.inside(look)


def open_samples(namespace: Namespace, interface: str = "eth0") -> list[list[int]]:
    """Of each sample's program at the ingress that counts by now the ids of its maps."""
    found = []
    for _, direction, ident in at(namespace, interface):
        try:
            program = kernel.prog_fd(ident)
        except KernelError:
            continue
        info = kernel.prog_info(program)
        os.close(program)
        if info.name != NAME or direction != "ingress":
            continue
        for one in info.map_ids:
            fd = kernel.map_fd(one)
            if kernel.map_info(fd).name == "sample_gate" and any(
                kernel.map_lookup(fd, bytes(4), 8)
            ):
                found.append(list(info.map_ids))
            os.close(fd)
    return found


def start(
    lab: Lab, namespace: Namespace, *options: str, interface: str = "eth0", samples: int = 1
) -> Process:
    """A sample that counts when this returns."""
    argv = [XDPDNS, "sample", interface, "--output", "json", *options]
    process = lab.start(namespace, argv, "sample")
    process.wait_until(
        "the sample's begin", lambda: len(open_samples(namespace, interface)) == samples, 60
    )
    return process


def result(process: Process, code: int = 0) -> Any:
    """What a sample that ends by itself has printed."""
    wait_until("the sample's end", lambda: process.exited is not None, 30)
    assert process.exited == code, process.log
    return valid("sample", process.log.splitlines()[0])


def ask(lab: Lab, count: int = QUERIES, qtype: int = p.A) -> dict[int, int]:
    """Queries with the IDs 0, 1, ... by each family; how many answers the client got."""
    got = {}
    for af, server in SERVERS.items():

        def make(af: int = af) -> socket.socket:
            return socket.socket(socket.AF_INET6 if af == 6 else socket.AF_INET, socket.SOCK_DGRAM)

        with lab.client.inside(make) as sock:
            for number in range(count):
                query = p.dns_query("www.example", qtype, ident=number)
                sock.sendto(query, (server, 53))  # not connected: ICMP errors are not its own
                if number % 32 == 31:
                    lab.quiet(0.05)  # veth's ring holds 256
            lab.quiet()
            got[af] = 0
            sock.setblocking(False)
            try:
                while sock.recv(512):
                    got[af] += 1
            except BlockingIOError:
                continue
    return got


def adds_up(found: Any) -> None:
    """Packets are all of their parts, and sides all of their addresses."""
    parts = ("queries", "answers", "other_dns", "tcp_segments", "other_packets")
    for way in ("in", "out"):
        assert found[way]["packets"] == sum(found[way][part] for part in parts)
        assert min(found[way].values()) >= 0
    for side, peers, asked, answered in (
        ("server", "clients", "in", "out"),
        ("client", "servers", "out", "in"),
    ):
        one = found[side]
        for kind, way in (("queries", asked), ("answers", answered)):
            listed = sum(peer[kind] for peer in one[peers])
            assert one[kind] == found[way][kind]
            assert one[kind] == listed + one["others"][kind] + one["unlisted"][kind]
