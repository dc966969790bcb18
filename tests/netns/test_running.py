"""A running program read from outside: by what the kernel keeps beside it, and nothing else."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.netns.actors import XDPDNS, Agent, dnsperf, kill_agent, start_nsd
from tests.netns.foreign import by_bpftool
from tests.netns.lab import Lab, wait_until
from tests.netns.mix import known_mix
from xdpdns import kernel, meta, running
from xdpdns.errors import AttachError, MissingNeedError, NotRunningError, UnreadableError

COUNT = 2000


def read(lab: Lab) -> tuple[int, Counter[tuple[str, ...]]]:
    """The program's id and the rows."""

    def act() -> tuple[int, Counter[tuple[str, ...]]]:
        with running.running("eth0") as program:
            return program.info.id, Counter(program.snapshot().queries)

    return lab.server.inside(act)


def test_beside_an_agent_and_after_it(lab: Lab) -> None:
    start_nsd(lab)
    options = ("--tlds", "com,de,.", "--edns-edges", "512,1232", "--labels", "qtype,tld,edns")
    agent = Agent(lab, "--keep", *options)
    mix = known_mix(COUNT)
    dnsperf(lab, [query.wire for query in mix])
    ident, rows = read(lab)
    assert ident == lab.server.xdp_program()
    assert rows.total() == COUNT == agent.scrape().queries
    by_type = Counter(query.label("qtype") for query in mix)
    found: Counter[str] = Counter()
    edges = set()
    for (edns, qtype, _tld), count in rows.items():
        found[qtype] += count
        edges.add(edns)
    assert found == by_type
    assert edges <= {"no_edns", "leq511", "512", "leq1231", "1232", "gt1232"}
    assert {tld for _, _, tld in rows} == {"com", "de", ".", "~other"}

    scraped = agent.scrape()
    kill_agent(agent.process.pid)
    wait_until("the agent's end", lambda: agent.process.exited is not None)
    assert read(lab) == (ident, rows)
    assert scraped.queries == rows.total()
    lab.server.run([XDPDNS, "detach", "eth0"])


def test_a_list_whose_file_is_gone(lab: Lab) -> None:
    names = lab.tmp / "tlds.txt"
    names.write_text("nl\nde\n")
    Agent(lab, "--tlds", f"@{names}")
    names.unlink()
    _, rows = read(lab)
    assert not rows


def test_nothing_and_somebody_elses(lab: Lab) -> None:
    with pytest.raises(NotRunningError, match=r"xdpdns attach eth0"):
        read(lab)
    by_bpftool(lab, "native")
    with pytest.raises(NotRunningError):
        read(lab)
    assert lab.server.inside(running.counted) == []
    with pytest.raises(AttachError, match="no interface eth7"):
        lab.server.inside(lambda: running.running("eth7"))


def test_another_meaning(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counters of a version that counts something else are not guessed at."""
    Agent(lab)
    monkeypatch.setattr(meta, "meaning", lambda: "0123456789abcdef")
    with pytest.raises(UnreadableError, match=r"loaded by xdpdns 0\."):
        read(lab)


def test_the_description_is_frozen_and_goes_with_the_program(lab: Lab) -> None:
    agent = Agent(lab)

    def described() -> list[dict[str, object]]:
        out = subprocess.run(["bpftool", "-j", "map"], check=True, capture_output=True).stdout
        program = lab.server.xdp_program()
        argv = ["bpftool", "-j", "prog", "show", "id", str(program)]
        ids = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["map_ids"]
        return [one for one in json.loads(out) if one["id"] in ids and one["name"] == meta.MAP]

    [one] = described()
    assert one["frozen"] == 1
    fd = kernel.map_fd(int(str(one["id"])))
    try:
        with pytest.raises(MissingNeedError) as refused:
            kernel.map_update(fd, bytes(4), bytes(int(str(one["bytes_value"]))))
        assert refused.value.errno == errno.EPERM
    finally:
        os.close(fd)
    agent.stop()
    argv = ["bpftool", "map", "show", "id", str(one["id"])]
    wait_until("the map's end", lambda: subprocess.run(argv, capture_output=True).returncode != 0)


def test_without_root(lab: Lab) -> None:
    Agent(lab)
    argv = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    code = "from xdpdns import running; running.running('eth0')"
    done = lab.server.run([*argv, sys.executable, "-c", code], check=False)
    assert done.returncode == 1
    assert "MissingNeedError" in done.stderr
