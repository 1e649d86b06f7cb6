"""The HTTP server: one thread for each connection, a fixed number of them, on the loopback interface."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apps.sandbox import control, gateway, page_forms
from apps.sandbox.gateway import Gateway, Incoming
from apps.sandbox.store import Store
from apps.sandbox.wire import Answer

MAX_CONNECTIONS = 128
MAX_BODY = 5 * 1024 * 1024
IDLE_S = 60
GRACE_S = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
STYLE = Path(__file__).parent / "static" / "sandbox" / "sandbox.css"
PAGE_HEADERS = (
    ("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self';"
     " frame-ancestors 'none'; base-uri 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)  # fmt: skip


class SandboxServer(ThreadingHTTPServer):
    """`stop()` ends it from another thread and lets calls in progress finish."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], store: Store) -> None:
        """Raises OSError when the address cannot be had."""
        self.stopping = threading.Event()
        self.store = store
        self.gateway = Gateway(store, self.stopping)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._busy = 0
        self._idle = threading.Condition()
        super().__init__(address, SandboxHandler)

    @property
    def origin(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def server_bind(self) -> None:
        """Without the look-up of a host name that the standard server makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(timeout=1):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no fault; anything else still prints its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def enter(self) -> None:
        with self._idle:
            self._busy += 1

    def leave(self) -> None:
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        with self._idle:
            self._idle.wait_for(lambda: not self._busy, timeout=GRACE_S)
        self.server_close()


class SandboxHandler(BaseHTTPRequestHandler):
    """One connection. Everything below `/client/v4` is the API, `/_sandbox/` the control port, the rest the page."""

    server: SandboxServer
    protocol_version = "HTTP/1.1"
    server_version = "cloudflare-sandbox"
    sys_version = ""
    timeout = IDLE_S
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """The request log in the store is the log."""

    def serve(self) -> None:
        self.server.enter()
        try:
            body = self._body()
            if body is not None:
                self._send(self._answer(body))
        finally:
            self.server.leave()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(length) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        return self.rfile.read(int(length))

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send(_plain(status, status.phrase))

    def _answer(self, body: bytes) -> Answer:
        parts = urlsplit(self.path)
        if parts.path.startswith(gateway.PREFIX + "/"):
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = parts.path.removeprefix(gateway.PREFIX)
            return self.server.gateway.answer(Incoming(self.command, path, parts.query, headers, body))
        why = self._foreign()
        if why:
            return _plain(HTTPStatus.FORBIDDEN, why)
        if parts.path.startswith(control.PREFIX):
            path = parts.path.removeprefix(control.PREFIX)
            return control.answer(self.server.store, self.command, path, parts.query, body)
        return self._page(parts.path, parts.query, body)

    def _page(self, path: str, query: str, body: bytes) -> Answer:
        if self.command == "GET" and path == "/static/sandbox.css":
            return Answer(200, STYLE.read_bytes(), "text/css; charset=utf-8", PAGE_HEADERS)
        if path == "/" and self.command == "GET":
            found = page_forms.show(self.server.store, query)
        elif path == "/" and self.command == "POST":
            found = page_forms.act(self.server.store, body)
        else:
            found = _plain(HTTPStatus.NOT_FOUND, "There is no such page. The start page is at /.")
        return Answer(found.status, found.body, found.content_type, (*found.headers, *PAGE_HEADERS))

    def _foreign(self) -> str:
        """Why the control port and the page refuse this caller: only this machine, and only their own page."""
        host = self.headers.get("Host", "")
        if self.client_address[0] not in LOOPBACK or urlsplit(f"//{host}").hostname not in LOOPBACK:
            return "The control port answers on this machine only, under its loopback name."
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            return "Another site sent this request. Open the page itself and try there."
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "Another site sent this request. Open the page itself and try there."
        form = self.headers.get_content_type() != "application/json"
        if self.command != "GET" and form and (origin is None or self.path.startswith(control.PREFIX)):
            return "The control port takes application/json; the page takes forms from itself."
        return ""

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
        if self.server.stopping.is_set() or self.close_connection:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if answer.status != HTTPStatus.NO_CONTENT:
            self.wfile.write(answer.body)
        self.wfile.flush()


def _plain(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


def listen(bind: str, port: int, store: Store) -> SandboxServer:
    """Bind and listen; port 0 takes a free one. Raises OSError."""
    SandboxServer.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    return SandboxServer((bind, port), store)
