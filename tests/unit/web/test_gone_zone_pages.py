"""Pages about what stands in no one's way any more, and what does: a vanished zone, and names that nobody approved."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.identity.permissions import Role
from apps.inventory.models import Account, Zone
from apps.outbox.services import claim, mark_due
from apps.reconcile.parking import park_cut_off
from tests.factories import at_edge
from tests.unit.coverage.test_requests import Desk
from tests.unit.inventory.test_hold_pages import page_for

pytestmark = pytest.mark.django_db


def test_the_page_of_a_hostname_says_that_its_zone_is_gone() -> None:
    desk = Desk()
    desk.live()
    page = page_for(Role.ENGINEER)
    assert "Request removal" in page.get("/hostnames/api.pay.example/").content.decode()
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    html = page.get("/hostnames/api.pay.example/").content.decode()
    assert "The zone is gone" in html
    assert "Zone gone" in html
    assert "Request removal" not in html
    assert "no longer lists pay.example" in page.get("/hostnames/").content.decode()
    assert "Zone gone" in page.get("/associations/").content.decode()


def test_the_page_of_a_ca_names_what_nobody_approved() -> None:
    desk = Desk()
    page = page_for(Role.ENGINEER)
    path = f"/cas/{desk.ca.pk}/"
    assert f'action="{path}delete/"' in page.get(path).content.decode()
    at_edge(desk.ca, desk.zone, "legacy.pay.example")
    html = page.get(path).content.decode()
    assert f'action="{path}delete/"' not in html
    assert "Nobody approved legacy.pay.example" in html
    assert f"kind=adopt&amp;ca={desk.ca.pk}" in html
    assert page.post(f"{path}delete/", {"reason": "Old", "confirm": desk.ca.name}).status_code == 409


def parked(subject: Account | Zone, kind: str) -> None:
    mark_due(kind=kind, subject_id=subject.pk)
    lease = claim(kind=kind, subject_id=subject.pk, worker="one", lease_s=60)
    assert lease
    park_cut_off(lease, subject)


def test_the_overview_counts_what_waits_for_a_person_and_the_account_says_why(desk: Desk) -> None:
    page = page_for(Role.ENGINEER)
    parked(desk.zone, "zone")
    assert "1 item waits for a person" in page.get("/").content.decode()
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    assert "for a person" not in page.get("/").content.decode(), "nobody can do anything about a zone that is gone"
    parked(desk.account, "account")
    assert "1 item waits for a person" in page.get("/").content.decode()
    html = page.get("/accounts/").content.decode()
    assert "The account is no longer read" in html
    assert "stopped in the middle of this account too often" in html


def test_what_waits_for_an_approval_in_a_zone_that_is_gone_is_not_approved_and_says_so(desk: Desk) -> None:
    cover, page = desk.planned(), page_for(Role.ENGINEER)
    path, words = f"/requests/{cover.pk}/", "Cloudflare no longer lists pay.example, so nothing can be sent there."
    assert words not in page.get(path).content.decode()
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    shown = page.get(path).content.decode()
    assert "This cannot be approved any more" in shown and f"{words} Its hostnames hold no CA any more." in shown
    answer = page.post(f"{path}review/", {"decision": "approve", "digest": "d1", "comment": "Checked"})
    cover.refresh_from_db()
    assert (answer.status_code, cover.state) == (409, "waiting")
    assert words in answer.content.decode()
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=None)
    assert desk.approve(cover).state == "approved", "the zone came back"
    assert "This cannot be approved" not in page.get(path).content.decode()


def test_a_removal_in_a_zone_that_is_gone_is_not_asked_for_again(desk: Desk) -> None:
    desk.live(mode="verify")
    removal = desk.planned(kind="uncover", mode="verify")
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    shown = page_for(Role.ENGINEER).get(f"/requests/{removal.pk}/").content.decode()
    assert "Reject this request." in shown
    assert "ask again" not in shown


def test_the_rule_of_a_hostname_in_a_zone_that_is_gone_is_not_called_altered(desk: Desk) -> None:
    desk.live()
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    assert "Altered" not in page_for(Role.ENGINEER).get("/hostnames/api.pay.example/").content.decode()


def test_what_waits_for_a_person_and_what_is_not_read_stand_before_zones_that_are_well(desk: Desk) -> None:
    last = Zone.objects.create(account=desk.account, name="zz-parked.example", cloudflare_id="a" * 32)
    failing = Zone.objects.create(account=desk.account, name="zy-failing.example", cloudflare_id="b" * 32)
    Zone.objects.filter(pk=failing.pk).update(failing_since=timezone.now())
    parked(last, "zone")
    html = page_for(Role.ENGINEER).get("/accounts/").content.decode()
    table = html[html.index("<caption") :]
    assert table.index(last.name) < table.index(failing.name) < table.index(desk.zone.name)


def test_the_overview_says_of_how_many_hostnames_nothing_is_known(desk: Desk) -> None:
    desk.live()
    page = page_for(Role.ENGINEER)
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    assert 'of which 1 is <a href="/associations/?answer=unknown">unknown</a>' in page.get("/").content.decode()


def test_of_hundreds_of_zones_the_first_are_shown_and_the_others_on_demand(desk: Desk) -> None:
    names = [f"many{number:03}.example" for number in range(120)]
    Zone.objects.bulk_create(
        Zone(account=desk.account, name=name, cloudflare_id=f"{number:032x}") for number, name in enumerate(names)
    )
    page, shown = page_for(Role.ENGINEER), Zone.objects.count()
    html = page.get("/accounts/").content.decode()
    assert (names[0] in html, names[-1] in html, f"Show {shown - 50} more" in html) == (True, False, True)
    every = page.get("/accounts/?zones=all").content.decode()
    assert (names[-1] in every, "more</a>" in every) == (True, False)
