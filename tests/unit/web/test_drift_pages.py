"""The drift page and its decisions, as forms without any script, and the same through the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.identity.permissions import Role
from apps.inventory.models import Account, Zone
from apps.reconcile.models import Drift, Plan
from tests.certs import make_ca as make_certificate
from tests.factories import at_edge, make_account, make_ca, make_team
from tests.unit.authorities.test_adoption import outside
from tests.unit.inventory.test_hold_pages import api_for, page_for, send

pytestmark = pytest.mark.django_db


class Desk:
    """60 hostnames that nobody approved, under a CA of ours, and one under a CA that nobody here knows."""

    def __init__(self) -> None:
        # Nothing listens there: requests are stored and wait for a plan.
        self.account: Account = make_account(base_url="http://127.0.0.1:9/client/v4")
        self.ca: CertificateAuthority = make_ca(self.account, name="Partners")
        self.zone = Zone.objects.get(account=self.account, name="pay.example")
        self.names = [f"h{number:02}.pay.example" for number in range(60)]
        at_edge(self.ca, self.zone, *self.names)
        self.rows = [self.drift("unexpected", name, self.ca.cloudflare_id, self.ca) for name in self.names]
        self.foreign = outside(self.account, make_certificate("Legacy"))
        self.stray = self.drift("unexpected", "x.shop.example", self.foreign.cloudflare_id, None, "shop.example")

    def drift(
        self, kind: str, name: str, ca_id: str, ca: CertificateAuthority | None, zone: str = "pay.example"
    ) -> Drift:
        now = timezone.now()
        return Drift.objects.create(
            zone=Zone.objects.get(account=self.account, name=zone), ca=ca, ca_cloudflare_id=ca_id, hostname=name,
            kind=kind, first_seen_at=now, last_seen_at=now,
        )  # fmt: skip


@pytest.fixture
def desk() -> Desk:
    return Desk()


def decide(client: Client, **form: Any) -> Any:
    return client.post("/drift/decide/", form)


def test_the_list_filters_and_offers_what_the_reader_may_do(desk: Desk) -> None:
    engineer, auditor = page_for(Role.ENGINEER), page_for(Role.AUDITOR)
    page = engineer.get("/drift/").content.decode()
    assert "61 differences" in page
    assert "Select all 61 that match" in page
    assert f"/cas/adopt/{desk.foreign.cloudflare_id}/" in page
    assert "60 differences" in engineer.get(f"/drift/?ca={desk.ca.cloudflare_id}").content.decode()
    assert "1 difference<" in engineer.get("/drift/?zone=shop.example").content.decode()
    assert "No difference matches" in engineer.get("/drift/?kind=missing").content.decode()
    page = auditor.get("/drift/").content.decode()
    assert "61 differences" in page
    assert 'name="picks"' not in page
    assert decide(auditor, act="accept", picks=desk.rows[0].pk).status_code == 403


def test_all_that_match_are_adopted_by_one_request_with_an_owner(desk: Desk) -> None:
    engineer, team = page_for(Role.ENGINEER), make_team("Partner desk")
    page = decide(engineer, act="accept", all="1", ca=desk.ca.cloudflare_id)
    html = page.content.decode()
    assert "Adopt 60 hostnames under Partners" in html
    picks = page.context["picks"]
    assert decide(engineer, act="accept", picks=picks, send="1", reason="Ours").status_code == 400
    sent = decide(engineer, act="accept", picks=picks, send="1", reason="Ours", team=team.slug)
    request = CoverageRequest.objects.get()
    assert sent["Location"] == f"/requests/{request.pk}/"
    assert (request.kind, request.team, request.hostnames.count()) == ("adopt", team, 60)
    # A second time they are pending, so nothing is left to ask for.
    again = decide(engineer, act="accept", all="1")
    assert "61 differences left out" in again.content.decode()
    assert "Adopt the CA first" in again.content.decode()
    assert "Send for approval" not in again.content.decode()


def test_one_row_by_its_own_button_and_what_makes_no_sense(desk: Desk) -> None:
    engineer = page_for(Role.ENGINEER)
    html = decide(engineer, act=f"accept-{desk.rows[3].pk}").content.decode()
    assert "Accept the edge for 1 hostname" in html
    assert decide(engineer, act="explode", picks="1").status_code == 400
    assert decide(engineer, act="accept", picks="").status_code == 302
    assert decide(engineer, act="accept", picks="9" * 30 + ",x").status_code == 302
    assert (
        decide(engineer, act="restore", picks=desk.rows[0].pk).content.decode().count("Nothing is approved for it") == 1
    )


def test_several_groups_are_several_requests(desk: Desk) -> None:
    second = make_ca(desk.account, name="Second")
    at_edge(second, desk.zone, "h00.pay.example")
    desk.drift("unexpected", "h00.pay.example", second.cloudflare_id, second)
    engineer, team = page_for(Role.ENGINEER), make_team()
    page = decide(engineer, act="accept", all="1", zone="pay.example")
    assert "Send 2 requests for approval" in page.content.decode()
    form = {"picks": page.context["picks"], "send": "1", "reason": "Ours", "team": team.slug}
    assert decide(engineer, act="accept", **form)["Location"] == "/requests/?tab=yours"
    assert CoverageRequest.objects.count() == 2


def test_setting_aside_and_showing_again(desk: Desk) -> None:
    engineer = page_for(Role.ENGINEER)
    page = decide(engineer, act="ignore", picks=[desk.rows[0].pk, desk.rows[1].pk])
    assert "Ignore 2 differences for 7 days" in page.content.decode()
    form = {"act": "ignore", "picks": page.context["picks"], "send": "1"}
    assert decide(engineer, **form, reason=" ").status_code == 400
    assert decide(engineer, **form, reason="Migration in June").status_code == 302
    html = engineer.get("/drift/").content.decode()
    assert "59 differences" in html
    assert "2 set aside" in html
    aside = engineer.get("/drift/?ignored=1").content.decode()
    assert "Migration in June" in aside
    assert decide(page_for(Role.OWNER), act="show", picks=desk.rows[0].pk).status_code == 403
    assert decide(engineer, act=f"show-{desk.rows[0].pk}").status_code == 302
    assert "60 differences" in engineer.get("/drift/").content.decode()
    assert decide(engineer, act="show", all="1").status_code == 302
    assert "Nothing is set aside" in engineer.get("/drift/?ignored=1").content.decode()


def test_the_api_has_the_same_filters(desk: Desk) -> None:
    who = api_for(Role.AUDITOR)
    assert send("get", f"/drift/?ca={desk.ca.pk}&kind=unexpected", who).json()["count"] == 60
    assert send("get", "/drift/?zone=shop.example", who).json()["results"][0]["hostname"] == "x.shop.example"
    assert send("get", "/drift/?ignored=true", who).json()["count"] == 0
    assert send("get", "/drift/?kind=odd", who).status_code == 400


def test_healing_is_switched_on_the_account_page_with_a_reason(desk: Desk) -> None:
    admin, path = page_for(Role.ADMIN), f"/accounts/{desk.account.pk}/healing/"
    assert page_for(Role.ENGINEER).post(path, {"enabled": "on", "reason": "x"}).status_code == 403
    assert admin.post(path, {"enabled": "on", "reason": ""}).status_code == 400
    assert admin.post(path, {"enabled": "on", "reason": "Drift of scripts"}).status_code == 302
    desk.account.refresh_from_db()
    assert desk.account.heal_missing is True
    assert "Healing is on" in admin.get("/accounts/").content.decode()
    assert admin.post(path, {"reason": "Enough"}).status_code == 302
    assert "Healing is off" in admin.get("/accounts/").content.decode()


def test_a_list_that_somebody_else_keeps_changing_is_named(desk: Desk) -> None:
    Account.objects.filter(pk=desk.account.pk).update(heal_missing=True)
    desk.drift("missing", "gone.pay.example", desk.ca.cloudflare_id, desk.ca)
    step = {"kind": "replace_list", "ca": desk.ca.fingerprint}
    for number in range(1, 4):
        Plan.objects.create(
            number=number, zone=desk.zone, state="applied", digest="d", base="b", healing=True,
            document={"steps": [step, {"kind": "read_back_lists"}]},
        )  # fmt: skip
    words = "Somebody else keeps changing the list of Partners in pay.example"
    assert words in page_for(Role.OWNER).get("/drift/").content.decode()
