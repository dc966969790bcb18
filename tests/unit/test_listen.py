from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from xdpdns.errors import ListenError, SettingsError
from xdpdns.listen import Address, bind, name_of, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":10530", "", 10530),
        ("127.0.0.1:10530", "127.0.0.1", 10530),
        ("[::1]:10530", "::1", 10530),
        ("[::]:0", "::", 0),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("localhost:65535", "localhost", 65535),
        ("ns-1.example.net:80", "ns-1.example.net", 80),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "10530", ":", ":x", ":-1", ":65536", ":123456", ":80 ", ":٣"),
        *("::1:80", "[::1]", "[]:80", "[::1:80", "a b:80", "http://x:80"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SettingsError, match=r"is no address to listen on: write :PORT") as error:
        parse_address(text)
    assert repr(text) in str(error.value)


def test_names_bind_to_all_their_addresses() -> None:
    with ExitStack() as stack:
        bound = [stack.enter_context(one) for one in bind([parse_address("localhost:0")])]
        assert all(name_of(one).startswith(("127.0.0.1:", "[::1]:")) for one in bound)
        assert len(bound) == len({one.family for one in bound}) > 0


def test_several_addresses_and_none_left_over_on_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        addresses = [Address("127.0.0.1", free), Address("127.0.0.1", port)]
        with pytest.raises(ListenError) as error:
            bind(addresses)
        assert str(error.value) == (
            f"Can't listen on 127.0.0.1:{port} (Address already in use): stop what listens there "
            "(`ss -ltnp` names it) or give another port."
        )
        for one in bind(addresses[:1]):  # was given back
            one.close()


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        (Address("192.0.2.1", 0), "Cannot assign requested address): give an address that this"),
        (Address("2001:db8::1", 0), "Cannot assign requested address): give an address that this"),
        (Address("no.such.host.invalid", 80), "): give another --web.listen-address."),
    ],
)
def test_what_cannot_be_bound(address: Address, cause: str) -> None:
    with pytest.raises(ListenError) as error:
        bind([address])
    assert str(error.value).startswith(f"Can't listen on {address} (")
    assert cause in str(error.value)


def test_both_wildcards_can_be_given_beside_each_other() -> None:
    with ExitStack() as stack:
        (six,) = bind([Address("::", 0)])
        stack.enter_context(six)
        (four,) = bind([Address("0.0.0.0", six.getsockname()[1])])
        stack.enter_context(four)


def test_without_ipv6_a_bare_port_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def only_ipv4(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr("xdpdns.listen.socket.socket", only_ipv4)
    (one,) = bind([Address("", 0)])
    with one:
        assert one.family == socket.AF_INET
