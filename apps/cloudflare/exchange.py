"""One request and its bytes: size cap, decompression, and what a broken exchange means."""

from __future__ import annotations

import ssl
import time
import zlib
from dataclasses import dataclass, field
from typing import cast

import httpcore
import httpx

from apps.cloudflare.errors import BodyTooLarge, CloudflareError, DeadlineExceeded, TlsFailure, Unreachable, Unreadable

NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpcore.ConnectError, httpcore.ConnectTimeout)
TOO_LATE = (httpx.TimeoutException, httpcore.TimeoutException)
BROKEN_OFF = (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError, zlib.error)
FAULTS: tuple[type[Exception], ...] = (*NOT_CONNECTED, *TOO_LATE, *BROKEN_OFF, CloudflareError)
GZIP = 16 + zlib.MAX_WBITS


@dataclass
class Exchange:
    """What came back so far. `status` is 0 until the headers are there."""

    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    content: bytes = b""

    def run(self, transport: httpx.BaseTransport, request: httpx.Request, deadline: float, max_bytes: int) -> None:
        """Send and read. Raises one of FAULTS; `status` and `headers` stay as far as they were read."""
        response = transport.handle_request(request)
        try:
            self.status, self.headers = response.status_code, response.headers
            self.content = _body(response, deadline, max_bytes)
        finally:
            response.close()


def _body(response: httpx.Response, deadline: float, max_bytes: int) -> bytes:
    """The whole body, decompressed here because httpx would inflate a whole chunk before its size can be judged."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise Unreadable("Cloudflare's answer is compressed in a way that nobody asked for. Nothing of it was used.")
    gzip = zlib.decompressobj(GZIP) if encoding == "gzip" else None
    body, received = bytearray(), 0
    for chunk in cast(httpx.SyncByteStream, response.stream):
        received += len(chunk)
        body += gzip.decompress(chunk, max_bytes + 1 - len(body)) if gzip else chunk
        if max(received, len(body)) > max_bytes:
            raise BodyTooLarge("Cloudflare's answer is far too long to be one. Nothing of it was used.")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("deadline")
    if gzip and received and (not gzip.eof or gzip.unused_data):
        raise zlib.error("not one whole gzip stream")
    return bytes(body)


def meaning(error: Exception, deadline_s: float) -> CloudflareError:
    """The portal's name for an exception of the network. Its text is not passed on: it may hold a header's value."""
    if isinstance(error, CloudflareError):
        return error
    if isinstance(error, NOT_CONNECTED):
        return _not_connected(error)
    if isinstance(error, TOO_LATE):
        return DeadlineExceeded(
            f"Cloudflare did not answer within {deadline_s:g} s. The portal reads again and goes on by itself."
        )
    return Unreadable("The connection to Cloudflare broke off. The portal reads again and goes on by itself.")


def _not_connected(error: BaseException) -> CloudflareError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        # httpcore raises "from None", which keeps the context and drops the cause.
        cause = cause.__cause__ or cause.__context__
    # A peer that hangs up in the middle of the handshake has proved nothing either way: that is a network fault.
    if cause is None or isinstance(cause, ssl.SSLEOFError):
        return Unreachable("Cloudflare cannot be reached. Nothing was sent. The portal tries again by itself.")
    return TlsFailure(
        "Whoever answered could not prove to be Cloudflare: its TLS certificate or protocol was refused. "
        "Nothing was sent. Check the network path and the API address."
    )
