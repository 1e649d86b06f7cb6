"""Local servers, and a policy under which they may be visited."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.outbound.addresses import Policy
from apps.probing.visit import Visit, visit
from tests.tls_server import TlsServer

HOSTNAME = "api.pay.example"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
Serve = Callable[..., TlsServer]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a server whose root this process trusts, as an operator would set it (SSL_CERT_FILE)."""
    running: list[TlsServer] = []

    def start(*hostnames: str, trusted: bool = True, **options: Any) -> TlsServer:
        server = TlsServer(*hostnames or (HOSTNAME,), **options)
        running.append(server)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.root_file) if trusted else os.devnull)
        return server

    yield start
    for server in running:
        server.stop()


def look(server: TlsServer, hostname: str = HOSTNAME, deadline_s: float = 10.0, **options: Any) -> Visit:
    """Visit a local server inside an allowed test range."""
    policy = Policy(test_ranges=(LOOPBACK,), test_port=server.port)
    options.setdefault("lookup", lambda _name: ["127.0.0.1"])
    return visit(hostname, policy=policy, deadline_s=deadline_s, **options)
