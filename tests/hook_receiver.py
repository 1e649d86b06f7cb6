"""A real HTTPS receiver of webhooks on 127.0.0.1, which answers as told."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass
from typing import Any

from tests.tls_server import TlsServer

HOST = "hooks.partner.example"


@dataclass(frozen=True)
class Call:
    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class HookReceiver:
    """`with HookReceiver() as receiver:`. `status` and `headers` are those of its answers.

    `drip` sends one byte of an endless answer now and then; `flood` sends headers without end.
    """

    def __init__(self) -> None:
        self.status, self.headers, self.manner = 204, "", ""
        self.calls: list[Call] = []
        self.server = TlsServer(HOST, reply=self._reply)

    def __enter__(self) -> HookReceiver:
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.stop()

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.server.port}/in?key=quiet"

    def _reply(self, tls: ssl.SSLSocket, stopping: threading.Event) -> None:
        self.calls.append(_read(tls, self.server.requests[-1]))
        if self.manner == "flood":
            tls.sendall(b"HTTP/1.1 200 OK\r\n" + b"x-filler: " + b"y" * 1_000_000)
            return
        if self.manner == "drip":
            while not stopping.wait(0.2):
                tls.sendall(b"H")
            return
        tls.sendall(f"HTTP/1.1 {self.status} Said\r\n{self.headers}content-length: 9000000\r\n\r\n".encode("ascii"))
        # The body never comes: nobody waits for it.
        if self.manner == "endless":
            stopping.wait(20)


def _read(tls: ssl.SSLSocket, began: bytes) -> Call:
    data = began
    while b"\r\n\r\n" not in data:
        data += tls.recv(4096)
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rows = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (row.partition(": ") for row in rows)}
    while len(body) < int(headers["content-length"]):
        body += tls.recv(4096)
    return Call(line, headers, body)
