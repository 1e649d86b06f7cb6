"""Token check: the account's endpoint first, the user's only when that one does not know the token."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apps.cloudflare import errors
from apps.cloudflare.client import Client
from apps.cloudflare.tokens import TokenStatus
from tests.unit.cloudflare.conftest import ACCOUNT
from tests.unit.cloudflare.server import Edge, failure, html, success

ACCOUNTS = f"/client/v4/accounts/{ACCOUNT}/tokens/verify"
USERS = "/client/v4/user/tokens/verify"


def test_an_account_owned_token(edge: Edge, client: Client) -> None:
    edge.script(success({"id": "t1", "status": "active", "expires_on": "2027-01-01T00:00:00Z"}))
    assert client.tokens.verify(ACCOUNT) == TokenStatus("t1", "active", datetime(2027, 1, 1, tzinfo=UTC))
    assert [seen.path for seen in edge.requests] == [ACCOUNTS]


@pytest.mark.parametrize("first", [failure(401, 1000), failure(403, 10000), failure(404, 7003), failure(400, 9109)])
def test_a_user_token(edge: Edge, client: Client, first: Any) -> None:
    edge.script(first, success({"id": "t2", "status": "disabled"}))
    assert client.tokens.verify(ACCOUNT) == TokenStatus("t2", "disabled", None)
    assert [seen.path for seen in edge.requests] == [ACCOUNTS, USERS]


def test_a_token_that_neither_knows(edge: Edge, client: Client) -> None:
    edge.script(failure(401, 1000), failure(401, 1000))
    with pytest.raises(errors.Unauthorized):
        client.tokens.verify(ACCOUNT)


@pytest.mark.parametrize(
    "answer", [html(502), failure(429, 971), success(None), success({"id": "t"}), success({"status": 1})]
)
def test_other_failures_do_not_ask_twice(edge: Edge, client: Client, answer: Any) -> None:
    edge.script(answer)
    with pytest.raises(errors.CloudflareError):
        client.tokens.verify(ACCOUNT)
    assert len(edge.requests) == 1
