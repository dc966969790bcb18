"""TLS contexts from exporter-toolkit's terms, which are those of Go's crypto/tls."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
"""Go's other two ask for a certificate that nobody checks, which OpenSSL's Python can't."""

CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    # TLS 1.3's are always on, in Go as here
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
}
"""Go's names (of those that Go calls secure) and OpenSSL's."""

_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True, slots=True)
class TlsTerms:
    """What a context is made of, in the terms of the three tables above."""

    client_auth_type: str = "NoClientCert"
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True


def make_context(terms: TlsTerms, cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """Make a server's context; raises ssl.SSLError where certificate and key are no pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[terms.min_version]
    context.maximum_version = VERSIONS[terms.max_version]
    ciphers = [CIPHERS[name] for name in terms.cipher_suites if CIPHERS[name]]
    if ciphers:
        context.set_ciphers(":".join(ciphers))
    if not terms.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # the password: without one OpenSSL would ask the terminal, and wait
    context.load_cert_chain(cert_file, key_file, password=lambda: "")
    return context


def trust_clients(context: ssl.SSLContext, terms: TlsTerms, client_ca_file: Path) -> None:
    """Let a context check clients' certificates; raises ssl.SSLError for a file of none."""
    context.load_verify_locations(client_ca_file)
    context.verify_mode = CLIENT_AUTH[terms.client_auth_type]


def validity_problem(context: ssl.SSLContext, cert_file: Path) -> str:
    """Say whether clients will find the certificate out of its time; empty if they won't.

    A client that trusts the certificate itself shakes hands with the context in memory: the only
    way to have its dates checked that needs no further library.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.load_verify_locations(cert_file)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
                return str(error.verify_message)
        except ssl.SSLError:
            break
    return ""
