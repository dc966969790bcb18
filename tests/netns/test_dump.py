"""What `xdpdns dump` prints beside an agent, read by those whom it is for: exact in each."""

from __future__ import annotations

import csv
import io
import shutil
import signal
import socket
import threading
import time
from collections import Counter

import pytest

from tests.netns.actors import XDPDNS, Agent, dnsperf, start_nsd
from tests.netns.fleet import Store
from tests.netns.lab import Lab, wait_until
from tests.netns.mix import known_mix, labelled
from tests.netns.scrape import Scrape, http_get
from tests.schemas import valid
from tests.unit.metrics_fixture import parsed
from tests.unit.test_otlp import Receiver, received, samples

HOSTILE = (b"a,b=c;d", b'quo"te', b"back\\slash", b"~other", b" ", b"\xff")


def tools(*needed: str) -> None:
    for tool in needed:
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not here: deploy/setup --dev installs it")


@pytest.fixture
def agent(lab: Lab) -> Agent:
    """One that has counted 1000 queries of a known mix, and a few of hostile names."""
    start_nsd(lab)
    started = Agent(lab, "--tlds", "all")
    dnsperf(lab, [one.wire for one in known_mix(1000)])
    dnsperf(lab, [labelled(b"www", label) for label in HOSTILE])
    lab.quiet()
    return started


def dump(lab: Lab, *options: str) -> str:
    return lab.server.run([XDPDNS, "dump", *options]).stdout


def rows(scraped: Scrape) -> Counter[tuple[tuple[str, str], ...]]:
    """The rows of queries, by their labels."""
    return Counter(
        {
            tuple(sorted(one.labels.items())): int(one.value)
            for one in scraped.select("xdpdns_queries_total")
        }
    )


def test_every_format_has_every_query(lab: Lab, agent: Agent) -> None:
    scraped = agent.scrape()
    wanted = 1000 + len(HOSTILE)
    assert scraped.queries == wanted

    text = Scrape(dump(lab, "eth0"))
    assert rows(text) == rows(scraped)
    assert text.outcomes == scraped.outcomes
    [info] = text.select("xdpdns_interface_info", direction="ingress")
    assert info.labels["program_id"] == str(lab.server.xdp_program())

    made = valid("dump", dump(lab, "--output", "json"))
    program = made["programs"][0]
    assert (program["interface"], program["direction"]) == ("eth0", "ingress")
    assert sum(row["count"] for row in program["counters"]["rows"]) == wanted
    lines = dump(lab, "--output", "csv", "--interval", "0.2", "--count", "3")
    table = list(csv.DictReader(io.StringIO(lines, newline="")))
    each = Counter[str]()
    for row in table:
        if row["metric"] == "xdpdns_queries_total":
            each[row["time"]] += int(row["value"])
    assert list(each.values()) == [wanted] * 3
    agent.stop()
    refused = lab.server.run([XDPDNS, "dump", "eth0"], check=False)
    assert refused.returncode == 1
    assert "no xdpdns counts on eth0" in refused.stderr


def test_an_interface_that_is_down(lab: Lab) -> None:
    """It counts nothing, and dump says so as `/metrics` does."""
    agent = Agent(lab)
    lab.server.run(["ip", "link", "set", "eth0", "down"])
    wait_until("the agent notices", lambda: agent.scrape().total("xdpdns_up") == 0)
    text = Scrape(dump(lab, "eth0"))
    for metric in ("xdpdns_up", "xdpdns_interface_down_info"):
        assert [*text.select(metric)] == [*agent.scrape().select(metric)]
    assert text.total("xdpdns_up") == 0
    agent.stop()


@pytest.mark.parametrize("form", ["influx", "graphite"])
def test_a_store_takes_it(lab: Lab, agent: Agent, form: str) -> None:
    tools("victoria-metrics")
    scraped = agent.scrape()
    with Lab() as hub:
        store = Store(hub, "-graphiteListenAddr=127.0.0.1:2003")
        text = dump(lab, "eth0", "--output", form)
        if form == "influx":
            store.put("/write", text)
        else:
            connection = hub.server.connect("127.0.0.1", 2003)
            with connection:
                connection.sendall(text.encode())
                connection.shutdown(socket.SHUT_WR)
        time.sleep(1)
        found = wait_until("the rows", lambda: store.ask("xdpdns_queries_total"))
        stored = Counter[tuple[tuple[str, str], ...]]()
        for one in found:
            labels = {k: v for k, v in one["metric"].items() if k not in {"__name__", "db"}}
            stored[tuple(sorted(labels.items()))] += int(one["value"][1])
        expected = rows(scraped)
        if form == "graphite":
            expected = Counter({tuple(map(tagged, key)): n for key, n in expected.items()})
        assert stored == expected
        assert store.value("sum(xdpdns_packets_total)") >= scraped.packets
        sizes = 'xdpdns_query_size_bytes_bucket{le="+Inf"}'
        assert store.value(sizes) == scraped.total("xdpdns_query_size_bytes_count")


