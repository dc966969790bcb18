"""Other people's XDP programs: what `xdpdns` must find, name and leave alone.

Each way of attaching is that of a real tool. They run in a mount namespace of their own, since
some mount a BPF file system at /sys/fs/bpf and leave it there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.netns.actors import supervisors
from tests.netns.lab import Lab

DISPATCHER = Path("/usr/lib/x86_64-linux-gnu/bpf/xdp-dispatcher.o")
"""libxdp's, as xdp-tools installs it."""

_SOURCE = """\
__attribute__((section("xdp"), used)) int foreign_pass(void *context) { return 2; /* XDP_PASS */ }
char _license[] __attribute__((section("license"), used)) = "GPL";
"""


def compiled(lab: Lab) -> Path:
    """An object file with one XDP program that passes everything."""
    source, target = lab.tmp / "foreign.c", lab.tmp / "foreign.o"
    source.write_text(_SOURCE)
    # -g: libbpf and libxdp want BTF
    argv = ["clang", "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(target)]
    subprocess.run(argv, check=True, timeout=60)
    return target


def apart(lab: Lab, script: str) -> str:
    """Run a script in the server's namespace, with mounts of its own; what it printed."""
    return lab.server.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-ec", script]
    ).stdout


def by_ip_link(lab: Lab, mode: str, force: str = "", interface: str = "eth0") -> None:
    """`ip link set`: netlink; `force` is `-force` to replace whatever is there."""
    flavour = {"native": "xdpdrv", "generic": "xdpgeneric"}[mode]
    apart(lab, f"ip {force} link set dev {interface} {flavour} obj {compiled(lab)} sec xdp")


def unhook(lab: Lab, interface: str = "eth0") -> None:
    """`bpftool link detach` of what holds the XDP program: netlink can't take it off or replace it.

    The link's holders keep a dead link.
    """
    program = lab.server.xdp_program(interface)
    links = json.loads(lab.server.run(["bpftool", "-j", "link", "show"]).stdout)
    [link] = [one["id"] for one in links if one["type"] == "xdp" and one["prog_id"] == program]
    lab.server.run(["bpftool", "link", "detach", "id", str(link)])


def in_place_of(agent: int, lab: Lab, mode: str, interface: str = "eth0") -> None:
    """Ours is off, another program there, before the supervisor of the agent (its pid) looks.

    Else ours would be back at once.
    """
    [supervisor] = supervisors(agent)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        unhook(lab, interface)
        by_ip_link(lab, mode, interface=interface)
    finally:
        os.kill(supervisor, signal.SIGCONT)


def by_bpftool(lab: Lab, mode: str) -> None:
    """`bpftool net attach` of a pinned program: netlink."""
    flavour = {"native": "xdpdrv", "generic": "xdpgeneric"}[mode]
    apart(
        lab,
        f"mkdir {lab.tmp}/pins; mount -t bpf bpffs {lab.tmp}/pins\n"
        f"bpftool prog load {compiled(lab)} {lab.tmp}/pins/foreign type xdp\n"
        f"bpftool net attach {flavour} pinned {lab.tmp}/pins/foreign dev eth0",
    )


def by_xdp_loader(lab: Lab, mode: str) -> None:
    """`xdp-loader load`: libxdp, by its dispatcher where the kernel lets it."""
    flavour = {"native": "native", "generic": "skb"}[mode]
    apart(lab, f"xdp-loader load -m {flavour} eth0 {compiled(lab)}")


Attach = Callable[[Lab, str], None]
TOOLS: list[Attach] = [by_ip_link, by_bpftool, by_xdp_loader]
