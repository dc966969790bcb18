from __future__ import annotations

import contextlib
import gzip
import http.client
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.unit.metrics_fixture import STATE, parsed, series, state
from tests.unit.serving import WAIT, Counting, Running, read_all, serving
from xdpdns import __version__
from xdpdns.exposition import CONTENT_TYPE_OPENMETRICS, CONTENT_TYPE_TEXT
from xdpdns.families import InterfaceState
from xdpdns.session import Limits

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
BRIEF = Limits(header=0.3, keep_alive=0.3, write=0.5, respond=0.5, linger=0.3)


def one_response(sock: socket.socket) -> tuple[dict[bytes, bytes], bytes]:
    """The next response, which must be 200: headers (names in lower case) and body."""
    with sock.makefile("rb", buffering=0) as file:
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
        head: dict[bytes, bytes] = {}
        while (line := file.readline()) != b"\r\n":
            name, _, value = line.partition(b": ")
            head[name.lower()] = value.strip()
        body = b""
        while len(body) < int(head[b"content-length"]):
            body += file.read(int(head[b"content-length"]) - len(body)) or pytest.fail("cut off")
    return head, body


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving() as running:
        yield running


def test_a_client_that_comes_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered: /-/ready at once, a scrape when there are counters, or else in time."""
    with serving(starting=True) as running:
        status, _, body = running.get("/-/ready")
        assert (status, body.startswith(b"starting")) == (503, True)
        assert running.get("/healthz")[0] == 200
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(running.get, "/metrics")
            time.sleep(0.1)
            assert not waiting.done()
            assert running.counting.readings == 0
            running.loop.call_soon_threadsafe(running.server.started.set)
            assert waiting.result(10)[0] == 200
        assert running.get("/-/ready")[0] == 200
    monkeypatch.setattr("xdpdns.pages.PATIENCE", 0.1)
    with serving(starting=True) as running:
        status, headers, body = running.get("/metrics")
        assert (status, headers["Retry-After"]) == (503, "5")
        assert body.startswith(b"starting")


def test_metrics_in_text(server: Running) -> None:
    status, headers, body = server.get("/metrics")
    assert status == 200
    assert headers["Content-Type"] == CONTENT_TYPE_TEXT
    assert headers["Content-Encoding"] is None
    assert headers["Vary"] == "Accept, Accept-Encoding"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert parsed(body)[series("xdpdns_up", interface="eth0")] == 1


def test_metrics_in_openmetrics_and_gzip(server: Running) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
    status, headers, body = server.get("/metrics?x=y", accept)
    assert status == 200
    assert headers["Content-Type"] == CONTENT_TYPE_OPENMETRICS
    assert headers["Content-Encoding"] == "gzip"
    samples = parsed(gzip.decompress(body), openmetrics=True)
    assert samples[series("xdpdns_up", interface="eth0")] == 1


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/-/healthy", "/-/ready"])
def test_head_is_get_without_the_body(server: Running, path: str) -> None:
    status, headers, body = server.get(path, method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0
    assert headers["Content-Type"] == server.get(path)[1]["Content-Type"]


def test_health(server: Running) -> None:
    assert server.get("/healthz")[::2] == (200, b"xdpdns lives.\n")
    assert server.get("/-/healthy")[0] == 200


@pytest.mark.parametrize("path", ["/nope", "/metrics/", "//metrics", "/-/reload", "*", "/%2e%2e"])
def test_other_paths_are_not_found(server: Running, path: str) -> None:
    for method in ("GET", "HEAD", "POST"):
        assert server.get(path, method=method)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(server: Running, method: str) -> None:
    body = b"x=1" if method in ("POST", "PUT") else None
    status, headers, _ = server.get("/metrics", method=method, body=body)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_body_is_refused(server: Running) -> None:
    status, headers, _ = server.get("/metrics", body=b"x" * 100)
    assert (status, headers["Connection"]) == (413, "close")
    chunked = b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert server.raw(chunked).startswith(b"HTTP/1.1 413 ")
    empty = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert server.raw(empty).startswith(b"HTTP/1.1 200 ")


def test_ready_says_which_interface_is_not() -> None:
    counting = Counting()
    with serving(counting=counting) as server:
        assert server.get("/-/ready")[::2] == (200, b"Every interface is counted.\n")
        counting.states = [STATE, InterfaceState("eth1", False, "absent", "there is no eth1")]
        assert server.get("/-/ready")[::2] == (503, b"eth1: there is no eth1\n")
        counting.states = []
        assert server.get("/-/ready")[::2] == (503, b"No interface is counted.\n")


def test_the_landing_page_shows_interfaces_and_escapes_them() -> None:
    both = [STATE, replace(STATE, side="responses")]
    counting = Counting([*both, InterfaceState("<b>\udcff", False, "absent", "it's <gone>")])
    with serving(counting=counting) as server:
        status, headers, body = server.get("/")
    page = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "style-src 'sha256-" in headers["Content-Security-Policy"]
    assert __version__ in page
    assert '<a href="/metrics">' in page
    assert page.count("<td>eth0</td>") == 1
    assert "native" in page
    assert "<td>&lt;b&gt;\\udcff</td>" in page
    assert "it&#x27;s &lt;gone&gt;" in page
    assert "<b>" not in page


def test_keep_alive_and_pipelining(server: Running) -> None:
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"xdpdns lives." in sock.recv(65536)
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + last)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 21
    assert answers.endswith(b"</html>\n")


def test_a_repeated_request_gets_a_new_reading() -> None:
    with serving() as server, server.connect() as sock:
        answers = []
        for down in (False, False, True):
            server.counting.states = [replace(STATE, up=not down)]
            sock.sendall(GET)
            answers.append(one_response(sock))
        assert server.counting.readings == 3
        heads = [{k: v for k, v in head.items() if k != b"date"} for head, _ in answers]
        assert heads[0].pop(b"content-length").isdigit()
        for head, (_, body) in zip(heads[1:], answers[1:], strict=True):
            assert int(head.pop(b"content-length")) == len(body)
            assert head == heads[0]
        up = [parsed(body)[series("xdpdns_up", interface="eth0")] for _, body in answers]
        assert up == [1, 1, 0]


def test_a_repeated_request_and_others_take_turns(server: Running) -> None:
    other = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with server.connect() as sock:
        for sent in (GET, GET, other, other, GET, GET):
            sock.sendall(sent)
            assert (b"xdpdns_up" in one_response(sock)[1]) == (sent == GET)
        sock.sendall(GET[:-3])  # the same in two pieces
        time.sleep(0.05)
        sock.sendall(GET[-3:])
        assert b"xdpdns_up" in one_response(sock)[1]
        sock.sendall(GET + other)  # two in one piece
        assert b"xdpdns_up" in one_response(sock)[1]
        assert b"xdpdns lives." in one_response(sock)[1]
        sock.sendall(GET)
        assert b"xdpdns_up" in one_response(sock)[1]


def test_repeated_requests_keep_a_connection_alive() -> None:
    with serving(limits=BRIEF) as server, server.connect() as sock:
        for _ in range(5):
            sock.sendall(GET)
            one_response(sock)
            time.sleep(0.2)
        assert read_all(sock) == b""


def test_a_slow_reader_of_repeated_requests_gets_all_or_is_cut_off() -> None:
    rows: dict[tuple[str, ...], int] = {(f"{i:0>60}",): i for i in range(2000)}
    with serving(counting=Counting([state(rows, ("tld",))]), limits=BRIEF) as server:
        with server.connect() as sock:
            for _ in range(3):
                sock.sendall(GET)
                size = len(one_response(sock)[1])
            asked = 0
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
                sock.settimeout(1.0)
                while asked < 1000:
                    sock.sendall(GET)
                    asked += 1
                    time.sleep(0.002)
            until(lambda: server.connections() == 0)
            received = read_all(sock)
        assert size < len(received) < asked * size
        assert len(server.get("/metrics")[2]) > size / 2


def test_a_slow_reading_does_not_keep_others_waiting() -> None:
    with serving(limits=Limits(respond=5.0)) as server, server.connect() as sock:
        for _ in range(2):
            sock.sendall(GET)
            one_response(sock)
        server.server._scraper._scraper.seconds = 1.0  # as if there were many more rows now
        server.counting.gate.clear()
        sock.sendall(GET)
        until(lambda: server.counting.running == 1)
        assert server.get("/healthz")[0] == 200
        server.counting.gate.set()
        assert b"xdpdns_up" in one_response(sock)[1]


def test_http_1_0_is_answered_and_closed(server: Running) -> None:
    answer = server.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"xdpdns lives.\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS to a plain port
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
def test_wrong_requests(server: Running, sent: bytes, status: int) -> None:
    answer = server.raw(sent)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close\r\n" in answer.lower()


def test_first_scrape_is_told_once() -> None:
    with serving() as server:
        server.get("/healthz")
        server.get("/nope")
        assert server.counting.first_scrapes == 0
        for _ in range(3):
            server.get("/metrics")
        assert server.counting.first_scrapes == 1


def test_concurrent_scrapes_share_readings_that_began_after_them() -> None:
    with serving() as server, ThreadPoolExecutor(100) as pool:
        counting = server.counting
        counting.gate.clear()
        first = pool.submit(server.get, "/metrics")
        until(lambda: counting.readings == 1)
        # the first reading has begun: what is counted now must be in everybody else's answer
        counting_states = [replace(STATE, interface="eth9")]
        others = [
            pool.submit(server.get, "/metrics", {"Accept-Encoding": "gzip"} if i % 2 else None)
            for i in range(99)
        ]
        until(lambda: server.connections() == 100)
        time.sleep(0.2)
        assert counting.readings == 1
        counting.states, before = counting_states, counting.states
        assert before == [STATE]
        counting.gate.set()
        assert first.result()[0] == 200
        for other in others:
            status, headers, body = other.result()
            assert status == 200
            text = gzip.decompress(body) if headers["Content-Encoding"] else body
            assert b'interface="eth9"' in text
        assert counting.readings == 2


def test_a_scraper_that_goes_away_does_not_take_the_others_along() -> None:
    with serving() as server, ThreadPoolExecutor(2) as pool:
        server.counting.gate.clear()
        with server.connect() as sock:
            sock.sendall(GET)
            until(lambda: server.counting.readings == 1)
        other = pool.submit(server.get, "/metrics")
        time.sleep(0.1)
        server.counting.gate.set()
        assert other.result()[0] == 200


def test_a_reading_that_hangs_is_unavailable_not_silent() -> None:
    with serving(limits=BRIEF) as server:
        server.counting.gate.clear()
        status, _, body = server.get("/metrics")
        assert status == 503
        assert b"0.5 s" in body
        assert server.get("/healthz")[0] == 200
        server.counting.gate.set()
        assert server.get("/metrics")[0] == 200


def test_a_failing_collector_is_not_a_failing_scrape() -> None:
    with serving() as server:
        server.counting.states = None  # type: ignore[assignment]
        status, _, body = server.get("/metrics")
        errors = series("xdpdns_collector_errors_total", collector="interfaces")
        assert status == 200
        assert parsed(body)[errors] == 1
        assert server.get("/-/ready")[0] == 500
        assert server.get("/healthz")[0] == 200


def test_a_slow_header_is_cut_off() -> None:
    with serving(limits=BRIEF) as server, server.connect() as sock:
        begin = time.monotonic()
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        received = b""
        while not received and time.monotonic() - begin < WAIT:  # a byte at a time buys no time
            sock.sendall(b"X")
            sock.settimeout(0.05)
            try:
                received = sock.recv(65536)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408 ")


def test_silent_connections_are_closed_silently() -> None:
    with serving(limits=BRIEF) as server:
        assert server.raw(b"") == b""  # a fresh one
        answer = server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")  # after a request
        assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.alone
def test_a_reader_that_does_not_read_is_cut_off() -> None:
    rows: dict[tuple[str, ...], int] = {(f"{i:0>60}",): i for i in range(60000)}
    with serving(counting=Counting([state(rows, ("tld",))]), limits=BRIEF) as server:
        with server.connect() as sock:
            sock.sendall(GET)
            until(lambda: server.connections() == 1)
            until(lambda: server.connections() == 0)
            received = read_all(sock)
        assert received.startswith(b"HTTP/1.1 200 ")
        whole = len(server.get("/metrics")[2])
        assert len(received) < whole


def test_bodies_in_flight_are_bounded() -> None:
    rows: dict[tuple[str, ...], int] = {(f"{i:0>60}",): i for i in range(60000)}
    limits = Limits(pending_bytes=20_000_000)
    with serving(counting=Counting([state(rows, ("tld",))]), limits=limits) as server:
        size = len(server.get("/metrics")[2])
        fit = limits.pending_bytes // size
        assert fit >= 2
        slow = []
        for _ in range(2 * fit):
            sock = server.connect()
            sock.sendall(GET)
            assert sock.recv(1)  # its own reading, since it begins to arrive
            slow.append(sock)
        until(lambda: server.connections() == fit)
        assert len(server.get("/metrics")[2]) > size / 2  # a good client is served all the same
        for sock in slow:
            sock.close()


def test_the_longest_idle_connection_gives_way() -> None:
    with serving(limits=Limits(connections=10)) as server:
        idle = [server.connect() for _ in range(30)]
        half = [server.connect() for _ in range(30)]
        for sock in half:
            sock.sendall(b"GET / HTTP/1.1\r\n")
        status, _, _ = server.get("/metrics")
        assert status == 200
        assert server.connections() <= 10
        assert all(sock.recv(1) == b"" for sock in idle)
        for sock in idle + half:
            sock.close()


def test_slow_readers_give_way_when_there_is_no_place() -> None:
    rows: dict[tuple[str, ...], int] = {(f"{i:0>60}",): i for i in range(60000)}
    limits = Limits(connections=3, slow=2.0)
    with serving(counting=Counting([state(rows, ("tld",))]), limits=limits) as server:
        slow = [server.connect() for _ in range(3)]
        for sock in slow:
            sock.sendall(GET)
        assert all(sock.recv(1) for sock in slow)
        assert server.raw(b"").startswith(b"HTTP/1.1 503 ")
        time.sleep(limits.slow)
        assert server.get("/metrics")[0] == 200
        for sock in slow:
            sock.close()


def test_when_all_are_being_served_the_next_is_told_so() -> None:
    with serving(limits=Limits(connections=3)) as server:
        server.counting.gate.clear()
        busy = [server.connect() for _ in range(3)]
        for sock in busy:
            sock.sendall(GET)
        until(lambda: server.counting.readings == 1)
        time.sleep(0.2)
        answer = server.raw(b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        server.counting.gate.set()
        for sock in busy:
            assert sock.recv(12) == b"HTTP/1.1 200"
            sock.close()


def test_hostile_clients_leave_a_good_one_its_second() -> None:
    with serving() as server:
        done = threading.Event()

        def flood() -> None:
            while not done.is_set():
                try:
                    with server.connect() as sock:
                        sock.sendall(b"GET / HTTP/1.1\r\nX: ")
                        for _ in range(160):  # 10 MB
                            sock.sendall(b"a" * 65536)
                except OSError:  # refused half way: what we want
                    continue

        idle = [server.connect() for _ in range(1000)]
        for i, sock in enumerate(idle):
            if i % 2:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost")
        flooders = [threading.Thread(target=flood) for _ in range(2)]
        for thread in flooders:
            thread.start()
        try:
            with ThreadPoolExecutor(100) as pool:
                parallel = [pool.submit(server.get, "/metrics") for _ in range(100)]
                statuses = [one.result()[0] for one in parallel]
            assert statuses == [200] * 100
            assert server.get("/metrics")[0] == 200
            assert server.connections() <= Limits().connections
        finally:
            done.set()
            for thread in flooders:
                thread.join()
            for sock in idle:
                sock.close()


def test_a_response_under_way_is_finished_at_the_end() -> None:
    with ThreadPoolExecutor(1) as pool:
        with serving() as server:
            server.counting.gate.clear()
            answer = pool.submit(server.get, "/metrics")
            until(lambda: server.counting.readings == 1)
            threading.Timer(0.3, server.counting.gate.set).start()
            idle = server.connect()
        assert answer.result()[0] == 200
        assert idle.recv(1) == b""
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_a_port_without_an_address_is_dual_stack() -> None:
    with serving(":0") as server:
        port = server.address[1]
        for host in ("127.0.0.1", "::1"):
            client = http.client.HTTPConnection(host, port, timeout=WAIT)
            client.request("GET", "/healthz")
            assert client.getresponse().status == 200
            client.close()


def test_ipv6_only() -> None:
    with serving("[::1]:0") as server:
        assert server.get("/healthz")[0] == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.address[1]), timeout=WAIT)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(server: Running) -> None:
    url = f"http://127.0.0.1:{server.address[1]}/metrics"
    done = subprocess.run(
        ["curl", "-fsS", "--compressed", "--max-time", "5", url, url],
        capture_output=True,
        check=True,
        timeout=10,
    )
    assert done.stdout.count(b'xdpdns_up{interface="eth0"} 1\n') == 2


def until(condition: object) -> None:
    """Wait until something is so."""
    end = time.monotonic() + WAIT
    assert callable(condition)
    while not condition():
        assert time.monotonic() < end, "it didn't come to that"
        time.sleep(0.01)
