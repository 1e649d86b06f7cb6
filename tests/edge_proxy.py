"""A proxy before the stand-in that spoils single answers: lost, late, or as an edge shows them that lags behind.

The stand-in stays whole and the client stays real; only the way between them is bad.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Spoil = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Fault:
    """`how`: lose_answer (applied, then the line is cut), lose_request (cut before), answer, change, or close_after.

    `times` counts down; -1 is until `clear`.
    """

    method: str
    part: str
    how: str
    times: int = 1
    status: int = 200
    body: bytes = b""
    change: Spoil | None = None

    def takes(self, method: str, path: str) -> bool:
        if self.times == 0 or method != self.method or self.part not in path:
            return False
        self.times -= 1
        return True


class EdgeProxy:
    """`with EdgeProxy(edge.origin) as proxy:`; `base_url` is what an account is given. `seen` is (method, path)."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str]] = []
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> EdgeProxy:
        self.open()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def open(self) -> None:
        """Listen, again on the same port after `close`."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.socket.close()
            self._server = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/client/v4"

    def lose_answer(self, method: str, part: str, times: int = 1) -> None:
        self.faults.append(Fault(method, part, "lose_answer", times))

    def lose_request(self, method: str, part: str, times: int = 1) -> None:
        self.faults.append(Fault(method, part, "lose_request", times))

    def answer(self, method: str, part: str, status: int, body: bytes, times: int = 1) -> None:
        self.faults.append(Fault(method, part, "answer", times, status, body))

    def change(self, method: str, part: str, change: Spoil, times: int = -1) -> None:
        """Rewrite a good JSON answer on its way back."""
        self.faults.append(Fault(method, part, "change", times, change=change))

    def close_after(self, method: str, part: str) -> None:
        """Answer this call, and refuse every connection afterwards."""
        self.faults.append(Fault(method, part, "close_after"))

    def clear(self) -> None:
        self.faults.clear()

    def count(self, method: str, part: str) -> int:
        return sum(1 for verb, path in self.seen if verb == method and part in path)

    def fault_for(self, method: str, path: str) -> Fault | None:
        self.seen.append((method, path))
        return next((fault for fault in self.faults if fault.takes(method, path)), None)


def _handler(proxy: EdgeProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_words: object) -> None:
            """Quiet."""

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.fault_for(self.command, self.path)
            if fault and fault.how == "lose_request":
                return self._cut()
            if fault and fault.how == "answer":
                return self._send(fault.status, fault.body)
            kept = {"Authorization": self.headers["Authorization"], "Content-Type": "application/json"}
            with httpx.Client(trust_env=False, timeout=10) as client:
                answer = client.request(self.command, proxy.origin + self.path, headers=kept, content=body)
            if fault and fault.how == "lose_answer":
                return self._cut()
            content = answer.content
            if fault and fault.change and answer.status_code == 200:
                content = json.dumps(fault.change(answer.json())).encode()
            if fault and fault.how == "close_after":
                proxy.close()
            return self._send(answer.status_code, content)

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    return Handler
