"""What a page says and keeps when it refuses: every choice and text that was given, in words that fit a phone."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from apps.coverage.closing_services import reject_request
from apps.coverage.progress_services import outdate_plan
from apps.coverage.services import store_plan
from apps.identity.models import Person
from apps.identity.permissions import Role
from tests.unit.coverage.test_requests import WORKER, Desk
from tests.unit.inventory.test_hold_pages import page_for

pytestmark = pytest.mark.django_db


def owner_of(desk: Desk) -> Client:
    client = Client()
    assert isinstance(desk.owner.person, Person)
    client.force_login(desk.owner.person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def chosen(html: str, name: str) -> list[str]:
    """The values of the radio buttons of that name that are checked."""
    return re.findall(rf'type="radio" name="{name}" value="(\w+)" checked', html)


def test_a_rejection_without_a_reason_stays_a_rejection(desk: Desk) -> None:
    """Else the reviewer adds the comment, submits, and has approved."""
    asked = desk.planned()
    page = page_for(Role.ENGINEER).post(f"/requests/{asked.pk}/review/", {"decision": "reject", "digest": "d1"})
    assert page.status_code == 400
    assert chosen(page.content.decode(), "decision") == ["reject"]


def test_a_refused_approval_stays_one_and_keeps_the_number_that_was_typed(desk: Desk) -> None:
    asked = desk.ask()
    document = {"effects": [], "confirm": 3}
    store_plan(by=WORKER, request_id=asked.pk, document=document, revisions={}, digest="d1")
    form = {"decision": "approve", "digest": "d1", "comment": "Checked", "confirm": "4"}
    page = page_for(Role.ENGINEER).post(f"/requests/{asked.pk}/review/", form)
    html = page.content.decode()
    assert page.status_code == 400
    assert chosen(html, "decision") == ["approve"]
    assert 'name="confirm" autocomplete="off" value="4"' in html
    assert ">Checked</textarea>" in html


def test_a_stop_without_a_reason_keeps_what_was_to_be_stopped(desk: Desk) -> None:
    """Else the second try stops everything instead of one zone."""
    target = f"zone:{desk.zone.pk}"
    page = page_for(Role.ENGINEER).post("/accounts/stops/", {"target": target, "reason": ""})
    assert page.status_code == 400
    assert re.findall(r'<option value="([^"]+)" selected>', page.content.decode()) == [target]


def test_many_wrong_lines_are_told_once_each_and_counted_in_the_summary(desk: Desk) -> None:
    lines = [f"h{number}.elsewhere.test" for number in range(9)]
    form = {"kind": "cover", "ca": str(desk.ca.pk), "mode": "verify", "hostnames": "\n".join(lines), "reason": "x"}
    html = owner_of(desk).post("/requests/new/", form).content.decode()
    assert len(re.findall(r'<li><a href="#hostnames">h\d', html)) == 5
    assert '<a href="#hostnames">And 4 more</a>' in html
    assert len(re.findall(r'class="errmsg" id="hostnames-e"', html)) == 5
    assert html.count("<span>And 4 more</span>") == 1
    for line in lines:  # the verdicts name each
        assert f'<span class="mono">{line}</span>' in html


def test_problems_are_listed_in_the_order_of_the_page(desk: Desk) -> None:
    form = {"kind": "cover", "ca": str(desk.ca.pk), "mode": "verify", "hostnames": "", "reason": ""}
    html = owner_of(desk).post("/requests/new/", form).content.decode()
    assert re.findall(r'<li><a href="#(\w+)">', html) == ["hostnames", "reason"]


def test_deciding_about_nothing_is_refused_in_the_page_and_not_in_passing(desk: Desk) -> None:
    html = page_for(Role.ENGINEER).post("/drift/decide/", {"act": "restore"}, follow=True).content.decode()
    words = "Nothing was chosen. Tick what you decide about."
    assert re.search(rf'role="alert">.*?<p class="grow">{words}</p>', html)
    assert html.count(words) == 1


def test_a_name_that_is_not_found_is_ready_to_be_corrected(desk: Desk) -> None:
    page = owner_of(desk).get("/hostnames/api.elsewhere.test/")
    assert page.status_code == 404
    assert 'name="q" placeholder="Hostname" value="api.elsewhere.test"' in page.content.decode()
    assert 'placeholder="Hostname" value=""' in owner_of(desk).get("/requests/999/").content.decode()


def test_the_end_of_a_request_brings_what_became_of_its_hostnames(desk: Desk) -> None:
    asked, page = desk.planned(), owner_of(desk)
    polled = f"/requests/{asked.pk}/"
    assert 'id="results"' not in page.get(polled, headers={"hx-target": "progress"}).content.decode()
    reject_request(by=desk.engineer, request_id=asked.pk, comment="Not now")
    html = page.get(polled, headers={"hx-target": "progress"}).content.decode()
    assert html.count('id="results" aria-labelledby="ck-h" hx-swap-oob="true"') == 1
    assert "hx-swap-oob" not in page.get(polled).content.decode()


def test_an_approval_of_a_plan_that_is_out_of_date_shows_why_the_way_on_and_what_was_written(desk: Desk) -> None:
    asked = desk.planned()
    path, form = f"/requests/{asked.pk}/", {"decision": "approve", "digest": "d1", "comment": "Checked with Ann"}
    outdate_plan(by=WORKER, plan_id=asked.plans.get().pk, reason="The edge list changed after this plan was built.")
    answer = page_for(Role.ENGINEER).post(f"{path}review/", form)
    html = answer.content.decode()
    assert answer.status_code == 409
    assert "The edge list changed after this plan was built. Rebuild the plan, then review it again." in html
    assert f'action="{path}rebuild/"' in html
    assert "Checked with Ann" in html
    assert f'hx-get="{path}?' in html, "what the page polls can be read"


@pytest.mark.parametrize("act", ["withdraw", "cancel", "rebuild"])
def test_what_is_no_longer_possible_shows_the_request_as_it_is_now(desk: Desk, act: str) -> None:
    asked = desk.planned()
    reject_request(by=desk.engineer, request_id=asked.pk, comment="No")
    page = page_for(Role.ENGINEER) if act == "cancel" else owner_of(desk)
    answer = page.post(f"/requests/{asked.pk}/{act}/", {"cancel_reason": "Wrong"})
    html = answer.content.decode()
    assert answer.status_code == 409
    assert 'role="alert"' in html and "Rejected" in html
