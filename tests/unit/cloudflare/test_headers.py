"""What is taken from response headers, which hold any bytes at all."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from apps.cloudflare import errors
from apps.cloudflare.client import Client
from apps.cloudflare.headers import ratelimit, retry_after_s
from tests.unit.cloudflare.server import Edge, failure


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 60 ", 60.0),
        ("0", 1.0),
        ("-5", 1.0),
        ("900", 900.0),
        ("901", 900.0),
        ("9" * 5000, 900.0),
        ("", 300.0),
        ("soon", 300.0),
        ("7.5", 300.0),
        ("²", 300.0),
        ("Tue, 24 Nov 2026 10:01:30 GMT", 90.0),
        ("Tue, 24 Nov 2026 10:01:30 -0000", 90.0),
        ("Tue, 24 Nov 2020 10:00:00 GMT", 1.0),
        ("Tue, 24 Nov 2099 10:00:00 GMT", 900.0),
        ("Tue, 99 Nov 2026 10:00:00 GMT", 300.0),
    ],
)
def test_the_pause_after_a_429(value: str, seconds: float) -> None:
    with time_machine.travel(datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC), tick=False):
        assert retry_after_s(httpx.Headers({"retry-after": value.encode("latin-1")})) == seconds


def test_the_pause_comes_with_the_error(edge: Edge, client: Client) -> None:
    edge.script(failure(429, 971, headers={"retry-after": "7"}))
    with pytest.raises(errors.RateLimited) as caught:
        client.call("GET", "/x")
    assert caught.value.retry_after_s == 7.0


@given(st.text(st.characters(max_codepoint=255)))
def test_no_header_can_break_the_reading(value: str) -> None:
    headers = httpx.Headers({"retry-after": value.encode("latin-1"), "ratelimit": value.encode("latin-1")})
    assert 1.0 <= retry_after_s(headers) <= 900.0
    ratelimit(headers)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"default";r=50;t=30', (50, 30)),
        ('"default"; t=30; r=0', (0, 30)),
        ('"default";r=50;t=30, "burst";r=1;t=2', (50, 30)),
        ('"default";r=50', (50, None)),
        ('"default";r=²;t=' + "9" * 5000, (None, None)),
        ("", (None, None)),
    ],
)
def test_the_rate_limit_header(value: str, expected: tuple[int | None, int | None]) -> None:
    found = ratelimit(httpx.Headers({"ratelimit": value.encode("latin-1")}))
    assert (found.left, found.reset_s) == expected
    assert (found.quota, found.window_s) == (None, None)


def test_the_policy_says_how_many_calls_a_window_holds(edge: Edge, client: Client) -> None:
    edge.script(failure(429, 971, headers={"ratelimit-policy": '"default";q=1200;w=300', "retry-after": "7"}))
    with pytest.raises(errors.RateLimited):
        client.call("GET", "/x")
    assert client.last_call
    assert (client.last_call.ratelimit_quota, client.last_call.ratelimit_window_s) == (1200, 300)
    assert client.last_call.retry_after_s == 7.0
