"""What an answer means: by status, `success` and codes."""

from __future__ import annotations

import json
import pickle

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cloudflare import errors
from apps.cloudflare.answers import parse
from apps.cloudflare.client import Client
from apps.cloudflare.headers import plain
from apps.cloudflare.refusals import refusal
from apps.errors import EdgeFault
from tests.unit.cloudflare.conftest import ACCOUNT, CERTIFICATE, ZONE
from tests.unit.cloudflare.server import Edge, failure, html, reply

CERTIFICATE_PATH = f"/accounts/{ACCOUNT}/mtls_certificates/{CERTIFICATE}"


def _fault(edge: Edge, client: Client, answer: object, method: str = "PUT", path: str = "/x") -> errors.CloudflareError:
    edge.script(answer)  # type: ignore[arg-type]
    with pytest.raises(errors.CloudflareError) as caught:
        client.call(method, path)
    assert isinstance(caught.value, EdgeFault)
    return caught.value


@pytest.mark.parametrize(
    ("status", "codes", "fault", "retryable", "outcome"),
    [
        (429, (971,), errors.RateLimited, True, "not_applied"),
        (403, (10429,), errors.RateLimited, True, "not_applied"),
        (200, (10100,), errors.RateLimited, True, "not_applied"),
        (401, (), errors.Unauthorized, False, "not_applied"),
        (401, (10000,), errors.Unauthorized, False, "not_applied"),
        (400, (6003, 6111), errors.Unauthorized, False, "not_applied"),
        (400, (9109,), errors.Unauthorized, False, "not_applied"),
        (403, (9109,), errors.Unauthorized, False, "not_applied"),
        (400, (1000,), errors.Unauthorized, False, "not_applied"),
        (403, (10000,), errors.PermissionMissing, False, "not_applied"),
        (403, (), errors.PermissionMissing, False, "not_applied"),
        (403, (7003,), errors.PermissionMissing, False, "not_applied"),
        (400, (10000,), errors.PermissionMissing, False, "not_applied"),
        (200, (10000,), errors.PermissionMissing, False, "not_applied"),
        (404, (1472,), errors.NotFoundAtEdge, False, "not_applied"),
        (404, (9109,), errors.NotFoundAtEdge, False, "not_applied"),
        (404, (), errors.NotFoundAtEdge, False, "not_applied"),
        (400, (7003,), errors.NotFoundAtEdge, False, "not_applied"),
        (400, (10003,), errors.NotFoundAtEdge, False, "not_applied"),
        (200, (1472,), errors.NotFoundAtEdge, False, "not_applied"),
        (400, (1489,), errors.SlotsExhausted, False, "not_applied"),
        (200, (1489,), errors.SlotsExhausted, False, "not_applied"),
        (400, (1471,), errors.AlreadyExists, False, "not_applied"),
        (400, (20217,), errors.Rejected, False, "not_applied"),
        (405, (7001,), errors.Rejected, False, "not_applied"),
        (400, (), errors.Rejected, False, "not_applied"),
        (200, (50001,), errors.Rejected, False, "not_applied"),
        (200, (), errors.Unreadable, True, "unknown"),
        (304, (), errors.Unreadable, True, "unknown"),
        (500, (1489,), errors.ServerFault, True, "unknown"),
        (503, (), errors.ServerFault, True, "unknown"),
    ],
)
def test_a_refusal_has_one_meaning(
    edge: Edge,
    client: Client,
    status: int,
    codes: tuple[int, ...],
    fault: type[errors.CloudflareError],
    retryable: bool,
    outcome: str,
) -> None:
    found = _fault(edge, client, failure(status, *codes))
    assert type(found) is fault
    assert (found.retryable, found.outcome, found.status, found.codes) == (retryable, outcome, status, codes)
    assert found.ray == "8f00ba4-FRA"
    assert found.message.endswith(".")
    assert (found.retry_after_s is not None) == (fault is errors.RateLimited)


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, errors.Rejected),
        (401, errors.Unauthorized),
        (403, errors.PermissionMissing),
        (404, errors.Unreadable),
        (410, errors.Unreadable),
        (429, errors.RateLimited),
        (500, errors.ServerFault),
        (502, errors.ServerFault),
        (504, errors.ServerFault),
        (520, errors.ServerFault),
        (524, errors.ServerFault),
        (530, errors.ServerFault),
        (200, errors.Unreadable),
    ],
)
def test_a_page_instead_of_an_envelope(
    edge: Edge, client: Client, status: int, fault: type[errors.CloudflareError]
) -> None:
    found = _fault(edge, client, html(status))
    assert type(found) is fault
    assert found.status == status
    assert "<" not in found.message


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"slow down", b'{"success": false, "errors": {}}'])
def test_a_429_and_a_5xx_need_no_envelope(edge: Edge, client: Client, body: bytes) -> None:
    assert _fault(edge, client, reply(429, body)).retry_after_s == 300.0
    assert type(_fault(edge, client, reply(521, body))) is errors.ServerFault


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"17",
        b"{}",
        b'{"success": true}',
        b'{"success": 1, "result": []}',
        b'{"success": "true", "result": []}',
        b'{"success": true, "result": [], "result": null}',
        b'{"success": true, "result": {"hostnames": [], "hostnames": []}}',
        b'{"success": true, "result": NaN}',
        b'{"success": true, "result": -Infinity}',
        b'{"success": true, "result": [}',
        b'{"success": true, "result": []} x',
        b'\xef\xbb\xbf{"success": true, "result": []}',
        b'{"success": true, "result": "\xff"}',
        b'{"success": true, "result": "\\ud800"}',
        b'{"success": true, "result": "\\uDBFF x"}',
        b'{"success": true, "result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"success": true, "result": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_200_that_is_no_envelope_is_unreadable(edge: Edge, client: Client, body: bytes) -> None:
    found = _fault(edge, client, reply(200, body))
    assert type(found) is errors.Unreadable
    assert (found.outcome, found.status, found.ray) == ("unknown", 200, "8f00ba4-FRA")
    assert "application/json" in found.message


