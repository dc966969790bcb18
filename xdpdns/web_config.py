"""`--web.config.file`: TLS, basic authentication and headers, read again whenever it changes.

The format is that of Prometheus's exporter-toolkit (docs/web-configuration.md there); keys that
are not served here are errors, not silence.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdpdns.errors import SettingsError
from xdpdns.tls import (
    CIPHERS,
    CLIENT_AUTH,
    VERSIONS,
    TlsTerms,
    make_context,
    trust_clients,
    validity_problem,
)

if TYPE_CHECKING:
    from xdpdns.marked_yaml import Node
    from xdpdns.privileges import User

log = logging.getLogger(__name__)

_TOP_KEYS = ("tls_server_config", "http_server_config", "basic_auth_users", "auth_excluded_paths")
_TLS_KEYS = (
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
)
_HEADERS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "Content-Security-Policy": (re.compile("[ -~]*"), "printable ASCII"),
    "X-Frame-Options": (re.compile("(?i:deny|sameorigin|)"), "deny or sameorigin"),
    "X-Content-Type-Options": (re.compile("(?i:nosniff|)"), "nosniff"),
    "X-XSS-Protection": (re.compile("[ -~]*"), "printable ASCII"),
    "Strict-Transport-Security": (re.compile("[ -~]*"), "printable ASCII"),
}
_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says; an empty value among the headers takes a default header away."""

    tls: ssl.SSLContext | None = None
    client_allowed_sans: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, bytes] = field(default_factory=dict)
    auth_excluded_paths: frozenset[str] = frozenset()

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client's certificate (`SSLObject.getpeercert()`) has an allowed name."""
        if not self.client_allowed_sans:
            return True
        names = (certificate or {}).get("subjectAltName", ())
        return any(value in self.client_allowed_sans for _, value in names)


class WebConfigFile:
    """The file, and what it said when it was last right.

    Raises:
        SettingsError: the file can't be used at the start; the text names the line.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = _Reader(path)
        self._config = self._reader.read()
        # after it: only then all files are known, and what is unchanged is not read a second time
        self._seen = self._reader.stamps()
        self._due = time.monotonic() + _CHECK_SECONDS

    def current(self) -> WebConfig:
        """Give the configuration of now; looks at the files once a second at most.

        A change that can't be used is logged once, and what was goes on.
        """
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _CHECK_SECONDS
            if self._reader.stamps() != self._seen:
                self.read_again()
        return self._config

    def require_readable(self, user: User) -> None:
        """See that this process, which has become `user`, can read what it would read again.

        Raises:
            SettingsError: naming the first file that it can't.
        """
        for path in self._reader.needed:
            try:
                path.open("rb").close()
            except OSError as error:
                raise SettingsError(
                    f"--user: the user {user.uid} can't read {path} ({error.strerror}), and so "
                    f"could not take a change of it over: `setfacl -m u:{user.uid}:r {path}`, and "
                    "x on the folders above it."
                ) from error

    def read_again(self) -> None:
        """Read it now; what can't be used is logged, and what was goes on."""
        self._reader = _Reader(self._path)
        try:
            self._config = self._reader.read()
            log.info("%s was read again.", self._path)
        except SettingsError as error:
            log.error("%s Until then the configuration stays as it was.", error)
        self._seen = self._reader.stamps()


