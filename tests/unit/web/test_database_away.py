"""Pages and API while the database does not answer: 503, in words, and without asking it again."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from apps.identity.permissions import Role
from tests.factories import make_account, make_person

pytestmark = pytest.mark.django_db


def away(*_values: Any, **_more: Any) -> None:
    raise OperationalError("server closed the connection unexpectedly: host=10.0.0.1")


def test_a_view_that_meets_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_account()
    client.force_login(make_person(Role.ADMIN))
    monkeypatch.setattr("apps.web.views.overview.open_requests", away)
    answer = client.get("/")
    assert answer.status_code == 503
    text = answer.content.decode()
    assert "database does not answer" in text
    assert "10.0.0.1" not in text


def test_a_session_that_cannot_be_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_account()
    client.force_login(make_person(Role.ADMIN))
    client.raise_request_exception = False
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", away)
    answer = client.get("/")
    assert answer.status_code == 503
    assert "database does not answer" in answer.content.decode()


def test_the_api(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.api.authentication.BearerAuthentication.authenticate", away)
    answer = client.get("/api/v1/zones/")
    assert (answer.status_code, answer.json()["code"]) == (503, "database")
    assert "10.0.0.1" not in answer.content.decode()
