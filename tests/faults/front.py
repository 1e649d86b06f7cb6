"""A TLS server in front of the stand-in that shows one certificate or another, all of one issuer, and what is sent."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from tests.certs import Made, make_leaf
from tests.faults.proxy import Proxy

NAME = "localhost"
GOOD, WRONG_NAME, EXPIRED = "good", "wrong name", "expired"


class Front(Proxy):
    """Its clients know it as `NAME`, and it carries what they say to `port` of 127.0.0.1. Begins with the good one.

    By certificate: `offered` counts connections, `heard` those on which a client then sent as much as a byte.
    """

    def __init__(self, folder: Path, issuer: Made, port: int) -> None:
        now = datetime.now(UTC)
        expired = {"not_before": now - timedelta(days=9), "not_after": now - timedelta(days=1)}
        self._contexts = {
            GOOD: _context(folder / "good.pem", issuer, NAME),
            WRONG_NAME: _context(folder / "wrong-name.pem", issuer, "api.cloudflare.test"),
            EXPIRED: _context(folder / "expired.pem", issuer, NAME, **expired),
        }
        self._shown = GOOD
        self.offered: Counter[str] = Counter()
        self.heard: Counter[str] = Counter()
        super().__init__("127.0.0.1", port)

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.port}/client/v4"

    def show(self, kind: str) -> None:
        """Start again with another certificate: open connections end."""
        with self.down():
            self._shown = kind

    def _connected(self, client: socket.socket) -> None:
        # A handshake may take as long as it likes without holding up the next connection.
        threading.Thread(target=self._answer, args=(client, self._shown), daemon=True).start()

    def _answer(self, client: socket.socket, kind: str) -> None:
        self.offered[kind] += 1
        client.settimeout(10)
        with suppress(OSError), self._contexts[kind].wrap_socket(client, server_side=True) as tls:
            # In TLS 1.3 a client refuses after the server is done: what counts is what can be read.
            if not (first := tls.recv(65536)):
                return
            self.heard[kind] += 1
            with socket.create_connection(self._target) as server:
                self._pass_on(tls, server, first)
        client.close()

    def _pass_on(self, tls: ssl.SSLSocket, server: socket.socket, first: bytes) -> None:
        """In one thread: a TLS socket may not be read and written at the same time."""
        with self._lock:
            self._open |= {tls, server}
        server.sendall(first)
        while True:
            readable = [tls] if tls.pending() else select.select([tls, server], [], [])[0]
            for source in readable:
                if not (data := source.recv(65536)):
                    return
                (server if source is tls else tls).sendall(data)


def _context(file: Path, issuer: Made, name: str, **validity: datetime) -> ssl.SSLContext:
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    leaf = make_leaf(name, issuer=issuer, server=True, extensions=((names, False),), **validity)
    file.write_text(leaf.key_pem + leaf.pem, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
