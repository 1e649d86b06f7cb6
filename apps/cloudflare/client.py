"""One HTTP call to the Cloudflare API: one deadline, one size cap, no redirects, no retries, no decisions.

https://developers.cloudflare.com/api/
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import httpx

from apps.cloudflare.answers import Answer, parse
from apps.cloudflare.associations import Associations
from apps.cloudflare.certificates import Certificates
from apps.cloudflare.errors import (
    BodyTooLarge,
    CloudflareError,
    DeadlineExceeded,
    RateLimited,
    Unauthorized,
    Unreachable,
    Unreadable,
)
from apps.cloudflare.exchange import FAULTS, Exchange, meaning
from apps.cloudflare.headers import ratelimit, ray_of
from apps.cloudflare.refusals import refusal
from apps.cloudflare.rules import Rules
from apps.cloudflare.tokens import Tokens
from apps.cloudflare.zones import Zones
from apps.outbound.transport import DEADLINE, DeadlineTransport

USER_AGENT = "byoca-portal/1"
MAX_BODY_BYTES = 5 * 1024 * 1024

Health = Literal["answered", "down", "unclear"]


@dataclass(frozen=True)
class CallRecord:
    """What one call was, without anything secret. Durations in seconds; `status` is 0 when no answer came.

    `health`: "down" when Cloudflare was not reached, hung up, took too long or failed (5xx); "answered" when it said
    something that could be read, a refusal too; "unclear" for anything else.
    `ratelimit_*` come from the answer's headers; `retry_after_s` is set when the call was refused for its rate.
    """

    method: str
    path: str
    status: int
    ray: str
    duration_s: float
    ratelimit_remaining: int | None = None
    ratelimit_reset_s: int | None = None
    ratelimit_quota: int | None = None
    ratelimit_window_s: int | None = None
    retry_after_s: float | None = None
    health: Health = "answered"


class Client:
    """The Cloudflare API for one token. A context manager; make it after a fork, use it in one thread.

    `deadline_s` bounds a whole call, from the name lookup to the last byte of the body. `max_body_bytes` counts after
    decompression. `before_call` is asked before every call and may raise to hold it back; `on_response` is told of
    every call, also of those that failed. Proxy settings of the environment are not used. Raises Unauthorized for a
    token that cannot be sent, Unreachable for a base URL that is none.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: str,
        deadline_s: float = 30.0,
        max_body_bytes: int = MAX_BODY_BYTES,
        transport: httpx.BaseTransport | None = None,
        before_call: Callable[[], None] | None = None,
        on_response: Callable[[CallRecord], None] | None = None,
    ) -> None:
        self.last_call: CallRecord | None = None
        self._base_url = _checked_base_url(base_url)
        # Headers, unlike a dict, hide the token when they are shown.
        self._headers = httpx.Headers(
            {
                "Authorization": f"Bearer {_checked_token(token)}",
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            }
        )
        self._deadline_s = deadline_s
        self._max_body_bytes = max_body_bytes
        self._transport = transport or DeadlineTransport()
        self._before_call = before_call
        self._on_response = on_response
        self.certificates = Certificates(self)
        self.associations = Associations(self)
        self.rules = Rules(self)
        self.zones = Zones(self)
        self.tokens = Tokens(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self._base_url}>"

    def close(self) -> None:
        self._transport.close()

    def call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        """Make one call and return its envelope's content. Raises a CloudflareError, or what `before_call` raised."""
        if self._before_call:
            self._before_call()
        started = time.monotonic()
        exchange, fault = self._exchange(method, path, query, body, started + self._deadline_s)
        if fault:
            fault.status, fault.ray = exchange.status, ray_of(exchange.headers)
        outcome = fault or _understood(method, path, exchange)
        self.last_call = _record(method, path, exchange, outcome, time.monotonic() - started)
        if self._on_response:
            self._on_response(self.last_call)
        if isinstance(outcome, CloudflareError):
            # Raised here and not where it was caught: the network's exception must not travel along as its context.
            raise outcome
        return outcome

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        deadline: float,
    ) -> tuple[Exchange, CloudflareError | None]:
        timeout = httpx.Timeout(self._deadline_s).as_dict()
        request = httpx.Request(
            method,
            self._base_url + path,
            params=query,
            headers=self._headers,
            json=body,
            extensions={"timeout": timeout, DEADLINE: deadline},
        )
        exchange = Exchange()
        try:
            exchange.run(self._transport, request, deadline, self._max_body_bytes)
        except FAULTS as error:
            return exchange, meaning(error, self._deadline_s)
        return exchange, None


def _checked_base_url(value: str) -> str:
    """The URL without its last slash. One with a password in it is refused: it would be shown in logs."""
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
        raise Unreachable(
            "The address of the Cloudflare API is not a plain http or https URL. Ask an admin to correct it."
        )
    return value.rstrip("/")


def _checked_token(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,512}", value):
        raise Unauthorized(
            "The stored API token is empty or holds characters that no token has. Ask an admin to replace it."
        )
    return value


def _understood(method: str, path: str, exchange: Exchange) -> Answer | CloudflareError:
    """What a complete exchange means."""
    ray = ray_of(exchange.headers)
    try:
        answer = parse(exchange.status, exchange.headers, exchange.content, ray)
    except CloudflareError as error:
        return error
    return refusal(method, path, exchange.status, exchange.headers, answer, ray) or answer


def _record(
    method: str, path: str, exchange: Exchange, outcome: Answer | CloudflareError, duration_s: float
) -> CallRecord:
    limit = ratelimit(exchange.headers)
    return CallRecord(
        method=method,
        path=path,
        status=exchange.status,
        ray=ray_of(exchange.headers),
        duration_s=duration_s,
        ratelimit_remaining=limit.left,
        ratelimit_reset_s=limit.reset_s,
        ratelimit_quota=limit.quota,
        ratelimit_window_s=limit.window_s,
        retry_after_s=outcome.retry_after_s if isinstance(outcome, RateLimited) else None,
        health=_health(exchange.status, outcome),
    )


def _health(status: int, outcome: Answer | CloudflareError) -> Health:
    if status == 0 or status >= 500 or isinstance(outcome, DeadlineExceeded):
        return "down"
    return "unclear" if isinstance(outcome, Unreadable | BodyTooLarge) else "answered"
