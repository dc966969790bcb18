"""What the compiler's child gives up so that BCC has less to do, and what it must not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xdpdns import kernel
from xdpdns.privileges import CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, drop, seem_unprivileged


def in_child(action: Callable[[], Any]) -> Any:
    """What the action returns in a process of its own, as JSON would have it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            json.dump(action(), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return json.loads(text)


def test_seems_unprivileged_and_loses_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's own")
    secret.chmod(0o600)

    def look() -> list[Any]:
        before = kernel.capabilities()
        seem_unprivileged()
        os.close(kernel.map_create(kernel.MapSpec("mine", kernel.MAP_TYPE_ARRAY, 4, 8, 1)))
        return [os.geteuid() != 0, kernel.capabilities() == before, secret.read_text()]

    assert in_child(look) == [True, True, "root's own"]


def test_who_may_not_seem_so_stays_root() -> None:
    """Such as in a container whose root has no CAP_SETUID: BCC then reads what it likes to read."""

    def look() -> list[Any]:
        drop(CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)
        before = kernel.capabilities()
        seem_unprivileged()
        return [os.geteuid(), kernel.capabilities() == before]

    assert in_child(look) == [0, True]
