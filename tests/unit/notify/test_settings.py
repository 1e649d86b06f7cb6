"""Where mail goes and where links lead, from the environment alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from byoca_portal import env as environment


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "EMAIL_URL",
        "EMAIL_URL_FILE",
        "BYOCA_MAIL_FROM",
        "BYOCA_PUBLIC_URL",
        "BYOCA_MODE",
        "BYOCA_BIND",
        "BYOCA_WEBHOOK_RANGES",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BYOCA_PORT", "8123")


def test_embedded_mails_are_files(tmp_path: Path) -> None:
    found = environment.mail(tmp_path)
    assert found["BYOCA_MAIL"] and found["EMAIL_FILE_PATH"] == str(tmp_path / "mail")
    assert environment.public_url([], []) == "http://127.0.0.1:8123"


def test_deployed_without_a_server_there_is_no_mail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BYOCA_MODE", "deployed")
    found = environment.mail(tmp_path)
    assert found["BYOCA_MAIL"] is False and "dummy" in str(found["EMAIL_BACKEND"])


def test_a_server_by_url_or_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMAIL_URL", "smtp+tls://portal:p%40ss@mail.example:587")
    with pytest.raises(ImproperlyConfigured, match="BYOCA_MAIL_FROM"):
        environment.mail(tmp_path)
    monkeypatch.setenv("BYOCA_MAIL_FROM", "portal@byoca.example")
    found = environment.mail(tmp_path)
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"], found["EMAIL_USE_TLS"]) == ("mail.example", 587, True)
    assert (found["EMAIL_HOST_PASSWORD"], found["DEFAULT_FROM_EMAIL"]) == ("p@ss", "portal@byoca.example")
    secret = tmp_path / "email_url"
    secret.write_text("smtp+ssl://mail.example:465\n")
    monkeypatch.delenv("EMAIL_URL")
    monkeypatch.setenv("EMAIL_URL_FILE", str(secret))
    assert environment.mail(tmp_path)["EMAIL_USE_SSL"] is True


def test_a_range_that_is_none_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.ranges("BYOCA_WEBHOOK_RANGES") == []
    monkeypatch.setenv("BYOCA_WEBHOOK_RANGES", "10.20.0.0/24, fd00:1::/32")
    assert environment.ranges("BYOCA_WEBHOOK_RANGES") == ["10.20.0.0/24", "fd00:1::/32"]
    monkeypatch.setenv("BYOCA_WEBHOOK_RANGES", "10.20.0.1/24")
    with pytest.raises(ImproperlyConfigured, match=r"BYOCA_WEBHOOK_RANGES: .* has host bits set"):
        environment.ranges("BYOCA_WEBHOOK_RANGES")


def test_links_lead_to_where_people_reach_the_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYOCA_BIND", "0.0.0.0")
    assert environment.public_url([], []) == "http://127.0.0.1:8123"
    monkeypatch.setenv("BYOCA_MODE", "deployed")
    assert environment.public_url(["portal.example"], []) == "https://portal.example"
    assert environment.public_url(["portal.example"], ["https://byoca.example"]) == "https://byoca.example"
    monkeypatch.setenv("BYOCA_PUBLIC_URL", "https://outside.example/")
    assert environment.public_url([], []) == "https://outside.example"