def tagged(label: tuple[str, str]) -> tuple[str, str]:
    """A label as Graphite's rules let it be written."""
    name, value = label
    value = value.replace(";", r"\059")
    return name, f".{value[1:]}" if value.startswith("~") else value


def test_node_exporter_serves_the_file(lab: Lab, agent: Agent) -> None:
    tools("prometheus-node-exporter")
    folder = lab.tmp / "textfile"
    folder.mkdir()
    path = folder / "xdpdns.prom"
    argv = [XDPDNS, "dump", "--textfile", str(path), "--interval", "0.3"]
    writer = lab.start(lab.server, argv, "dump")
    writer.wait_until("the file", path.exists)
    exporter = lab.start(
        lab.server,
        [
            "prometheus-node-exporter",
            "--web.listen-address=127.0.0.1:9100",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={folder}",
        ],
        "node-exporter",
    )

    def answers() -> bool:
        try:
            return http_get(lab.server, port=9100).status == 200
        except ConnectionRefusedError:
            return False

    exporter.wait_until("node_exporter", answers)
    served = Scrape(http_get(lab.server, port=9100).body.decode())
    assert served.total("node_textfile_scrape_error") == 0
    assert rows(served) == rows(agent.scrape())

    # new queries are in the next file; an agent that has gone shows, and so does the writer's end
    dnsperf(lab, ["example.com. A"] * 50)
    lab.quiet()
    queries = agent.scrape().queries
    wait_until(
        "the new queries",
        lambda: Scrape(http_get(lab.server, port=9100).body.decode()).queries == queries,
    )
    agent.stop()
    wait_until(
        "that it is not counted", lambda: 'xdpdns_up{interface="eth0"} 0' in path.read_text()
    )
    assert 'xdpdns_interface_down_info{interface="eth0",reason="detached"} 1' in path.read_text()
    assert writer.stop(signal.SIGTERM) == 0
    assert list(folder.iterdir()) == []


def test_a_file_of_so_many_readings_stays(lab: Lab, agent: Agent) -> None:
    path = lab.tmp / "xdpdns.prom"
    dump(lab, "--textfile", str(path), "--interval", "0.1", "--count", "2")
    assert rows(Scrape(path.read_text())) == rows(agent.scrape())
    agent.stop()


def test_a_receiver_of_otlp_has_every_query(lab: Lab, agent: Agent) -> None:
    """The reader goes to the interface's namespace, and sends from its own."""
    with lab.client.inside(Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        argv = [XDPDNS, "push", "eth0", "--otlp", receiver.url, "--netns", lab.server.name]
        lab.client.run([*argv, "--interval", "0.3", "--count", "2"])
        sender = lab.start(lab.client, [*argv, "--interval", "0.2"], "push")
        sender.wait_until("the third", lambda: len(receiver.requests) > 2)
        assert sender.stop(signal.SIGTERM) == 0
        receiver.shutdown()
    wanted = {
        labels: n for (name, labels), n in parsed(dump(lab).encode()).items() if "_queries_" in name
    }
    for request in receiver.requests:
        found = samples(received(request))
        got = {labels: n for (name, labels), n in found.items() if "_queries_" in name}
        assert got == wanted
    refused = lab.client.run([*argv, "--count", "1"], check=False, timeout=60)
    assert refused.returncode == 1
    assert "did not take the metrics" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_another_namespace(lab: Lab, agent: Agent) -> None:
    done = lab.client.run([XDPDNS, "dump", "--netns", lab.server.name])
    assert rows(Scrape(done.stdout)) == rows(agent.scrape())


def test_wrong_usage(lab: Lab) -> None:
    for options, code, sentence in (
        (["--count", "2"], 2, "--count needs --interval"),
        ([], 1, "no xdpdns counts here"),
        (["nope"], 1, "nope"),
        (["--output", "xml"], 2, "dsc-xml"),
    ):
        done = lab.server.run([XDPDNS, "dump", *options], check=False)
        assert done.returncode == code, done.stderr
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
