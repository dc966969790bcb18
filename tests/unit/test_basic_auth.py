from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest

from tests.unit.serving import Running, serving
from xdpdns.basic_auth import BasicAuth, Verdict
from xdpdns.web_config import WebConfigFile

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
LONG = b"x" * 100
USERS = {
    "alice": HASH,
    "günther": bcrypt.hashpw("pässwörd".encode(), bcrypt.gensalt(4)).replace(b"$2b$", b"$2y$"),
    "long": bcrypt.hashpw(LONG[:72], bcrypt.gensalt(4)),
}


def header(user: str, password: str | bytes) -> str:
    secret = password if isinstance(password, bytes) else password.encode()
    return "Basic " + base64.b64encode(user.encode() + b":" + secret).decode()


def check(*authorizations: str, users: dict[str, bytes] = USERS) -> list[Verdict]:
    async def main() -> list[Verdict]:
        auth = BasicAuth()
        try:
            return [await auth.check(users, one) for one in authorizations]
        finally:
            auth.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    "authorization",
    [
        header("alice", "secret"),
        header("alice", "secret").replace("Basic", "bAsIc"),
        header("günther", "pässwörd"),
        header("long", LONG),  # bcrypt reads 72 bytes, as Go's does
    ],
)
def test_who_is_let_in(authorization: str) -> None:
    assert check(authorization, authorization) == [Verdict.ALLOWED] * 2


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"alice").decode(),
        "Bearer " + base64.b64encode(b"alice:secret").decode(),
        header("alice", ""),
        header("alice", "Secret"),
        header("alice", "secret\0"),
        header("alice", b"\xff\xfe"),
        header("Alice", "secret"),
        header("", "secret"),
        header("mallory", "secret"),
        header("long", LONG[:71]),
        "Basic \xff",
    ],
)
def test_who_is_not(authorization: str) -> None:
    assert check(authorization, authorization) == [Verdict.REFUSED] * 2


def test_nobody_is_let_in_where_nobody_is_known() -> None:
    assert check(header("alice", "secret"), users={}) == [Verdict.REFUSED]


def test_each_password_costs_one_bcrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[bytes, bytes]] = []
    real = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        checked.append((password, hashed))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    good, bad, unknown = header("alice", "secret"), header("alice", "x"), header("mallory", "x")

    async def main() -> None:
        auth = BasicAuth()
        for _ in range(3):
            together = [auth.check(USERS, one) for one in (good, bad, unknown) for _ in range(50)]
            verdicts = await asyncio.gather(*together)
            assert verdicts == [Verdict.ALLOWED] * 50 + [Verdict.REFUSED] * 100
        assert len(checked) == 3
        # an unknown user costs a check of the same cost as a known one
        assert checked[2][1][:7] == HASH[:7]
        # a new hash for the same password is a new question
        await auth.check({"alice": bcrypt.hashpw(b"other", bcrypt.gensalt(4))}, good)
        assert len(checked) == 4
        auth.close()

    asyncio.run(main())


def test_guesses_are_bounded_and_do_not_push_out_what_is_right() -> None:
    slow = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(8))}

    async def main() -> None:
        auth = BasicAuth()
        assert await auth.check(slow, header("alice", "secret")) is Verdict.ALLOWED
        guesses = [asyncio.create_task(auth.check(slow, header("a", str(i)))) for i in range(400)]
        await asyncio.sleep(0)
        assert await auth.check(slow, header("alice", "secret")) is Verdict.ALLOWED
        assert sum(not guess.done() for guess in guesses) > 0  # it did not wait for them
        verdicts = await asyncio.gather(*guesses)
        assert verdicts.count(Verdict.REFUSED) == 16
        assert verdicts.count(Verdict.BUSY) == 400 - 16
        cheap = {"alice": HASH}
        for i in range(300):
            assert await auth.check(cheap, header("a", str(i))) is Verdict.REFUSED
        assert len(auth._wrong) == 256
        assert len(auth._right) == 1
        auth.close()

    asyncio.run(main())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    path = tmp_path / "web.yml"
    path.write_text(
        f"basic_auth_users:\n  alice: {HASH.decode()}\nauth_excluded_paths: [/healthz]\n"
    )
    with serving(web_config=WebConfigFile(path)) as running:
        yield running


def test_over_http(server: Running) -> None:
    for path in ("/", "/metrics", "/-/ready", "/nope"):
        status, headers, body = server.get(path)
        assert status == 401
        assert headers["WWW-Authenticate"] == 'Basic realm="xdpdns", charset="UTF-8"'
        assert b"eth0" not in body
        assert server.get(path, {"Authorization": header("alice", "wrong")})[0] == 401
        good = {"Authorization": header("alice", "secret")}
        assert server.get(path, good)[0] == (404 if path == "/nope" else 200)
    assert server.counting.readings == 1
    assert server.get("/healthz")[0] == 200
    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(server.get, "/metrics", good) for _ in range(50)]
        assert {answer.result()[0] for answer in answers} == {200}


def test_a_reload_changes_who_is_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Running
) -> None:
    monkeypatch.setattr("xdpdns.web_config._CHECK_SECONDS", 0.0)
    time.sleep(1.1)  # what was due after a second
    good = {"Authorization": header("alice", "secret")}
    assert server.get("/metrics", good)[0] == 200
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users:\n  bob: {HASH.decode()}\n")
    os.utime(path, ns=(time.time_ns() + 10**9,) * 2)
    assert server.get("/metrics", good)[0] == 401
    assert server.get("/metrics", {"Authorization": header("bob", "secret")})[0] == 200
    assert server.get("/healthz")[0] == 401
