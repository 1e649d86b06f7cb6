"""Answers that break off, are too long, or are compressed."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest

from apps.cloudflare import errors
from apps.cloudflare.client import Client
from tests.unit.cloudflare.conftest import TOKEN
from tests.unit.cloudflare.server import HEAD, Edge, endless, raw, reply, reset


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reset, id="reset"),
        pytest.param(raw(b""), id="closed"),
        pytest.param(raw(b"nonsense\r\n\r\n"), id="no HTTP"),
        pytest.param(raw(HEAD + b'content-length: 500\r\n\r\n{"success": true'), id="cut short"),
        pytest.param(raw(HEAD + b'transfer-encoding: chunked\r\n\r\n10\r\n{"su'), id="chunk cut short"),
        pytest.param(raw(HEAD + b"x: " + b"y" * 200_000 + b"\r\n\r\n"), id="headers without end"),
        pytest.param(reply(200, b"{}", {"content-encoding": "gzip"}), id="not gzip"),
        pytest.param(reply(200, gzip.compress(b"{}")[:-4], {"content-encoding": "gzip"}), id="gzip cut short"),
        pytest.param(reply(200, gzip.compress(b"{}") * 2, {"content-encoding": "gzip"}), id="two gzip streams"),
        pytest.param(reply(200, b"{}", {"content-encoding": "br"}), id="another compression"),
        pytest.param(reply(200, b"{}", {"content-encoding": "gzip, gzip"}), id="compressed twice"),
    ],
)
def test_a_broken_answer_is_unreadable_and_the_outcome_unknown(edge: Edge, client: Client, answer: object) -> None:
    edge.script(answer)  # type: ignore[arg-type]
    with pytest.raises(errors.Unreadable) as caught:
        client.call("PUT", "/x", body={})
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", True)


def test_a_gzip_answer_is_read(edge: Edge, client: Client) -> None:
    body = json.dumps({"success": True, "result": "x" * 100_000}).encode()
    edge.script(reply(200, gzip.compress(body), {"content-encoding": "gzip"}))
    assert client.call("GET", "/x").result == "x" * 100_000
    assert edge.requests[0].headers["accept-encoding"] == "gzip"


def test_an_empty_answer_that_claims_to_be_gzip(edge: Edge, client: Client) -> None:
    edge.script(raw(b"HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n"))
    assert client.call("DELETE", "/x").result is None


def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(b"\0" * 20_000_000) + packer.flush()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(endless(HEAD + b"\r\n", b"x" * 4096), id="endless"),
        pytest.param(endless(HEAD + b"content-length: 2000000000\r\n\r\n", b"x" * 4096), id="2 GB"),
        pytest.param(
            endless(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n"), id="chunks"
        ),
        pytest.param(reply(200, _bomb(), {"content-encoding": "gzip"}), id="gzip bomb"),
        pytest.param(reply(200, b" " * 1001), id="one byte too many"),
    ],
)
def test_an_answer_past_the_cap_is_cut(edge: Edge, answer: object) -> None:
    edge.script(answer)  # type: ignore[arg-type]
    with (
        Client(base_url=edge.base_url, token=TOKEN, max_body_bytes=1000) as client,
        pytest.raises(errors.BodyTooLarge) as caught,
    ):
        client.call("PUT", "/x", body={})
    assert (caught.value.outcome, caught.value.status, caught.value.ray) == ("unknown", 200, "8f00ba4-FRA")


def test_an_answer_of_exactly_the_cap_is_read(edge: Edge, hasty: Client) -> None:
    body = b'{"success": true, "result": null}'
    edge.script(reply(200, body.ljust(1000)))
    assert hasty.call("GET", "/x").success


def test_a_gzip_bomb_is_never_inflated(edge: Edge) -> None:
    edge.script(reply(200, _bomb(), {"content-encoding": "gzip"}))
    tracemalloc.start()
    try:
        with (
            Client(base_url=edge.base_url, token=TOKEN, max_body_bytes=1000) as client,
            pytest.raises(errors.BodyTooLarge),
        ):
            client.call("GET", "/x")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000, "20 MB were packed into the answer"
