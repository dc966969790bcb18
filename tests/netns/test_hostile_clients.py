"""Whoever connects and misbehaves: a good scrape has its answer within a second, memory its bound.

The server's own limits are in tests/unit/test_server.py; here it is the whole agent, as it is run.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
import trustme

from tests.netns.actors import XDPDNS, dnsperf, start_nsd
from tests.netns.lab import Lab
from tests.netns.mix import known_mix
from tests.netns.scrape import PORT

pytestmark = pytest.mark.alone  # the second

IDLE = 1000
MEGABYTES = 80
"""What the agent may have resident meanwhile; half of it is what 512 connections by TLS hold."""


class Client:
    """Connections to the agent, by TLS if it wants that."""

    def __init__(self, lab: Lab, tls: bool) -> None:
        self._lab = lab
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls else None
        if self._tls is not None:
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE

    def connect(self) -> socket.socket:
        sock = self._lab.server.connect("127.0.0.1", PORT, 30)
        return self._tls.wrap_socket(sock) if self._tls else sock

    def scrape(self) -> float:
        """Seconds that a scrape took, from connecting on."""
        began = time.monotonic()
        connection = HTTPConnection("127.0.0.1", PORT)
        connection.sock = self.connect()
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, answer.status
        assert b"xdpdns_queries_total{" in body
        return time.monotonic() - began


def resident(pid: int) -> tuple[int, int]:
    """Megabytes now and at the most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.findall(rf"{name}:\s+(\d+)", status)[0]) for name in ("VmRSS", "VmHWM"))
    return now // 1024, most // 1024


@contextmanager
def misbehaving(lab: Lab, client: Client) -> Iterator[None]:
    """1,000 connections, every other one with half a request; two clients with 10 MB of header."""
    done = threading.Event()

    def flood() -> None:
        while not done.is_set():
            with suppress(OSError), client.connect() as sock:  # refused half way: what we want
                sock.sendall(b"GET / HTTP/1.1\r\nX: ")
                for _ in range(160):
                    sock.sendall(b"a" * 65536)

    # all in one thread: each that enters the namespace costs one
    idle = lab.server.inside(
        lambda: [socket.create_connection(("127.0.0.1", PORT), 30) for _ in range(IDLE)]
    )
    for sock in idle[::2]:
        with suppress(OSError):  # the longest idle ones give way to others
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost")
    flooders = [threading.Thread(target=flood) for _ in range(2)]
    for thread in flooders:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in flooders:
            thread.join()
        for sock in idle:
            sock.close()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_good_scrape_has_its_second(lab: Lab, tls: bool) -> None:
    start_nsd(lab)
    options = []
    if tls:
        cert = trustme.CA().issue_cert("localhost")
        cert.private_key_pem.write_to_path(lab.tmp / "key.pem")
        cert.cert_chain_pems[0].write_to_path(lab.tmp / "cert.pem")
        web = lab.tmp / "web.yml"
        web.write_text("tls_server_config: {key_file: key.pem, cert_file: cert.pem}\n")
        options = ["--web.config.file", str(web)]
    argv = [XDPDNS, "attach", "eth0", *options]
    agent = lab.start(lab.server, argv, "agent")
    agent.wait_until("the agent", lambda: "Serving" in agent.log)
    dnsperf(lab, [one.wire for one in known_mix(1000)])
    client = Client(lab, tls)
    client.scrape()
    before, _ = resident(agent.pid)

    with misbehaving(lab, client):
        alone = [client.scrape() for _ in range(20)]
        with ThreadPoolExecutor(100) as pool:
            parallel = [one.result() for one in [pool.submit(client.scrape) for _ in range(100)]]
        after = [client.scrape() for _ in range(20)]
        now, most = resident(agent.pid)
    print(
        f"slowest of 40 scrapes {max(alone + after):.3f} s, of 100 at once {max(parallel):.3f} s; "
        f"resident: {before} MB before, {now} MB during it, {most} MB at the most"
    )
    assert max(alone + after) < 1
    assert most <= MEGABYTES
    assert agent.stop() == 0
    assert "Traceback" not in agent.log
