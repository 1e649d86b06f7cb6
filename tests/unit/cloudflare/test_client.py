"""One call over a real socket: what is sent, when it is cut off, and what never leaves the client."""

from __future__ import annotations

import contextlib
import logging
import traceback

import pytest

from apps.cloudflare import errors
from apps.cloudflare.client import CallRecord, Client
from tests.unit.cloudflare.conftest import CERTIFICATE, TOKEN, ZONE
from tests.unit.cloudflare.server import (
    Answer,
    Edge,
    failure,
    html,
    raw,
    reset,
    silence,
    success,
    trickle,
)


def test_a_call_carries_the_token_and_asks_for_json(edge: Edge, client: Client) -> None:
    edge.script(success({"a": 1}))
    answer = client.call("PUT", "/x", query={"q": "a b"}, body={"k": "v"})
    assert answer.result == {"a": 1}
    (seen,) = edge.requests
    assert (seen.method, seen.path, seen.query) == ("PUT", "/client/v4/x", {"q": ["a b"]})
    assert seen.json == {"k": "v"}
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.headers["accept"] == seen.headers["content-type"] == "application/json"
    assert seen.headers["host"] == f"127.0.0.1:{edge.port}"


def test_every_call_is_recorded_without_secrets(edge: Edge, client: Client, records: list[CallRecord]) -> None:
    edge.script(
        success(None, headers={"ratelimit": '"default";r=17;t=30', "set-cookie": "__cf=1"}), failure(500, 1), reset
    )
    client.call("GET", "/one")
    assert client.last_call == records[0]
    with pytest.raises(errors.ServerFault):
        client.call("GET", "/two")
    with pytest.raises(errors.Unreadable):
        client.call("GET", "/three")
    assert [(r.path, r.status, r.ray) for r in records] == [
        ("/one", 200, "8f00ba4-FRA"),
        ("/two", 500, "8f00ba4-FRA"),
        ("/three", 0, ""),
    ]
    assert (records[0].ratelimit_remaining, records[0].ratelimit_reset_s) == (17, 30)
    assert all(record.duration_s >= 0 and TOKEN not in repr(record) for record in records)
    assert all("cookie" not in seen.headers for seen in edge.requests)


def test_a_call_that_is_held_back_never_reaches_the_network(edge: Edge) -> None:
    held = errors.RateLimited("not now")
    asked: list[int] = []

    def before_call() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise held

    edge.script(success(1))
    with Client(base_url=edge.base_url, token=TOKEN, before_call=before_call) as made:
        assert made.call("GET", "/x").result == 1
        with pytest.raises(errors.RateLimited) as caught:
            made.call("GET", "/x")
    assert caught.value is held
    assert len(edge.requests) == 1


def test_calls_share_a_connection(edge: Edge, client: Client) -> None:
    edge.script(success(1), success(2))
    assert [client.call("GET", "/x").result for _ in range(2)] == [1, 2]
    assert edge.connections == 1


def test_a_base_url_may_end_in_a_slash(edge: Edge) -> None:
    edge.script(success(None))
    with Client(base_url=edge.base_url + "/", token=TOKEN) as client:
        client.call("GET", "/x")
    assert edge.requests[0].path == "/client/v4/x"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x",
        "127.0.0.1:8787",
        "http://",
        "https://u:p@x/",
        "https://x/?a=b",
        "https://x/#f",
        "http://x:y/",
        None,
    ],
)
def test_a_base_url_that_is_none_is_refused_unseen(url: str) -> None:
    with pytest.raises(errors.Unreachable) as caught:
        Client(base_url=url, token=TOKEN)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "two words", "line\nfeed", "umläut", "x" * 513])
def test_a_token_that_cannot_be_sent_is_refused_unseen(token: str) -> None:
    with pytest.raises(errors.Unauthorized) as caught:
        Client(base_url="http://127.0.0.1/", token=token)
    assert not token or token not in "".join(traceback.format_exception(caught.value))


def test_the_token_is_in_no_repr_log_or_exception(
    edge: Edge, client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("httpcore", "httpcore.connection", "httpcore.http11"):
        # The settings of the portal's own log switch these off.
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
    caplog.set_level(logging.DEBUG)
    for name in ("httpcore", "httpcore.connection", "httpcore.http11"):
        caplog.set_level(logging.DEBUG, logger=name)
    edge.script(success(None), failure(401, 1000, message="no"), html(502), raw(b"nonsense\r\n\r\n"), reset)
    shown = [repr(client), str(client), repr(vars(client))]
    client.call("GET", "/x")
    for _ in range(4):
        with pytest.raises(errors.CloudflareError) as caught:
            client.call("GET", "/x")
        shown.append("".join(traceback.format_exception(caught.value)))
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None
    assert caplog.text
    assert TOKEN not in caplog.text + "".join(shown)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_is_not_followed(edge: Edge, client: Client, status: int) -> None:
    edge.script(failure(status, headers={"location": "http://169.254.169.254/latest"}), success("followed"))
    with pytest.raises(errors.Unreadable) as caught:
        client.call("PUT", "/x", body={})
    assert (caught.value.status, caught.value.outcome) == (status, "unknown")
    assert len(edge.requests) == 1


@pytest.mark.parametrize("answer", [failure(500, 1), failure(429, 971), html(502), reset, raw(b"")])
def test_nothing_is_repeated(edge: Edge, client: Client, answer: object) -> None:
    edge.script(answer, success({"hostnames": []}))  # type: ignore[arg-type]
    with pytest.raises(errors.CloudflareError):
        client.associations.replace(ZONE, mtls_certificate_id=CERTIFICATE, hostnames=[])
    assert len(edge.requests) == 1


def test_proxy_settings_of_the_environment_are_not_used(
    edge: Edge, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    edge.script(success("direct"))
    with Client(base_url=edge.base_url, token=TOKEN) as made:
        assert made.call("GET", "/x").result == "direct"


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        (success(None), "answered"),
        (failure(400, 1), "answered"),
        (failure(403, 9109), "answered"),
        (failure(404, 7003), "answered"),
        (failure(429), "answered"),
        (failure(500, 1), "down"),
        (html(503), "down"),
        (reset, "down"),
        (silence, "down"),
        (trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"), "down"),
        (html(200), "unclear"),
        (success("x" * 2000), "unclear"),
    ],
)
def test_each_call_tells_whether_cloudflare_is_there(edge: Edge, answer: Answer, health: str) -> None:
    records: list[CallRecord] = []
    edge.script(answer)
    with Client(
        base_url=edge.base_url, token=TOKEN, on_response=records.append, deadline_s=0.3, max_body_bytes=1000
    ) as client, contextlib.suppress(errors.CloudflareError):  # fmt: skip
        client.call("GET", "/x")
    assert [record.health for record in records] == [health]


def test_a_cloudflare_that_cannot_be_reached_is_down(records: list[CallRecord]) -> None:
    client = Client(base_url="http://127.0.0.1:1", token=TOKEN, on_response=records.append)
    with client, pytest.raises(errors.Unreachable):
        client.call("GET", "/x")
    assert [record.health for record in records] == ["down"]