def test_a_whole_surrogate_pair_is_text(edge: Edge, client: Client) -> None:
    edge.script(reply(200, b'{"success": true, "result": "\\ud83d\\ude00", "result_info": 5}'))
    answer = client.call("GET", "/x")
    assert (answer.result, answer.info) == ("\N{GRINNING FACE}", {})


def test_an_unreadable_answer_may_have_no_content_type() -> None:
    with pytest.raises(errors.Unreadable, match="no content type"):
        parse(200, httpx.Headers(), b"x", "")


def test_success_with_a_failing_status_is_no_success(edge: Edge, client: Client) -> None:
    found = _fault(edge, client, reply(500, b'{"success": true, "result": {}}'))
    assert type(found) is errors.ServerFault


def test_a_connection_that_switches_protocols_is_no_answer() -> None:
    answer = parse(101, httpx.Headers(), b'{"success": true, "result": null}', "")
    assert type(refusal("GET", "/x", 101, httpx.Headers(), answer, "")) is errors.Unreadable


# -- deleting a certificate


@pytest.mark.parametrize("status", [200, 400, 409])
def test_an_unknown_refusal_to_delete_a_certificate_means_in_use(edge: Edge, client: Client, status: int) -> None:
    found = _fault(edge, client, failure(status, 1499), "DELETE", CERTIFICATE_PATH)
    assert type(found) is errors.StillInUse
    assert (found.retryable, found.outcome) == (True, "not_applied")
    assert "1499" in found.message


def test_a_certificate_that_is_being_deleted(edge: Edge, client: Client) -> None:
    found = _fault(edge, client, failure(400, 1, message="It is Already deleted."), "DELETE", CERTIFICATE_PATH)
    assert type(found) is errors.AlreadyDeleted


@pytest.mark.parametrize(
    ("answer", "method", "path", "fault"),
    [
        (failure(400, 1499), "GET", CERTIFICATE_PATH, errors.Rejected),
        (failure(400, 1499), "DELETE", f"/zones/{ZONE}/rulesets/x", errors.Rejected),
        (failure(422, 1499), "DELETE", CERTIFICATE_PATH, errors.Rejected),
        (failure(404, 1472), "DELETE", CERTIFICATE_PATH, errors.NotFoundAtEdge),
        (failure(403, 10000), "DELETE", CERTIFICATE_PATH, errors.PermissionMissing),
        (failure(200), "DELETE", CERTIFICATE_PATH, errors.Unreadable),
        (html(400), "DELETE", CERTIFICATE_PATH, errors.Rejected),
        (html(404), "DELETE", CERTIFICATE_PATH, errors.Unreadable),
    ],
)
def test_other_refusals_keep_their_meaning(
    edge: Edge, client: Client, answer: object, method: str, path: str, fault: type[errors.CloudflareError]
) -> None:
    assert type(_fault(edge, client, answer, method, path)) is fault


# -- texts of the far side


def test_far_side_text_is_shown_harmless_and_short(edge: Edge, client: Client) -> None:
    hostile = "<script>\r\n\x1b[31m\u202e\x00 " + "y" * 5000
    body = {
        "success": False,
        "errors": [
            {"code": 20127, "message": hostile, "source": {"pointer": "/rules/0/expression\n"}},
            {"code": 1, "message": "two.", "source": "?"},
            {"message": None},
            {"code": 4, "message": "four"},
        ],
    }
    found = _fault(edge, client, reply(400, json.dumps(body).encode()))
    assert found.message.isprintable()
    assert len(found.message) < 600
    assert "20127: <script>" in found.message
    assert "; 1: two; None." in found.message
    assert "four" not in found.message
    assert found.codes == (20127, 1, 4)
    assert found.pointer == "/rules/0/expression"


def test_errors_are_read_leniently_and_with_their_chain(edge: Edge, client: Client) -> None:
    chain = {"code": 6003, "message": "", "error_chain": [{"code": 6111, "message": "Invalid format"}, "?"]}
    body = {"success": False, "errors": ["?", {"code": True}, {"code": "7"}, chain], "result": None}
    found = _fault(edge, client, reply(400, json.dumps(body).encode()))
    assert type(found) is errors.Unauthorized
    assert found.codes == (6003, 6111)
    assert "6003: no text" in found.message


def test_text_is_made_plain() -> None:
    assert plain(" a\nb\u2028c\ud800 ") == "a b c"
    assert plain("x" * 500) == "x" * 300


def test_an_error_survives_pickling() -> None:
    error = errors.RateLimited("Wait.", status=429, codes=(971,), ray="r", pointer="/p", retry_after_s=7.0)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert vars(copy) == vars(error)
    assert str(copy) == "Wait."


@given(st.binary(max_size=200), st.sampled_from([200, 204, 301, 400, 404, 429, 500, 520]))
def test_any_bytes_give_an_answer_or_an_error_of_ours(content: bytes, status: int) -> None:
    try:
        answer = parse(status, httpx.Headers(), content, "")
    except errors.Unreadable:
        assert status < 300
    else:
        assert (refusal("PUT", "/x", status, httpx.Headers(), answer, "") is None) == (answer.success and status < 300)
