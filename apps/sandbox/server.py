"""The HTTP server: one thread for each connection, a fixed number of them, on the loopback interface."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
import time
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apps.sandbox import control, delivery, page_forms, request_log
from apps.sandbox.gateway import Gateway
from apps.sandbox.holds import Decision
from apps.sandbox.incoming import PREFIX, Incoming
from apps.sandbox.store import Store
from apps.sandbox.wire import Answer

MAX_CONNECTIONS = 256
MAX_BODY = 5 * 1024 * 1024
IDLE_S = 60
GRACE_S = 5.0
POLL_S = 0.1
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
        self._closed_until = 0.0
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

    @property
    def refusing(self) -> bool:
        """Whether the port is closed for now: calls on old connections are reset too."""
        return time.monotonic() < self._closed_until

    def refuse(self, seconds: float) -> None:
        """Close the port for a while, so that new connections are refused. Returns at once."""
        if self.refusing:
            return
        self._closed_until = time.monotonic() + seconds
        threading.Thread(target=self._reopen_after, args=(seconds,), daemon=True).start()

    def _reopen_after(self, seconds: float) -> None:
        self.shutdown()
        self.socket.close()
        while not self.stopping.wait(seconds):
            self.socket = socket.socket(self.address_family, self.socket_type)
            try:
                self.server_bind()
            except OSError:
                # Another program has the port for now: it was free for everybody.
                self.socket.close()
                seconds = POLL_S
                continue
            self.server_activate()
            self.serve_forever(poll_interval=POLL_S)
            return

    def stop(self) -> None:
        self.stopping.set()
        self.gateway.holds.close()
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
            if self.server.refusing:
                delivery.reset(self)
            elif (length := self._length()) is not None:
                self._serve(length)
        finally:
            self.server.leave()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def _length(self) -> int | None:
        """Of the body; None when it was refused."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(length) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        return int(length)

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send(_plain(status, status.phrase))

    def _serve(self, length: int) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith(PREFIX + "/"):
            incoming = self._incoming(parts.path.removeprefix(PREFIX), parts.query, length)
            self._send(self.server.gateway.answer(incoming))
            return
        body = self.rfile.read(length)
        why = self._foreign()
        if why:
            self._send(_plain(HTTPStatus.FORBIDDEN, why))
        elif parts.path.startswith(control.PREFIX):
            path = parts.path.removeprefix(control.PREFIX)
            self._send(control.answer(self.server.gateway, self.command, path, parts.query, body))
        else:
            self._send(self._page(parts.path, parts.query, body))

    def _incoming(self, path: str, query: str, length: int) -> Incoming:
        """The request with its body. A call that is held in mid-body waits here with half of it read.

        A body that ends early is a call that never came to be: it has no effect, and nothing is answered.
        """
        headers = {name.lower(): value for name, value in self.headers.items()}
        peer, started = self.client_address[1], time.monotonic_ns()
        head = Incoming(self.command, path, query, headers, b"", peer, started)
        if length == 0:
            return head
        gateway = self.server.gateway
        held = gateway.hold_in_body(head)
        body = self._read(length // 2) if held else b""
        decision = gateway.park("mid_request_body", replace(head, body=body)) if held else None
        if decision is None or decision.applied:
            body += self._read(length - len(body))
            if len(body) < length:
                decision = Decision(applied=False, reply=False)
        else:
            # What is left of the body must not be taken for the next request.
            self.close_connection = True
        return replace(head, body=body, decision=decision)

    def _read(self, length: int) -> bytes:
        """What comes of the body, which is less when the client goes away or stalls."""
        try:
            return self.rfile.read(length)
        except OSError:
            return b""

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
        if self.server.stopping.is_set():
            self.close_connection = True
        if answer.delivery and answer.delivery.kind == "refuse":
            self.server.refuse(answer.delivery.seconds)
        try:
            delivery.send(self, answer, self.server.stopping)
        finally:
            if answer.seq:
                self.server.store.later(request_log.ENDED, (time.monotonic_ns(), answer.seq))


def _plain(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


def listen(bind: str, port: int, store: Store) -> SandboxServer:
    """Bind and listen; port 0 takes a free one. Raises OSError."""
    SandboxServer.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    return SandboxServer((bind, port), store)
