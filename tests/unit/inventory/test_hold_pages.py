"""The pages and the API of stops, windows, budgets and permissions."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.identity.models import Person
from apps.identity.permissions import Role
from apps.identity.services import create_token
from apps.inventory.budget import database_counter
from apps.inventory.budget.gate import budget_key
from apps.inventory.holds import freeze_windows, stops_in_force
from apps.inventory.models import Account
from apps.inventory.selectors import token_of
from tests.factories import actor, make_account

pytestmark = pytest.mark.django_db
WINDOW = {"name": "Sale", "effect": "deny", "repeats": "weekly", "timezone": "UTC", "weekdays": ["0", "1"],
          "opens": "00:00", "closes": "00:00"}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_collected_files(settings: Any) -> None:
    """Static files come from the tree here, so nobody is told that they were not collected."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture
def account() -> Account:
    return make_account()


def page_for(role: Role) -> Client:
    client = Client()
    person = actor(role).person
    assert isinstance(person, Person)
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def api_for(role: Role) -> dict[str, str]:
    _, secret = create_token(by=actor(role), name="test")
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}"}


def send(method: str, path: str, who: dict[str, str], body: Any = None) -> Any:
    return getattr(Client(), method)(f"/api/v1{path}", body or {}, content_type="application/json", **who)


def test_a_stop_stands_on_every_page_until_an_administrator_lifts_it(account: Account) -> None:
    engineer, admin = page_for(Role.ENGINEER), page_for(Role.ADMIN)
    assert engineer.post("/accounts/stops/", {"target": "everything", "reason": ""}).status_code == 400
    assert engineer.post("/accounts/stops/", {"target": "", "reason": "x"}).status_code == 400
    assert engineer.post("/accounts/stops/", {"target": "everything", "reason": "Odd <b>lists</b>"}).status_code == 302
    for path in ("/", "/associations/", "/cas/", "/requests/", "/accounts/", "/accounts/stops/", "/settings/tokens/"):
        html = page_for(Role.OWNER).get(path).content.decode()
        assert "Writes are stopped everywhere" in html, path
        assert "Odd &lt;b&gt;lists&lt;/b&gt;" in html
    stop = stops_in_force().get()
    assert engineer.post(f"/accounts/stops/{stop.pk}/lift/", {"reason": "x"}).status_code == 403
    assert admin.post(f"/accounts/stops/{stop.pk}/lift/", {"reason": "Fine"}, follow=True).status_code == 200
    assert "Writes are stopped" not in engineer.get("/").content.decode()
    assert "lifted it" in engineer.get("/accounts/stops/").content.decode()


@pytest.mark.parametrize("kind", ["account", "zone"])
def test_one_account_or_zone_is_stopped_by_page(account: Account, kind: str) -> None:
    zone = account.zones.first()
    assert zone
    subject = account if kind == "account" else zone
    answer = page_for(Role.ADMIN).post("/accounts/stops/", {"target": f"{kind}:{subject.pk}", "reason": "x"})
    assert answer.status_code == 302
    assert stops_in_force().get().where == f"in {subject}"


def test_windows_are_added_shown_and_removed_by_page(account: Account) -> None:
    admin, path = page_for(Role.ADMIN), f"/accounts/{account.pk}/windows/"
    refused = admin.post(path, {**WINDOW, "name": "", "opens": "noon", "closes": "25:00", "weekdays": ["9"]})
    assert refused.status_code == 400
    assert all(
        words in refused.content.decode() for words in ("Give the window a name", "Say when it begins", "one day")
    )
    once = {**WINDOW, "repeats": "once", "starts_at": "2099-13-01T00:00", "ends_at": "x"}
    assert admin.post(path, once).status_code == 400
    assert page_for(Role.ENGINEER).post(path, WINDOW).status_code == 403
    zone = account.zones.first()
    assert zone
    assert admin.post(path, {**WINDOW, "zone": str(zone.pk)}).status_code == 302
    assert admin.post(path, {**WINDOW, "weekdays": [str(day) for day in range(7)]}).status_code == 302
    html = admin.get(path).content.decode()
    assert "Monday, Tuesday 00:00 to 00:00 UTC" in html
    assert "Frozen now" in html
    assert "Frozen" in page_for(Role.VIEWER).get("/accounts/").content.decode()
    for window in freeze_windows(account):
        assert admin.post(f"/accounts/windows/{window.pk}/remove/").status_code == 302
    assert not freeze_windows(account)


