"""Probes on the pages and in the API: what is shown to whom, and what the buttons do."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.identity.services import create_token
from apps.probing.models import Probe
from apps.probing.selectors import setting_of
from tests.factories import actor
from tests.unit.probing.desk import HOSTNAME, LOST, PASSED, REFUSED, Desk, ready

pytestmark = pytest.mark.django_db
PAGE = f"/hostnames/{HOSTNAME}/"
API = f"/api/v1/hostnames/{HOSTNAME}/probe/"


@pytest.fixture(autouse=True)
def _static_folder(settings: Any) -> None:
    """WhiteNoise warns when the folder that `up` makes is not there."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)


def browser(who: Actor) -> Client:
    client = Client()
    assert who.person
    client.force_login(who.person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def program(who: Actor) -> APIClient:
    _, secret = create_token(by=who, name="t")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def html(desk: Desk, path: str = PAGE, who: Actor | None = None) -> str:
    return str(browser(who or desk.owner).get(path).content.decode())


def test_the_page_says_that_probing_is_off() -> None:
    desk = Desk()
    desk.approve(HOSTNAME)
    shown = html(desk)
    assert "Probing is off for this account" in shown and "Probe now" not in shown


def test_a_contradiction_turns_the_answer_and_the_row_red() -> None:
    desk = ready()
    assert "but the probe disagrees" not in html(desk)
    desk.saw(PASSED)
    shown = html(desk)
    assert 'class="answer bad"' in shown and "but the probe disagrees</b>" in shown
    assert "A request without a certificate got 200, although the block rule is live." in shown
    table = html(desk, "/associations/")
    assert table.count("Probe disagrees") == 1 and "badrow" in table
    desk.saw(REFUSED)
    assert "but the probe disagrees" not in html(desk) and "Probe disagrees" not in html(desk, "/associations/")
    assert 'class="answer bad"' not in html(desk)


def test_a_contradiction_stays_while_later_probes_cannot_tell() -> None:
    desk = ready()
    desk.saw(PASSED)
    desk.saw(LOST)
    shown = html(desk)
    assert "An earlier probe disagreed" in shown and "No full answer came within 10 s." in shown


def test_names_are_shown_beside_the_cas_with_the_caveat() -> None:
    desk = ready()
    named = dataclasses.replace(REFUSED, names=["CN=<b>x</b>", desk.ca.facts["subject"]], name_count=2)
    desk.saw(named)
    shown = html(desk)
    assert "CN=&lt;b&gt;x&lt;/b&gt;" in shown and "the subject of Partners" in shown
    assert "named in the handshake" in shown
    assert "is not confirmed, so a name that is missing proves nothing" in shown


def test_many_names_are_cut_short_on_the_page() -> None:
    desk = ready()
    desk.saw(dataclasses.replace(REFUSED, names=[f"CN=Root {n}" for n in range(30)], name_count=30))
    shown = html(desk)
    assert "CN=Root 11" in shown and "CN=Root 12" not in shown and "and 18 more" in shown


def test_the_button_is_for_owners_and_engineers() -> None:
    desk = ready()
    desk.saw(REFUSED)
    stranger = actor(Role.OWNER)
    assert "Probe now" in html(desk) and "Probe now" not in html(desk, who=stranger)
    assert browser(stranger).post(f"{PAGE}probe/").status_code == 403
    answer = browser(desk.owner).post(f"{PAGE}probe/")
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)
    assert "Probing</span>" in html(desk) and 'hx-trigger="every 2s"' in html(desk)
    assert browser(desk.owner).get(f"{PAGE}probe/").status_code == 405


def test_a_hostname_without_coverage_shows_why_it_is_not_probed() -> None:
    desk = ready()
    assert "Only hostnames with approved coverage are ever contacted." in html(desk, "/hostnames/x.pay.example/")
    assert browser(desk.engineer).post("/hostnames/x.pay.example/probe/").status_code == 409


def test_an_administrator_switches_it_on_the_page() -> None:
    desk = Desk()
    path = f"/accounts/{desk.account.pk}/probing/"
    form: dict[str, Any] = {"enabled": "on", "test_ranges": "10.1.0.0/16", "reason": ""}
    refused = browser(desk.admin).post(path, form)
    assert refused.status_code == 400
    shown = refused.content.decode()
    assert "Say why." in shown and 'value="10.1.0.0/16"' in shown and "<details open>" in shown
    assert browser(desk.admin).post(path, {**form, "reason": "Proof"}).status_code == 302
    assert setting_of(desk.account).enabled
    assert "On: hostnames with approved coverage" in html(desk, "/accounts/", desk.admin)
    assert browser(desk.admin).post(path, {"test_ranges": "", "reason": "Enough"}).status_code == 302
    assert not setting_of(desk.account).enabled
    assert browser(desk.engineer).post(path, {**form, "reason": "x"}).status_code == 403
    assert "Change probing" not in html(desk, "/accounts/", desk.engineer)


def test_the_api_reads_and_asks() -> None:
    desk = ready()
    desk.saw(PASSED)
    desk.saw(REFUSED)
    api = program(desk.owner)
    read = api.get(API).json()
    assert (read["hostname"], read["enabled"], read["covered"], read["pending"]) == (HOSTNAME, True, True, False)
    assert read["latest"]["asked"] == "yes" and read["latest"]["status"] == 403
    assert [row["agreement"] for row in read["history"]] == ["agrees", "contradicts"]
    assert read["cas"][0]["ca"]["name"] == "Partners" and read["cas"][0]["named"] is False
    asked = api.post(API, {}, format="json")
    assert (asked.status_code, asked.json()["pending"]) == (202, True)
    assert Probe.objects.count() == 2


def test_the_api_refuses_as_the_page_does() -> None:
    desk = ready()
    assert program(actor(Role.AUDITOR)).post(API, {}, format="json").status_code == 403
    api = program(desk.engineer)
    assert api.post(API.replace("api.pay", "x.pay"), {}, format="json").json()["code"] == "not_covered"
    assert api.get(API.replace("api.pay.example", "nowhere.test")).status_code == 404
    assert api.post(API, {"hostname": "10.0.0.1"}, format="json").status_code == 400
    desk.switch(on=False)
    assert api.post(API, {}, format="json").json()["code"] == "probing_off"
    assert APIClient().get(API).status_code == 401