class _Reader:
    """Reads the file once, and remembers which files it needed even when one of them was wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.needed = [path]

    def stamps(self) -> list[tuple[int, int, int] | None]:
        """Take what changes when a needed file does; None for one that isn't there."""
        return [_stamp(path) for path in self.needed]

    def read(self) -> WebConfig:
        """Read it; raises SettingsError."""
        from xdpdns.marked_yaml import Document  # PyYAML is an extra: who has no file needs none

        self._yaml = yaml = Document(self._path)
        top = yaml.mapping(yaml.root, _TOP_KEYS)
        http = yaml.mapping(top.get("http_server_config"), ("http2", "headers"))
        yaml.boolean(http.get("http2"), default=False)  # either is right: there is only HTTP/1.1
        tls = top.get("tls_server_config")
        values = yaml.mapping(tls, _TLS_KEYS)
        sans = yaml.strings(values.get("client_allowed_sans"))
        excluded = yaml.strings(top.get("auth_excluded_paths"))
        return WebConfig(
            tls=self._tls(tls, values) if tls is not None and values else None,
            client_allowed_sans=frozenset(san for san, _ in sans),
            headers=self._headers(http.get("headers")),
            users=self._users(top.get("basic_auth_users")),
            auth_excluded_paths=frozenset(path for path, _ in excluded),
        )

    def _headers(self, node: Node | None) -> dict[str, str]:
        headers: dict[str, str] = {}
        for name, value in self._yaml.mapping(node, _HEADERS).items():
            pattern, allowed = _HEADERS[name]
            headers[name] = self._yaml.string(value)
            if not pattern.fullmatch(headers[name]):
                self._yaml.fail(value, f"{name} can't have this value: use {allowed}")
        return headers

    def _users(self, node: Node | None) -> dict[str, bytes]:
        users: dict[str, bytes] = {}
        if node is not None and importlib.util.find_spec("bcrypt") is None:
            self._yaml.fail(
                node,
                "basic_auth_users needs bcrypt, which is not installed: "
                "`pip install 'xdpdns[web]'`",
            )
        for user, value in self._yaml.mapping(node).items():
            hashed = self._yaml.string(value)
            if not _BCRYPT.fullmatch(hashed):
                self._yaml.fail(
                    value,
                    f"the password of {user!r} is no bcrypt hash: `htpasswd -nB USER` makes one",
                )
            users[user] = hashed.encode()
        return users

    def _tls(self, node: Node, values: dict[str, Node]) -> ssl.SSLContext:
        yaml = self._yaml
        suites = yaml.strings(values.get("cipher_suites"))
        for name, suite in suites:
            if name not in CIPHERS:
                yaml.fail(suite, f"the cipher suite {name!r} is none of {', '.join(CIPHERS)}")
        terms = TlsTerms(
            client_auth_type=yaml.choice(
                values.get("client_auth_type"), CLIENT_AUTH, "NoClientCert"
            ),
            min_version=yaml.choice(values.get("min_version"), VERSIONS, "TLS12"),
            max_version=yaml.choice(values.get("max_version"), VERSIONS, "TLS13"),
            cipher_suites=tuple(name for name, _ in suites),
            prefer_server_cipher_suites=yaml.boolean(
                values.get("prefer_server_cipher_suites"), default=True
            ),
        )
        if terms.min_version > terms.max_version:
            yaml.fail(values["max_version"], "max_version is below min_version: raise it")
        for key in ("cert_file", "key_file"):
            if key not in values:
                yaml.fail(node, f"{key} is missing from tls_server_config: add it")
        cert_file, key_file = self._file(values["cert_file"]), self._file(values["key_file"])
        try:
            context = make_context(terms, cert_file, key_file)
        except ssl.SSLError as error:
            yaml.fail(
                values["cert_file"],
                f"certificate {cert_file} and key {key_file} can't be used "
                f"({error.reason or error}): give a PEM certificate and its own unencrypted key",
            )
        if problem := validity_problem(context, cert_file):
            line = values["cert_file"].start_mark.line + 1
            log.warning(
                "%s, line %d: the certificate %s is not valid now (%s): renew it, or clients that "
                "check will not connect.",
                self._path,
                line,
                cert_file,
                problem,
            )
        self._client_auth(context, terms, values)
        return context

    def _client_auth(
        self, context: ssl.SSLContext, terms: TlsTerms, values: dict[str, Node]
    ) -> None:
        ca = values.get("client_ca_file")
        if terms.client_auth_type == "NoClientCert":
            for key in ("client_ca_file", "client_allowed_sans"):
                if key in values:
                    self._yaml.fail(
                        values[key],
                        f"{key} has no use without client_auth_type: "
                        "add client_auth_type: RequireAndVerifyClientCert",
                    )
            return
        if ca is None:
            self._yaml.fail(
                values["client_auth_type"],
                f"{terms.client_auth_type} needs client_ca_file, to check the certificates by",
            )
        client_ca_file = self._file(ca)
        try:
            trust_clients(context, terms, client_ca_file)
        except ssl.SSLError as error:
            reason = error.reason or error
            self._yaml.fail(
                ca, f"{client_ca_file} has no certificate ({reason}): give a PEM file of CAs"
            )

    def _file(self, node: Node) -> Path:
        """Resolve a path relative to the configuration's folder, and try to read the file."""
        path = self._path.parent / self._yaml.string(node)
        self.needed.append(path)
        try:
            path.open("rb").close()
        except OSError as error:
            self._yaml.fail(node, f"{path} can't be read ({error.strerror}): give a file that can")
        return path


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
