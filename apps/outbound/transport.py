"""A connection whose every wait ends at one deadline: name lookup, connecting, TLS, sending, headers and body.

httpx has a limit for each single wait only, so a server that sends a byte now and then could hold a worker for ever
(https://github.com/encode/httpx/issues/1450). httpcore lets the network beneath it be replaced:
https://www.encode.io/httpcore/network-backends/
"""

from __future__ import annotations

import functools
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpcore
import httpx

DEADLINE = "deadline"
WRITE_BYTES = 64 * 1024
Check = Callable[[str], None]


def _allow_all(_address: str) -> None:
    """For addresses that no person of the portal chose."""


@functools.cache
def _trust_store() -> ssl.SSLContext:
    """One per process: reading the root certificates takes longer than most calls, and a client is made per run."""
    return httpx.create_ssl_context(trust_env=False)


class DeadlineTransport(httpx.BaseTransport):
    """Takes the deadline, in `time.monotonic()` seconds, from the request's extensions. For one thread.

    `check` is called with each address of a name before any connection is made, and raises to forbid it. Raises the
    exceptions of httpcore, not those of httpx, and what `check` raised.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None, check: Check = _allow_all) -> None:
        self._network = DeadlineNetwork(check)
        self._pool = httpcore.ConnectionPool(ssl_context=ssl_context or _trust_store(), network_backend=self._network)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._network.deadline = request.extensions[DEADLINE]
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.content,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class DeadlineNetwork(httpcore.NetworkBackend):
    """Makes connections that know the deadline of the call they serve."""

    def __init__(self, check: Check = _allow_all) -> None:
        self.deadline = 0.0
        self._check = check
        self._sockets = httpcore.SyncBackend()

    def left(self, expired: type[Exception]) -> float:
        """Seconds until the deadline; raises `expired` when there are none."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise expired("deadline")
        return seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - per wait; the deadline is for all
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Try each address of the name; one that never answers may use up only its share of the time."""
        addresses = self._addresses(host, port)
        # The connection goes to these very addresses: a name that changes its mind after the check gains nothing.
        for address in addresses:
            self._check(address)
        for tried, address in enumerate(addresses, start=1):
            share = self.left(httpcore.ConnectTimeout) / (len(addresses) - tried + 1)
            try:
                stream = self._sockets.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if tried == len(addresses):
                    raise
            else:
                return _DeadlineStream(stream, self)
        raise httpcore.ConnectError("the name has no address")

    def _addresses(self, host: str, port: int) -> list[str]:
        """Look the name up in a thread of its own: the system's resolver cannot be told when to stop."""
        answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                answers.put(list(dict.fromkeys(str(row[4][0]) for row in rows)))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=ask, name="name-lookup", daemon=True).start()
        try:
            found = answers.get(timeout=self.left(httpcore.ConnectTimeout))
        except queue.Empty:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from None
        if isinstance(found, Exception):
            raise httpcore.ConnectError("the name could not be resolved") from found
        return found


class _DeadlineStream(httpcore.NetworkStream):
    """A socket. The `timeout` that httpcore passes in is per wait, so it is not used."""

    def __init__(self, stream: httpcore.NetworkStream, network: DeadlineNetwork) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._network.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for start in range(0, len(buffer), WRITE_BYTES):
            self._stream.write(buffer[start : start + WRITE_BYTES], self._network.left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        left = self._network.left(httpcore.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
