"""Local TLS servers as a probe may meet them: real sockets, one thread each, the standard library's TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from tests.certs import Made, make_ca, make_leaf

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\ncf-ray: 8f00ba4c-FRA\r\ncontent-length: 0\r\n\r\n"
Reply = bytes | Callable[[ssl.SSLSocket, threading.Event], None]


class TlsServer:
    """Listens on 127.0.0.1. What may change between connections is an attribute: `reply`, `asks`, `names`.

    `asks` is none, optional or required; `names` are the CAs whose names it sends. `reply` goes to clients without a
    certificate. `raw` replaces TLS altogether. Its certificate is for `hostnames`, by `root`, and ends at `not_after`.
    """

    def __init__(
        self,
        *hostnames: str,
        asks: str = "none",
        names: Iterable[Made] = (),
        reply: Reply = OK,
        versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
        raw: Callable[[socket.socket, threading.Event], None] | None = None,
        root: Made | None = None,
        not_after: datetime | None = None,
    ) -> None:
        self.asks, self.names, self.reply, self.versions, self.raw = asks, tuple(names), reply, versions, raw
        self.root = root or make_ca("Probe Test Root", key_usage=("key_cert_sign", "crl_sign"))
        self._validity: dict[str, datetime] = {}
        if not_after:
            self._validity = {"not_before": not_after - timedelta(days=9), "not_after": not_after}
        self.requests: list[bytes] = []
        self.server_names: list[str | None] = []
        self.connections = 0
        self._folder = tempfile.TemporaryDirectory(prefix="byoca-tls-")
        self._chain = self._write_chain(hostnames or ("api.pay.example",))
        self.root_file = Path(self._folder.name) / "root.pem"
        self.root_file.write_text(self.root.pem, encoding="ascii")
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="tls-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        self._folder.cleanup()

    def _write_chain(self, hostnames: Iterable[str]) -> Path:
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in hostnames])
        leaf = make_leaf("edge", issuer=self.root, server=True, extensions=((names, False),), **self._validity)
        path = Path(self._folder.name) / "chain.pem"
        path.write_text(leaf.key_pem + leaf.pem, encoding="ascii")
        return path

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        context.minimum_version, context.maximum_version = self.versions
        modes = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
        context.verify_mode = modes[self.asks]
        if self.asks != "none":
            context.load_verify_locations(cadata="".join(made.pem for made in self.names) or self.root.pem)
        context.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        return context

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            if self.raw:
                self.raw(connection, self._stopping)
                return
            with self._context().wrap_socket(connection, server_side=True) as tls:
                self.requests.append(tls.recv(4096))
                if callable(self.reply):
                    self.reply(tls, self._stopping)
                else:
                    tls.sendall(self.reply)
