"""TLS over a socket whose bytes are ours to read, with one deadline over every wait."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

MOST_HANDSHAKE_BYTES = 256 * 1024
READ_BYTES = 16 * 1024


class Stopped(Exception):
    """The visit ends here."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Deadline:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the end. Raises Stopped when there are none."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise self.over()
        return seconds

    def over(self) -> Stopped:
        return Stopped("deadline", f"No full answer came within {self.seconds:g} s.")


class Channel:
    """TLS over a socket, with the bytes of the server's handshake kept. Each wait ends at the deadline."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, hostname: str, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        self.received = bytearray()
        self._left = MOST_HANDSHAKE_BYTES
        self._keeps = True

    def begin_answer(self, most_bytes: int) -> None:
        """The handshake is over: keep no more of its bytes, and take at most so many of the answer's."""
        self._keeps, self._left = False, most_bytes

    def run(self, step: Callable[[], Result]) -> Result:
        """Do one thing of TLS, with as many sends and receives as it takes."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._send()
                self._receive()
                continue
            self._send()
            return result

    def _send(self) -> None:
        data = self._outgoing.read()
        self._connection.settimeout(self._deadline.left())
        try:
            self._connection.sendall(data)
        except TimeoutError:
            raise self._deadline.over() from None
        except OSError:
            # The server may have said why before it closed: that is read next.
            return

    def _receive(self) -> None:
        self._connection.settimeout(self._deadline.left())
        try:
            data = self._connection.recv(READ_BYTES)
        except TimeoutError:
            raise self._deadline.over() from None
        except OSError:
            data = b""
        self._left -= len(data)
        if self._left < 0:
            raise Stopped("too_large", "The server sent more than an answer needs.")
        if not data:
            self._incoming.write_eof()
            return
        if self._keeps:
            self.received += data
        self._incoming.write(data)
