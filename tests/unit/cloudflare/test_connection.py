"""No connection, or one to somebody else: nothing was sent, so certainly nothing was applied."""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from apps.cloudflare import errors
from apps.cloudflare.client import Client
from apps.outbound.transport import DeadlineTransport
from tests.certs import make_ca, make_leaf
from tests.tls_server import TlsServer
from tests.unit.cloudflare.conftest import TOKEN
from tests.unit.cloudflare.server import Edge, success


def _unreachable(caught: pytest.ExceptionInfo[errors.Unreachable]) -> None:
    assert type(caught.value) is errors.Unreachable
    assert (caught.value.outcome, caught.value.retryable, caught.value.status) == ("not_applied", True, 0)


def test_a_refused_connection() -> None:
    edge = Edge()
    url = edge.base_url
    edge.stop()
    with Client(base_url=url, token=TOKEN) as client, pytest.raises(errors.Unreachable) as caught:
        client.call("PUT", "/x", body={})
    _unreachable(caught)


Lookup = Callable[[Callable[[], Any]], None]


@pytest.fixture
def lookup(monkeypatch: pytest.MonkeyPatch) -> Lookup:
    """Makes the system's resolver answer as told for every name; addresses are resolved as ever."""
    real = socket.getaddrinfo

    def replace(answer: Callable[[], Any]) -> None:
        def resolve(host: str, *args: Any, **more: Any) -> Any:
            return real(host, *args, **more) if host.startswith("127.") else answer()

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    return replace


def _rows(*addresses: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in addresses]


NO_ADDRESS = [
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution"),
    UnicodeError("label too long"),
]


@pytest.mark.parametrize("error", NO_ADDRESS)
def test_a_name_that_nobody_knows(lookup: Lookup, error: Exception) -> None:
    def fail() -> None:
        raise error

    lookup(fail)
    with Client(base_url="http://edge.test", token=TOKEN) as client, pytest.raises(errors.Unreachable) as caught:
        client.call("GET", "/x")
    _unreachable(caught)


def test_a_name_server_that_never_answers(lookup: Lookup) -> None:
    over = threading.Event()
    lookup(lambda: over.wait() and _rows())
    with (
        Client(base_url="http://edge.test", token=TOKEN, deadline_s=0.1) as client,
        pytest.raises(errors.Unreachable) as caught,
    ):
        client.call("GET", "/x")
    over.set()
    _unreachable(caught)


def test_a_name_without_addresses(lookup: Lookup) -> None:
    lookup(_rows)
    with Client(base_url="http://edge.test", token=TOKEN) as client, pytest.raises(errors.Unreachable) as caught:
        client.call("GET", "/x")
    _unreachable(caught)


def test_the_next_address_is_tried_when_the_first_refuses(edge: Edge, lookup: Lookup) -> None:
    lookup(lambda: _rows("127.0.0.2", "127.0.0.1"))
    edge.script(success("here"))
    with Client(base_url=f"http://edge.test:{edge.port}", token=TOKEN) as client:
        assert client.call("GET", "/x").result == "here"
    assert edge.requests[0].headers["host"] == f"edge.test:{edge.port}"


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[Edge, ssl.SSLContext]]:
    """A TLS server with a certificate for `edge.test`, and a context that trusts its CA."""
    ca = make_ca("Edge CA")
    names = x509.SubjectAlternativeName([x509.DNSName("edge.test")])
    leaf = make_leaf("edge.test", issuer=ca, server=True, extensions=[(names, False)])
    (tmp_path / "chain.pem").write_text(leaf.pem)
    (tmp_path / "key.pem").write_text(leaf.key_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    edge = Edge(tls=server)
    yield edge, ssl.create_default_context(cadata=ca.pem)
    edge.stop()


def test_tls_with_the_right_name_and_issuer(tls: tuple[Edge, ssl.SSLContext], lookup: Lookup) -> None:
    edge, trusting = tls
    lookup(lambda: _rows("127.0.0.1"))
    edge.script(success("safe"))
    url = f"https://edge.test:{edge.port}"
    with Client(base_url=url, token=TOKEN, transport=DeadlineTransport(trusting)) as client:
        assert client.call("GET", "/x").result == "safe"


def test_tls_with_a_wrong_name_or_an_unknown_issuer_sends_nothing(tls: tuple[Edge, ssl.SSLContext]) -> None:
    edge, trusting = tls
    for made in (DeadlineTransport(trusting), DeadlineTransport(), httpx.HTTPTransport()):
        with (
            Client(base_url=edge.base_url, token=TOKEN, transport=made) as client,
            pytest.raises(errors.TlsFailure) as caught,
        ):
            client.call("PUT", "/x", body={})
        assert caught.value.outcome == "not_applied"
    assert edge.requests == []


def test_tls_with_an_expired_certificate_sends_nothing(lookup: Lookup) -> None:
    """Name and issuer are right: nothing but the date is wrong."""
    server = TlsServer("edge.test", not_after=datetime.now(UTC) - timedelta(days=1))
    lookup(lambda: _rows("127.0.0.1"))
    trusting = ssl.create_default_context(cafile=server.root_file)
    url = f"https://edge.test:{server.port}"
    with (
        Client(base_url=url, token=TOKEN, transport=DeadlineTransport(trusting)) as client,
        pytest.raises(errors.TlsFailure) as caught,
    ):
        client.call("PUT", "/x", body={})
    server.stop()
    assert caught.value.outcome == "not_applied"
    assert (server.connections, server.requests) == (1, [])


def test_a_server_that_speaks_nothing_newer_than_tls_1_1_is_told_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server = TlsServer("edge.test", versions=(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1))
        url = f"https://127.0.0.1:{server.port}"
        with Client(base_url=url, token=TOKEN) as client, pytest.raises(errors.TlsFailure):
            client.call("GET", "/x")
        server.stop()
    assert server.requests == []


@pytest.mark.parametrize(
    ("greeting", "fault"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", errors.TlsFailure, id="speaks no TLS"),
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x46", errors.TlsFailure, id="alert: protocol version"),
    ],
)
def test_a_server_with_no_or_old_tls(greeting: bytes, fault: type[Exception]) -> None:
    edge = Edge(deaf=True, greeting=greeting)
    with Client(base_url=f"https://127.0.0.1:{edge.port}", token=TOKEN) as client, pytest.raises(fault):
        client.call("GET", "/x")
    edge.stop()


def test_a_peer_that_hangs_up_in_the_handshake_is_a_network_fault() -> None:
    edge = Edge(hangs_up=True)
    with (
        Client(base_url=f"https://127.0.0.1:{edge.port}", token=TOKEN) as client,
        pytest.raises(errors.Unreachable) as caught,
    ):
        client.call("GET", "/x")
    _unreachable(caught)
    edge.stop()
