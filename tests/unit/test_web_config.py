from __future__ import annotations

import logging
import os
import ssl
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import pytest
import trustme

from tests.unit.serving import Running, serving
from xdpdns.errors import SettingsError
from xdpdns.web_config import WebConfig, WebConfigFile

Write = Callable[[str], Path]
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def write(tmp_path: Path, ca: trustme.CA) -> Write:
    """Writes web.yml beside a server's certificate, its key and a CA."""
    issue(ca, tmp_path)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")

    def write(text: str) -> Path:
        path = tmp_path / "web.yml"
        path.write_text(text)
        return path

    return write


def issue(
    ca: trustme.CA,
    folder: Path,
    name: str = "server",
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> None:
    issued = ca.issue_cert("localhost", "127.0.0.1", not_before=not_before, not_after=not_after)
    issued.private_key_pem.write_to_path(folder / f"{name}.key")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (folder / f"{name}.pem").write_bytes(chain)


def client_context(ca: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def test_everything_that_the_format_has(write: Write) -> None:
    config = WebConfigFile(
        write(
            TLS
            + """\
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example]
  min_version: TLS12
  max_version: TLS13
  cipher_suites:
    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    - TLS_AES_128_GCM_SHA256
  prefer_server_cipher_suites: false
http_server_config:
  http2: true
  headers:
    X-Frame-Options: SAMEORIGIN
    Strict-Transport-Security: max-age=31536000
    X-XSS-Protection: ""
auth_excluded_paths: [/healthz]
basic_auth_users:
  alice: """
            + HASH
            + "\n"
        )
    ).current()
    assert config.tls is not None
    assert config.tls.verify_mode is ssl.CERT_REQUIRED
    assert not config.tls.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    old = {c["name"] for c in config.tls.get_ciphers() if c["protocol"] != "TLSv1.3"}
    assert old == {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"}
    assert config.client_allowed_sans == {"prometheus.example"}
    assert config.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert config.users == {"alice": HASH.encode()}
    assert config.auth_excluded_paths == {"/healthz"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "tls_server_config:\n", "{}"])
def test_an_empty_file_asks_for_nothing(write: Write, text: str) -> None:
    assert WebConfigFile(write(text)).current() == WebConfig()


WRONG = [
    ("nonsense: 1\n", 1, "'nonsense' is not known here: use "),
    ("\ntls_server_confg: {}\n", 2, "'tls_server_confg' is not known here"),
    (TLS + "  cert: inline\n", 4, "'cert' is not known here"),
    (TLS + "  curve_preferences: [X25519]\n", 4, "'curve_preferences' is not known here"),
    (TLS + "  key_file: again\n", 4, "'key_file' is here for the second time"),
    ("tls_server_config:\n  cert_file: server.pem\n", 2, "key_file is missing"),
    ("tls_server_config:\n  key_file: server.key\n", 2, "cert_file is missing"),
    (TLS.replace("server.pem", "none.pem"), 2, "none.pem can't be read (No such file"),
    (TLS.replace("server.pem", "ca.pem"), 2, "KEY_VALUES_MISMATCH"),
    (TLS.replace("server.pem", "server.key"), 2, "give a PEM certificate"),
    (TLS.replace("server.pem", "7"), 2, "here should be a text"),
    (TLS.replace("server.pem", "[a]"), 2, "here should be a text"),
    (TLS + "  min_version: TLS10\n", 4, "'TLS10' can't be used here: use TLS12, TLS13"),
    (TLS + "  min_version: TLS13\n  max_version: TLS12\n", 5, "max_version is below"),
    (TLS + "  client_auth_type: RequireAnyClientCert\n", 4, "can't be used here: use NoClient"),
    (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", 4, "needs client_ca_file"),
    (TLS + "  client_ca_file: ca.pem\n", 4, "client_ca_file has no use without"),
    (TLS + "  client_allowed_sans: [x]\n", 4, "client_allowed_sans has no use without"),
    (
        TLS + "  client_ca_file: server.key\n  client_auth_type: VerifyClientCertIfGiven\n",
        4,
        "has no certificate",
    ),
    (TLS + "  cipher_suites:\n    - TLS_RSA_WITH_RC4_128_SHA\n", 5, "'TLS_RSA_WITH_RC4_128_SHA'"),
    (TLS + "  cipher_suites: all\n", 4, "here should be a list"),
    (TLS + "  prefer_server_cipher_suites: maybe\n", 4, "here should be true or false"),
    ("http_server_config:\n  headers:\n    Server: x\n", 3, "'Server' is not known here"),
    ("http_server_config:\n  headers:\n    X-Frame-Options: no\n", 3, "here should be a text"),
    ('http_server_config:\n  headers:\n    X-Frame-Options: "no"\n', 3, "use deny or sameorigin"),
    (
        'http_server_config:\n  headers:\n    X-XSS-Protection: "a\\r\\nSet-Cookie: x"\n',
        3,
        "use printable ASCII",
    ),
    ("http_server_config: on\n", 1, "here should be keys with values"),
    ("basic_auth_users:\n  alice: secret\n", 2, "the password of 'alice' is no bcrypt hash"),
    ("basic_auth_users: [alice]\n", 1, "here should be keys with values"),
    ("auth_excluded_paths: /healthz\n", 1, "here should be a list"),
    ("- a\n", 1, "here should be keys with values"),
    ("a: [b\n\nc: d\n", 3, "this is no YAML ("),
    ("a: b\n---\nc: d\n", 2, "this is no YAML ("),
    ("a: b\n\tc: d\n", 2, "this is no YAML ("),
    ("a: b\nc: \x00\n", 2, "this is no YAML ("),
]


@pytest.mark.parametrize(("text", "line", "what"), WRONG)
def test_an_error_names_its_line_and_the_mend(
    write: Write, text: str, line: int, what: str
) -> None:
    path = write(text)
    with pytest.raises(SettingsError) as error:
        WebConfigFile(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert what in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_file_that_is_not_there_or_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    with pytest.raises(SettingsError, match=r"web.yml can't be read \(No such file or directory\)"):
        WebConfigFile(path)
    path.write_bytes(b"a: b\n\xff: c\n")
    with pytest.raises(SettingsError, match=r"web.yml, line 2: this is not UTF-8"):
        WebConfigFile(path)


def test_users_need_bcrypt(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said at the start, and not to the first client."""
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(SettingsError, match=r"line 2: .*pip install 'xdpdns\[web\]'"):
        WebConfigFile(write(f"basic_auth_users:\n  alice: {HASH}\n"))


def test_an_encrypted_key_is_an_error_not_a_prompt(write: Write, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key((tmp_path / "server.key").read_bytes(), None)
    (tmp_path / "server.key").write_bytes(
        key.private_bytes(
            s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret")
        )
    )
    with pytest.raises(SettingsError, match=r"line 2: .*its own unencrypted key"):
        WebConfigFile(write(TLS))


@pytest.mark.parametrize(
    ("days", "problem"), [(-1, "certificate has expired"), (2, "certificate is not yet valid")]
)
def test_a_certificate_out_of_its_time_is_served_with_a_warning(
    write: Write,
    tmp_path: Path,
    ca: trustme.CA,
    caplog: pytest.LogCaptureFixture,
    days: int,
    problem: str,
) -> None:
    end = datetime.now(UTC) + timedelta(days=days)
    issue(ca, tmp_path, not_before=end - timedelta(days=1), not_after=end)
    assert WebConfigFile(write(TLS)).current().tls is not None
    assert f"web.yml, line 2: the certificate {tmp_path}/server.pem is not valid now" in caplog.text
    assert f"({problem}): renew it" in caplog.text


def test_a_good_certificate_is_no_warning(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    WebConfigFile(write(TLS))
    WebConfigFile(
        write(TLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n")
    )
    assert caplog.text == ""


def change(path: Path, text: str) -> None:
    """Write, in a way that a file system with coarse times shows too."""
    path.write_text(text)
    stamp = time.time_ns() + 10**9
    os.utime(path, ns=(stamp, stamp))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xdpdns.web_config._CHECK_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_change_is_read_and_a_bad_one_is_not(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(f"basic_auth_users:\n  alice: {HASH}\n")
    file = WebConfigFile(path)
    change(path, "basic_auth_users:\n  alice: oops\n")
    for _ in range(3):
        assert set(file.current().users) == {"alice"}
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}, line 2: the password of 'alice' is no bcrypt hash")
    change(path, f"basic_auth_users:\n  bob: {HASH}\n\n")
    assert set(file.current().users) == {"bob"}
    path.unlink()
    assert set(file.current().users) == {"bob"}


@pytest.mark.usefixtures("impatient")
def test_what_does_not_change_is_read_once(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = WebConfigFile(write(TLS))
    file.current()
    assert caplog.text == ""


@pytest.mark.usefixtures("impatient")
def test_a_file_that_a_bad_change_names_heals_it(
    write: Write, tmp_path: Path, ca: trustme.CA
) -> None:
    path = write("")
    file = WebConfigFile(path)
    change(path, TLS.replace("server.", "new."))
    assert file.current().tls is None
    issue(ca, tmp_path, "new")
    assert file.current().tls is not None


def test_tls(write: Write, ca: trustme.CA) -> None:
    with serving(web_config=WebConfigFile(write(TLS))) as server:
        trusting = client_context(ca)
        assert server.get("/metrics", tls=trusting)[0] == 200
        with server.connect(trusting) as sock:
            for _ in range(3):
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b"xdpdns lives." in sock.recv(65536)
            assert sock.version() == "TLSv1.3"  # type: ignore[attr-defined]
        with pytest.raises(ssl.SSLCertVerificationError):
            server.connect(ssl.create_default_context())
        answer = server.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")
        assert server.get("/metrics", tls=trusting)[0] == 200


def test_tls_ends_with_a_close_notify(write: Write, ca: trustme.CA) -> None:
    with (
        serving(web_config=WebConfigFile(write(TLS))) as server,
        server.connect(client_context(ca)) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while part := sock.recv(65536):  # raises SSLEOFError if the end isn't a TLS end
            received += part
        assert received.endswith(b"</html>\n")


def test_idle_tls_clients_do_not_stall_others(write: Write, ca: trustme.CA) -> None:
    with serving(web_config=WebConfigFile(write(TLS))) as server:
        trusting = client_context(ca)
        silent = [server.connect() for _ in range(300)]
        shaken = [server.connect(trusting) for _ in range(100)]
        for sock in shaken[::2]:
            sock.sendall(b"GET / HTTP/1.1\r\nHos")
        begin = time.monotonic()
        assert server.get("/metrics", tls=trusting)[0] == 200
        assert (
            time.monotonic() - begin < 5.0
        )  # a stalled one would wait for the 10 s of a handshake
        for sock in silent + shaken:
            sock.close()


def test_a_large_body_over_tls(write: Write, ca: trustme.CA) -> None:
    from tests.unit.metrics_fixture import parsed, state
    from tests.unit.serving import Counting

    rows: dict[tuple[str, ...], int] = {(f"{i:0>60}",): i for i in range(50000)}
    counting = Counting([state(rows, ("tld",))])
    with serving(web_config=WebConfigFile(write(TLS)), counting=counting) as server:
        status, headers, body = server.get("/metrics", tls=client_context(ca))
        assert status == 200
        assert len(body) == int(headers["Content-Length"]) > 5_000_000
        samples = parsed(body)
        assert sum(v for (name, _), v in samples.items() if name == "xdpdns_queries_total") == sum(
            rows.values()
        )


CLIENTS = TLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"


def test_client_certificates(write: Write, ca: trustme.CA) -> None:
    config = write(CLIENTS + "  client_allowed_sans: [prometheus.example, 192.0.2.1]\n")
    with serving(web_config=WebConfigFile(config)) as server:
        for name in ("prometheus.example", "192.0.2.1"):
            good = client_context(ca, ca.issue_cert(name))
            assert server.get("/metrics", tls=good)[0] == 200
        other_ca = trustme.CA().issue_cert("prometheus.example")
        for bad in (None, other_ca, ca.issue_cert("other.example")):
            with pytest.raises((OSError, AssertionError)):  # in TLS 1.3 it is told on reading
                refuse(server, client_context(ca, bad))


def refuse(server: Running, context: ssl.SSLContext) -> None:
    with server.connect(context) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert sock.recv(65536) != b""


@pytest.mark.usefixtures("impatient")
def test_a_new_certificate_serves_the_next_connection(
    write: Write, tmp_path: Path, ca: trustme.CA
) -> None:
    with serving(web_config=WebConfigFile(write(TLS))) as server:
        new_ca = trustme.CA()
        assert server.get("/healthz", tls=client_context(ca))[0] == 200
        issue(new_ca, tmp_path)
        assert server.get("/healthz", tls=client_context(new_ca))[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            server.connect(client_context(ca))


def test_headers(write: Write) -> None:
    text = "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    "
    text += 'X-Content-Type-Options: ""\n    Strict-Transport-Security: max-age=1\n'
    with serving(web_config=WebConfigFile(write(text))) as server:
        _, headers, _ = server.get("/nope")
        assert headers["X-Frame-Options"] == "sameorigin"
        assert headers["X-Content-Type-Options"] is None
        assert headers["Strict-Transport-Security"] == "max-age=1"
        assert headers["Cache-Control"] == "no-store"