def test_the_accounts_page_shows_budget_pause_and_permissions(account: Account) -> None:
    account.scope_check = [{"scope": "Zone: Zone WAF, Edit", "result": "failed", "detail": "Tried in pay.example."}]
    account.scope_checked_at = timezone.now()
    account.save()
    key = budget_key(token_of(account))
    database_counter.pause(key, 60, "Cloudflare answered 429.")
    admin = page_for(Role.ADMIN)
    html = admin.get("/accounts/").content.decode()
    assert "asked the portal to slow down" in html
    assert "Zone: Zone WAF, Edit" in html
    assert "Look at these" in html
    assert "At most 600 calls" in html
    path = f"/accounts/{account.pk}/budget/"
    assert admin.post(path, {"call_limit": "4000", "call_share_percent": "25"}).status_code == 302
    assert "At most 1000 calls" in admin.get("/accounts/").content.decode()
    for wrong in ({"call_limit": "x", "call_share_percent": "1"}, {"call_limit": "", "call_share_percent": "²"}, {}):
        assert admin.post(path, wrong).status_code == 400
    account.token_encrypted = "broken"
    account.save()
    assert admin.get("/accounts/").status_code == 200


def test_a_budget_that_is_too_small_for_a_change_is_said(account: Account) -> None:
    for limit, said in ((36, False), (34, True)):
        Account.objects.update(call_limit=limit)
        page = page_for(Role.VIEWER).get("/accounts/").content.decode()
        assert ("too small to send changes" in page, "up to 18 calls" in page) == (said, said)


def test_stops_by_api(account: Account) -> None:
    engineer, admin = api_for(Role.ENGINEER), api_for(Role.ADMIN)
    for wrong in (
        {"scope": "zone", "reason": "x"},
        {"scope": "everything", "account": "x", "reason": "x"},
        {"scope": "x"},
    ):
        assert send("post", "/stops/", engineer, wrong).status_code == 400
    assert send("post", "/stops/", api_for(Role.OWNER), {"scope": "everything", "reason": "x"}).status_code == 403
    body = {"scope": "zone", "zone": "pay.example", "reason": "Odd list"}
    stop = send("post", "/stops/", engineer, body).json()
    assert (stop["zone"]["name"], stop["account"]) == ("pay.example", None)
    assert send("post", "/stops/", engineer, body).status_code == 409
    named = {"scope": "account", "account": account.cloudflare_id, "reason": "x"}
    assert send("post", "/stops/", engineer, named).status_code == 201
    holds = {row["name"]: row["hold"]["kind"] for row in send("get", "/zones/", engineer).json()["results"]}
    assert holds == {"pay.example": "stop", "shop.example": "stop", "devices.shop.example": "stop"}
    assert send("get", "/accounts/", engineer).json()["results"][0]["hold"]["kind"] == "stop"
    assert send("post", f"/stops/{stop['id']}/lift/", engineer, {"reason": "x"}).status_code == 403
    assert send("post", f"/stops/{stop['id']}/lift/", admin, {"reason": "Fine"}).json()["lifted_at"]
    assert send("get", "/stops/", engineer).json()["count"] == 1
    assert send("get", "/stops/?lifted=true", engineer).json()["results"][0]["id"] == stop["id"]
    assert send("post", "/stops/", engineer, {**body, "zone": "nowhere.example"}).status_code == 404


def test_windows_by_api(account: Account) -> None:
    admin = api_for(Role.ADMIN)
    body = {"name": "Sale", "repeats": "once", "timezone": "Europe/Berlin", "zone": "pay.example",
            "starts_at": "2026-11-27T00:00", "ends_at": "2099-11-30T08:00:00Z"}  # fmt: skip
    made = send("post", "/freeze-windows/", admin, body)
    assert made.status_code == 201
    window = made.json()
    assert window["when"] == "27 Nov 2026 00:00 to 30 Nov 2099 09:00 Europe/Berlin"
    assert (window["starts_at"], window["effect"]) == ("2026-11-26T23:00:00Z", "deny")
    refused = send("post", "/freeze-windows/", admin, {"name": "x", "repeats": "weekly", "timezone": "Mars"})
    assert set(refused.json()["errors"]) == {"timezone", "weekdays", "opens", "closes"}
    assert send("post", "/freeze-windows/", api_for(Role.ENGINEER), body).status_code == 403
    assert send("get", "/freeze-windows/", admin).json()["results"][0]["zone"]["name"] == "pay.example"
    assert send("delete", f"/freeze-windows/{window['id']}/", admin).status_code == 200
    assert send("delete", f"/freeze-windows/{window['id']}/", admin).status_code == 409
    assert send("get", "/freeze-windows/", admin).json()["count"] == 0
