"""One deadline for a whole call, whatever the far side does with its time."""

from __future__ import annotations

import httpx
import pytest

from apps.cloudflare import errors
from apps.cloudflare.client import Client
from tests.unit.cloudflare.conftest import TOKEN
from tests.unit.cloudflare.server import HEAD, Edge, endless, silence, trickle


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(silence, id="nothing"),
        pytest.param(trickle(b""), id="status line trickles"),
        pytest.param(trickle(HEAD + b"x-long: "), id="headers trickle"),
        pytest.param(trickle(HEAD + b"content-length: 500\r\n\r\n"), id="body trickles"),
        pytest.param(endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), id="never a final answer"),
        pytest.param(endless(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), id="endless chunks"),
    ],
)
def test_one_deadline_covers_the_whole_call(edge: Edge, answer: object) -> None:
    edge.script(answer)  # type: ignore[arg-type]
    with (
        Client(base_url=edge.base_url, token=TOKEN, deadline_s=0.3, max_body_bytes=10**12) as client,
        pytest.raises(errors.CloudflareError) as caught,
    ):
        client.call("PUT", "/x", body={})
    assert caught.value.outcome == "unknown"
    assert caught.value.retryable


def test_a_trickle_is_a_missed_deadline_with_the_ray_of_the_call(edge: Edge, hasty: Client) -> None:
    edge.script(trickle(HEAD + b"content-length: 500\r\n\r\n"))
    with pytest.raises(errors.DeadlineExceeded) as caught:
        hasty.call("GET", "/x")
    assert (caught.value.status, caught.value.ray) == (200, "8f00ba4-FRA")
    assert "0.3 s" in caught.value.message


def test_a_server_that_does_not_read_is_cut_off_too() -> None:
    edge = Edge(deaf=True)
    body = {"hostnames": ["x" * 1000] * 30_000}  # more than any socket buffer holds, and made well within the deadline
    with Client(base_url=edge.base_url, token=TOKEN, deadline_s=3.0) as client, pytest.raises(errors.DeadlineExceeded):
        client.call("PUT", "/x", body=body)
    edge.stop()


def test_a_deadline_in_the_past_sends_nothing(edge: Edge) -> None:
    with Client(base_url=edge.base_url, token=TOKEN, deadline_s=0.0) as client, pytest.raises(errors.Unreachable):
        client.call("GET", "/x")
    assert edge.requests == []


def test_the_deadline_holds_for_any_transport() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"success": True, "result": None})

    with (
        Client(base_url="http://x", token=TOKEN, deadline_s=-1.0, transport=httpx.MockTransport(answer)) as client,
        pytest.raises(errors.DeadlineExceeded),
    ):
        client.call("GET", "/x")
