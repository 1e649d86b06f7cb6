"""How an answer leaves the socket, honestly or with a fault on its way."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

from apps.sandbox.wire import Answer, Delivery

CHUNK = b" " * 65536
HUGE = 2 * 1024**3
SLICE_S = 0.2


def send(handler: BaseHTTPRequestHandler, answer: Answer, stopping: threading.Event) -> None:
    """Write the answer. Raises OSError when the client has gone."""
    if answer.delivery is None:
        _send_whole(handler, answer)
        return
    handler.close_connection = True
    DELIVERIES[answer.delivery.kind](handler, answer, answer.delivery, stopping)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """End the connection with RST: nothing more is sent, not even the end of a stream."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(handler.connection.detach())


def _send_whole(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    length = None if answer.status == 204 else len(answer.body)
    _head(handler, answer, length)
    if length:
        handler.wfile.write(answer.body)
    handler.wfile.flush()


def _head(handler: BaseHTTPRequestHandler, answer: Answer, length: int | None, *extra: tuple[str, str]) -> None:
    handler.send_response(answer.status)
    for name, value in (*answer.headers, *extra):
        handler.send_header(name, value)
    if answer.status != 204:
        handler.send_header("Content-Type", answer.content_type)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    if handler.close_connection:
        handler.send_header("Connection", "close")
    handler.end_headers()


def _wait(handler: BaseHTTPRequestHandler, seconds: float, stopping: threading.Event) -> bool:
    """Wait while the client does; returns whether it is still there after the whole time."""
    until = time.monotonic() + seconds
    handler.connection.settimeout(SLICE_S)
    while (left := until - time.monotonic()) > 0 and not stopping.is_set():
        handler.connection.settimeout(min(SLICE_S, left))
        try:
            if not handler.connection.recv(1, socket.MSG_PEEK):
                return False
            stopping.wait(min(SLICE_S, left))
        except TimeoutError:
            continue
        except OSError:
            return False
    return not stopping.is_set()


def _silence(handler: BaseHTTPRequestHandler, _answer: Answer, how: Delivery, stopping: threading.Event) -> None:
    _wait(handler, how.seconds, stopping)
    reset(handler)


def _trickle(handler: BaseHTTPRequestHandler, answer: Answer, how: Delivery, stopping: threading.Event) -> None:
    _head(handler, answer, len(answer.body))
    _drip(handler, answer.body, how.bytes_per_s, stopping)


def _huge_length(handler: BaseHTTPRequestHandler, answer: Answer, how: Delivery, stopping: threading.Event) -> None:
    _head(handler, answer, HUGE)
    _drip(handler, answer.body, how.bytes_per_s, stopping)


def _drip(handler: BaseHTTPRequestHandler, body: bytes, bytes_per_s: int, stopping: threading.Event) -> None:
    for place in range(len(body)):
        handler.wfile.write(body[place : place + 1])
        handler.wfile.flush()
        if not _wait(handler, 1 / max(1, bytes_per_s), stopping):
            return


def _part(handler: BaseHTTPRequestHandler, answer: Answer, _how: Delivery, _stopping: threading.Event) -> None:
    _write(handler, answer, len(answer.body), answer.body[: len(answer.body) // 2])


def _longer(handler: BaseHTTPRequestHandler, answer: Answer, how: Delivery, _stopping: threading.Event) -> None:
    _write(handler, answer, len(answer.body) + how.size, answer.body)


def _shorter(handler: BaseHTTPRequestHandler, answer: Answer, how: Delivery, _stopping: threading.Event) -> None:
    _write(handler, answer, max(0, len(answer.body) - how.size), answer.body)


def _write(handler: BaseHTTPRequestHandler, answer: Answer, told: int, body: bytes) -> None:
    _head(handler, answer, told)
    handler.wfile.write(body)
    handler.wfile.flush()


def _cut(handler: BaseHTTPRequestHandler, answer: Answer, _how: Delivery, _stopping: threading.Event) -> None:
    _chunks(handler, answer, iter([answer.body[: len(answer.body) // 2]]), ended=False)


def _huge(handler: BaseHTTPRequestHandler, answer: Answer, how: Delivery, stopping: threading.Event) -> None:
    _chunks(handler, answer, _padded(answer.body, how.size, stopping))


def _bomb(handler: BaseHTTPRequestHandler, answer: Answer, how: Delivery, stopping: threading.Event) -> None:
    _chunks(handler, answer, _packed(_padded(answer.body, how.size, stopping)), ("Content-Encoding", "gzip"))


def _padded(body: bytes, size: int, stopping: threading.Event) -> Iterator[bytes]:
    """The body with white space inside, so that it stays good JSON, up to `size` bytes."""
    yield body[:1]
    sent = len(body)
    while sent < size and not stopping.is_set():
        yield CHUNK
        sent += len(CHUNK)
    yield body[1:]


def _packed(parts: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()


def _chunks(
    handler: BaseHTTPRequestHandler,
    answer: Answer,
    parts: Iterator[bytes],
    *extra: tuple[str, str],
    ended: bool = True,
) -> None:
    _head(handler, answer, None, ("Transfer-Encoding", "chunked"), *extra)
    for part in filter(None, parts):
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
    if ended:
        handler.wfile.write(b"0\r\n\r\n")
    handler.wfile.flush()


def _nothing(handler: BaseHTTPRequestHandler, _answer: Answer, _how: Delivery, _stopping: threading.Event) -> None:
    """The end of the stream, without a byte before it: `close_connection` is set already."""


def _reset(handler: BaseHTTPRequestHandler, _answer: Answer, _how: Delivery, _stopping: threading.Event) -> None:
    reset(handler)


Way = Callable[[BaseHTTPRequestHandler, Answer, Delivery, threading.Event], None]
DELIVERIES: dict[str, Way] = {
    "timeout": _silence,
    "reset": _reset,
    "refuse": _reset,
    "close": _nothing,
    "trickle": _trickle,
    "truncated_body": _part,
    "length_too_large": _longer,
    "length_too_small": _shorter,
    "chunked_cut": _cut,
    "huge": _huge,
    "huge_length": _huge_length,
    "gzip_bomb": _bomb,
}
