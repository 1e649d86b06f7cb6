"""A small HTTP server over raw sockets that answers by script, well or as badly as a test wants.

The client is real, and so is every byte on the wire. `edge.script(a, b)` answers the next calls with `a`, then `b`;
a call without a script gets a 500 with a code of its own. `edge.requests` holds what was sent.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = Callable[["Connection"], bool]
UNSCRIPTED = 4999
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncf-ray: 8f00ba4-FRA\r\n"


@dataclass(frozen=True)
class Seen:
    """One request as it came over the wire. Header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Connection:
    """What an answer writes to. `stopping` is set when the test is over."""

    socket: socket.socket
    stopping: threading.Event

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)


@dataclass
class Edge:
    """Listens on a free local port until `stop`. `deaf` accepts and reads nothing; `greeting` is said unasked.

    With `hangs_up` the first bytes end the connection.
    """

    tls: ssl.SSLContext | None = None
    deaf: bool = False
    greeting: bytes = b""
    hangs_up: bool = False
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._script: deque[Answer] = deque()
        self._stopping = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def base_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/client/v4"

    def script(self, *answers: Answer) -> None:
        self._script.extend(answers)

    def stop(self) -> None:
        self._stopping.set()
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(timeout=10)
        for each in (self._listener, *self._sockets):
            each.close()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(accepted)
            self._start(self._serve, accepted)

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            channel = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            self._sockets.append(channel)
            channel.sendall(self.greeting)
            if self.deaf:
                self._stopping.wait()
            if self.hangs_up:
                channel.recv(65536)
                channel.shutdown(socket.SHUT_RDWR)
            while (seen := _read(channel)) is not None:
                self.requests.append(seen)
                answer = self._script.popleft() if self._script else failure(500, UNSCRIPTED)
                if not answer(Connection(channel, self._stopping)):
                    break
            channel.close()


def _read(channel: socket.socket) -> Seen | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := channel.recv(65536)):
            return None
        data += piece
    head, _, content = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(content) < int(headers.get("content-length", "0")):
        content += channel.recv(65536)
    method, target, _ = first.split(" ")
    return Seen(method, target, headers, content)


def raw(data: bytes) -> Answer:
    """Exactly these bytes, then the end of the connection."""

    def answer(connection: Connection) -> bool:
        connection.send(data)
        return False

    return answer


def reply(status: int, content: bytes, headers: dict[str, str] | None = None) -> Answer:
    """A well-formed HTTP answer; the connection stays open."""
    fields = {"content-type": "application/json", "cf-ray": "8f00ba4-FRA", "content-length": str(len(content))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in (fields | (headers or {})).items())

    def answer(connection: Connection) -> bool:
        connection.send(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1") + content)
        return True

    return answer


def success(result: Any, *, headers: dict[str, str] | None = None, **info: Any) -> Answer:
    body = {"success": True, "errors": [], "messages": [], "result": result}
    return reply(200, json.dumps(body | ({"result_info": info} if info else {})).encode(), headers)


def failure(status: int, *codes: int, message: str = "said so", headers: dict[str, str] | None = None) -> Answer:
    errors = [{"code": code, "message": message} for code in codes]
    body = {"success": False, "errors": errors, "messages": [], "result": None}
    return reply(status, json.dumps(body).encode(), headers)


def html(status: int) -> Answer:
    page = b"<!DOCTYPE html><title>502</title><script>alert(1)</script>"
    return reply(status, page, {"content-type": "text/html; charset=UTF-8"})


def silence(connection: Connection) -> bool:
    """Takes the request and never answers."""
    connection.stopping.wait()
    return False


def trickle(head: bytes) -> Answer:
    """`head`, then one byte at a time for as long as somebody reads: each well inside any per-read timeout."""

    def answer(connection: Connection) -> bool:
        connection.send(head)
        while not connection.stopping.wait(0.02):
            connection.send(b"x")
        return False

    return answer


def endless(head: bytes, block: bytes) -> Answer:
    """`head`, then `block` for as long as somebody reads."""

    def answer(connection: Connection) -> bool:
        connection.send(head)
        while not connection.stopping.is_set():
            connection.send(block)
        return False

    return answer


def reset(connection: Connection) -> bool:
    """A TCP reset instead of an answer."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False
