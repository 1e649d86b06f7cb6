"""Cloudflare refuses a zone's list that holds what a longer zone serves: it is said, and mended by a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.coverage.overrides import needed_overrides, override_guard
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.permissions import Role
from apps.identity.services import create_token
from apps.inventory.services import set_healing
from apps.reconcile.models import Plan
from apps.reconcile.passed_over import in_the_way, passed_over_in
from apps.reconcile.passed_over_services import ask_removal
from apps.reconcile.selectors import changes_of
from apps.reconcile.services import retry_zone
from tests.factories import actor, make_team
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_plan_pages import browser

SHORT, LONG = "northwind.example", "sub.northwind.example"
OLD, OTHER = f"api.{LONG}", f"b.{LONG}"
NEW = f"www.{SHORT}"


@pytest.fixture(autouse=True)
def _static_folder(settings: Any, tmp_path: Path) -> None:
    """WhiteNoise warns of a folder that only a deployment has."""
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def split(world: World) -> Iterator[World]:
    """Each test adds the longer zone when it is time; it goes afterwards."""
    yield world
    world.edge.remove_zone(LONG)


def lengthen(split: World) -> None:
    split.edge.add_zone(LONG)
    split.run_account()


def covered_before(split: World, name: str, *names: str) -> CertificateAuthority:
    """A CA whose hostnames were covered in the shorter zone before the longer one came."""
    ca = split.upload(name)
    assert split.approve(split.ask(ca, *(names or (OLD,)))).state == "done"
    lengthen(split)
    return ca


def approve_only(split: World, request: CoverageRequest) -> None:
    """Without letting the workers run."""
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    approve_request(by=split.engineer, request_id=request.pk, digest=plan.digest, confirm=plan.document["confirm"])


def refused(split: World, ca: CertificateAuthority) -> CoverageRequest:
    request = split.approve(split.ask(ca, NEW))
    assert request.state == "failed"
    return request


def blocks(split: World, host: str) -> bool:
    """Whether the edge refuses a client without a certificate."""
    return split.edge.client(host)["status"] == 403


def test_the_refusal_names_what_stands_in_the_way_and_an_unrelated_change_goes_once_it_is_removed(split: World) -> None:
    ca = covered_before(split, "In the way", OLD, OTHER)
    assert split.approve(split.ask(ca, OLD)).state == "done", "protected where it is served now"
    request = refused(split, ca)
    assert f"{OLD} ({LONG}), {OTHER} ({LONG})" in request.state_reason
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == [OLD, OTHER], "nothing is left out without a person"
    (removal,) = ask_removal(by=split.owner, zone_id=split.zone(SHORT).pk)
    assert {(row.hostname, row.zone.name) for row in removal.hostnames.all()} == {(OLD, SHORT), (OTHER, SHORT)}
    assert LONG in removal.reason
    assert split.approve(removal).state == "done"
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == []
    assert split.edge.hostnames(LONG, ca.cloudflare_id) == [OLD], "the zone that serves it is left alone"
    assert blocks(split, OLD)
    retry_zone(by=split.engineer, zone_id=split.zone(SHORT).pk)
    split.run()
    assert request_by_id(request.pk).state == "done"
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == [NEW]
    assert blocks(split, NEW)
    assert split.edge.violations() == []


def test_a_removal_goes_before_the_cover_that_would_be_refused_with_it(split: World) -> None:
    ca = covered_before(split, "Together")
    cover = split.ask(ca, NEW)
    (removal,) = ask_removal(by=split.owner, zone_id=split.zone(SHORT).pk)
    approve_only(split, cover)
    approve_only(split, removal)
    split.run()
    assert [request_by_id(row.pk).state for row in (cover, removal)] == ["done", "done"]
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == [NEW]


def test_a_removal_that_waits_for_an_override_holds_no_cover_of_another_ca_up(split: World) -> None:
    names = [f"h{n}.{LONG}" for n in range(12)]
    ca, other = covered_before(split, "Many", *names), split.upload("Other")
    cover = split.ask(other, NEW)
    (removal,) = ask_removal(by=split.owner, zone_id=split.zone(SHORT).pk)
    approve_only(split, cover)
    approve_only(split, removal)
    split.run()
    assert request_by_id(cover.pk).state == "done"
    assert request_by_id(removal.pk).waits_for
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == sorted(names)


def test_a_big_removal_goes_first_once_its_override_is_given(split: World) -> None:
    names = [f"h{n:02}.{LONG}" for n in range(12)]
    ca = covered_before(split, "Overridden", *names)
    cover = split.ask(ca, NEW)
    (removal,) = ask_removal(by=split.owner, zone_id=split.zone(SHORT).pk)
    approve_only(split, removal)
    split.run()
    approve_only(split, cover)
    removal = request_by_id(removal.pk)
    digest = removal.approvals.get().digest
    for row in needed_overrides(removal):
        override_guard(
            by=split.other_engineer, request_id=removal.pk, digest=digest, guard=row["guard"], reason="Served elsewhere"
        )
    split.run()
    assert [request_by_id(row.pk).state for row in (cover, removal)] == ["done", "done"]
    assert not request_by_id(removal.pk).waits_for
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == [NEW]


def test_the_plan_says_it_before_anybody_approves(split: World) -> None:
    ca = covered_before(split, "Warned")
    plan = current_plan(split.ask(ca, NEW))
    assert plan is not None
    assert any(f"{OLD} ({LONG})" in words for words in plan.document["warnings"])
    (removal,) = ask_removal(by=split.owner, zone_id=split.zone(SHORT).pk)
    plan = current_plan(removal)
    assert plan is not None
    assert not any("may refuse the list" in words for words in plan.document["warnings"])


def test_what_was_to_be_added_where_another_zone_serves_it_is_to_be_asked_for_anew(split: World) -> None:
    ca = split.upload("Overtaken")
    names = [f"n{n}.{LONG}" for n in range(7)]
    request = split.ask(ca, *names)
    lengthen(split)
    request = split.approve(request)
    assert request.state == "failed"
    assert f"{names[0]} ({LONG})" in request.state_reason
    assert "and 2 more. Ask for that anew" in request.state_reason
    assert in_the_way(changes_of(request)) is None, "nothing of it stands there"


def test_what_a_zone_that_is_not_active_holds_is_left_where_it_is_served(split: World) -> None:
    ca = split.upload("Pending")
    assert split.approve(split.ask(ca, OLD)).state == "done"
    split.edge.add_zone(LONG, status="pending")
    split.run_account()
    assert passed_over_in(split.zone(SHORT)) == []
    with pytest.raises(Conflict):
        ask_removal(by=split.owner, zone_id=split.zone(SHORT).pk)
    request = refused(split, ca)
    assert f"{OLD} ({LONG}). Leave that in {SHORT}, where a removal would open it." in request.state_reason
    assert "Ask for its removal" not in request.state_reason
    assert in_the_way(changes_of(request)) is None


def test_it_is_known_what_stands_where_and_who_may_ask(split: World) -> None:
    ca = covered_before(split, "Known", OLD, OTHER)
    assert split.approve(split.ask(ca, OLD)).state == "done"
    found = f"found.{LONG}"
    split.edge.switch(foreign_hosts=True)
    split.edge.edit(SHORT, ca.cloudflare_id, [OLD, OTHER, found])
    split.edge.switch(foreign_hosts=False)
    split.sweep()
    zone = split.zone(SHORT)
    rows = {row.hostname: row for row in passed_over_in(zone)}
    assert {name: (row.approved, row.covered) for name, row in rows.items()} == {
        OLD: (True, True), OTHER: (True, False), found: (False, False),
    }  # fmt: skip
    assert not rows[found].askable
    with pytest.raises(Forbidden):
        ask_removal(by=actor(Role.AUDITOR), zone_id=zone.pk)
    with pytest.raises(NotFound):
        ask_removal(by=split.owner, zone_id=ca.pk)
    with pytest.raises(Invalid) as refusal:
        ask_removal(by=actor(Role.OWNER, teams=(make_team("Strangers"),)), zone_id=zone.pk)
    assert any("Payments owns" in words for words in refusal.value.details["hostnames"])
    (removal,) = ask_removal(by=split.other_engineer, zone_id=zone.pk)
    assert {row.hostname: row.request_id for row in passed_over_in(zone)} == {
        OLD: removal.pk, OTHER: removal.pk, found: None,
    }  # fmt: skip
    with pytest.raises(Conflict):
        ask_removal(by=split.owner, zone_id=zone.pk)


def test_it_is_in_the_way_until_it_is_gone_and_of_no_other_failure(split: World) -> None:
    ca = covered_before(split, "Gone")
    assert in_the_way([]) is None
    request = refused(split, ca)
    (change,) = changes_of(request)
    assert in_the_way([change]) == split.zone(SHORT)
    Plan.objects.filter(pk=change.pk).update(state=Plan.State.SUPERSEDED)
    assert in_the_way(changes_of(request)) is None
    Plan.objects.filter(pk=change.pk).update(state=Plan.State.FAILED)
    (removal,) = ask_removal(by=split.owner, zone_id=split.zone(SHORT).pk)
    assert split.approve(removal).state == "done"
    assert in_the_way(changes_of(request)) is None


def test_healing_puts_nothing_back_where_another_zone_serves_it(split: World) -> None:
    ca = covered_before(split, "Healed")
    set_healing(by=actor(Role.ADMIN), account_id=split.account.pk, enabled=True, reason="Terraform is gone")
    split.edge.edit(SHORT, ca.cloudflare_id, [])
    for _ in range(3):
        split.sweep()
    assert not Plan.objects.filter(healing=True).exists()
    assert split.zone(SHORT).last_error == ""


def test_one_click_on_the_failed_request_asks_for_all_of_it(split: World) -> None:
    ca = covered_before(split, "Clicked", OLD, OTHER)
    assert split.approve(split.ask(ca, OLD)).state == "done"
    request = refused(split, ca)
    (change,) = changes_of(request)
    click = f"/zones/{split.zone(SHORT).pk}/remove-served-elsewhere/"
    owner, auditor = browser(split.owner), browser(actor(Role.AUDITOR))
    pages = (f"/requests/{request.pk}/", f"/changes/{change.pk}/", f"/hostnames/{OLD}/")
    for page in pages:
        html = owner.get(page).content.decode()
        assert f'action="{click}"' in html, page
        assert f"Served by {LONG}, and covered there." in html
        assert f"Served by {LONG}, and not covered there" in html
        assert click not in auditor.get(page).content.decode()
    answer = owner.post(click, {"next": pages[0]})
    removal = CoverageRequest.objects.latest("pk")
    assert answer.headers["Location"] == f"/requests/{removal.pk}/"
    assert sorted(removal.hostnames.values_list("hostname", flat=True)) == [OLD, OTHER]
    html = owner.get(pages[0]).content.decode()
    assert f"REQ-{removal.pk}</a> removes it" in html
    assert click not in html
    answer = owner.post(click, {"next": pages[0]}, follow=True)
    assert "Nothing that a longer zone serves stands" in answer.content.decode()
    assert split.approve(removal).state == "done"
    for page in pages:
        assert "still lists what a longer zone serves" not in owner.get(page).content.decode()


def test_the_page_names_who_has_to_ask_and_what_nobody_approved(split: World) -> None:
    names = [f"h{n:02}.{LONG}" for n in range(21)]
    ca, other = split.upload("All of them"), split.upload("The other")
    assert split.approve(split.ask(ca, *names)).state == "done"
    assert split.approve(split.ask(other, OLD)).state == "done"
    split.edge.edit(SHORT, other.cloudflare_id, [OLD, OTHER])
    lengthen(split)
    split.sweep()
    click, page = f"/zones/{split.zone(SHORT).pk}/remove-served-elsewhere/", f"/hostnames/{OLD}/"
    assert "And 3 more" in browser(split.owner).get(page).content.decode()
    stranger = browser(actor(Role.OWNER, teams=(make_team("Strangers"),)))
    html = stranger.post(click, {"next": page}, follow=True).content.decode()
    assert html.count("Payments owns this hostname") == 5
    assert not CoverageRequest.objects.filter(kind="uncover").exists()
    html = browser(split.owner).post(click, {"next": page}, follow=True).content.decode()
    assert CoverageRequest.objects.filter(kind="uncover").count() == 2
    assert "ask for it. Somebody else approves." in html


def test_a_program_asks_for_it(split: World) -> None:
    covered_before(split, "Program")
    assert split.owner.person is not None
    _, token = create_token(by=split.owner, name="test")
    path, headers = f"/api/v1/zones/{SHORT}/remove-served-elsewhere/", {"Authorization": f"Bearer {token}"}
    answer = Client().post(path, "{}", "application/json", headers=headers)
    assert answer.status_code == 201
    (made,) = answer.json()["requests"]
    assert (made["kind"], [row["hostname"] for row in made["hostnames"]]) == ("uncover", [OLD])
    assert Client().post(path, "{}", "application/json", headers=headers).status_code == 409
