"""Adopting a CA of the edge: on its page, and through the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.authorities.models import CertificateAuthority
from apps.identity.permissions import Role
from apps.inventory.models import Account
from tests.certs import make_ca as make_certificate
from tests.factories import make_account, make_team
from tests.private_keys import private_keys
from tests.unit.authorities.test_adoption import outside
from tests.unit.inventory.test_hold_pages import api_for, page_for, send

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account()


def html(client: Client, path: str, **more: Any) -> str:
    answer = client.post(path, more) if more else client.get(path)
    return answer.content.decode()


def test_the_page_shows_the_checks_and_asks_what_only_people_know(account: Account) -> None:
    row, team = outside(account, make_certificate("Legacy Root")), make_team("Partners")
    path = f"/cas/adopt/{row.cloudflare_id}/"
    engineer = page_for(Role.ENGINEER)
    assert path in html(engineer, "/cas/")
    assert path not in html(page_for(Role.OWNER), "/cas/")
    assert page_for(Role.OWNER).get(path).status_code == 403
    page = html(engineer, path)
    assert "Legacy Root" in page
    assert "Already in the account" in page
    assert 'value="self" checked' not in page

    key = str(private_keys()["PKCS#1"], "ascii")
    refused = engineer.post(path, {"name": "Legacy", "reason": key, "client_issuers": ""})
    assert refused.status_code == 400
    assert "RSA PRIVATE KEY-----\n" not in refused.content.decode()
    assert "Say who signs the clients" in refused.content.decode()
    assert engineer.post(path, {"name": "x", "reason": "x", "owner_team": "nobody"}).status_code == 400

    form = {"name": "Legacy", "reason": "Whose", "client_issuers": "self", "owner_team": team.slug}
    assert engineer.post(path, form)["Location"] == f"/drift/?ca={row.cloudflare_id}"
    ca = CertificateAuthority.objects.get()
    assert (ca.owner_team, ca.state, ca.uploaded_by) == (team, "live", ca.uploaded_by)
    assert "Adopted by" in html(engineer, f"/cas/{ca.pk}/")
    assert path not in html(engineer, "/cas/")
    assert engineer.get(path).status_code == 409


def test_what_cannot_be_read_says_so(account: Account) -> None:
    row = outside(account, make_certificate("Root"), pem="nonsense", fingerprint="")
    page = html(page_for(Role.ENGINEER), f"/cas/adopt/{row.cloudflare_id}/")
    assert "It cannot be adopted" in page
    assert "Adopt CA</button>" not in page


def test_the_api_adopts_under_the_same_rules(account: Account) -> None:
    row, team = outside(account, make_certificate("Root")), make_team()
    engineer = api_for(Role.ENGINEER)
    body = {"cloudflare_id": row.cloudflare_id, "name": "Legacy", "reason": "Whose", "owner_team": team.slug}
    assert send("post", "/cas/adopt/", api_for(Role.OWNER), body).status_code == 403
    assert send("post", "/cas/adopt/", engineer, {**body, "pem": "x"}).status_code == 400
    assert send("post", "/cas/adopt/", engineer, {**body, "cloudflare_id": "x"}).status_code == 404
    assert send("post", "/cas/adopt/", engineer, {**body, "client_issuers": "guess"}).json()["errors"].keys() == {
        "client_issuers"
    }
    made = send("post", "/cas/adopt/", engineer, {**body, "client_issuers": "self"})
    assert made.status_code == 201
    seen = made.json()
    assert (seen["state"], seen["adopted"], seen["cloudflare_id"]) == ("live", True, row.cloudflare_id)
    assert (seen["owner_team"]["slug"], seen["client_issuers"]) == (team.slug, "self")
    assert send("post", "/cas/adopt/", engineer, {**body, "name": "Again"}).json()["code"] == "already_adopted"
