"""Submitting, planning again, retrying: what pages and API ask of the reconciler."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.coverage.closing_services import reject_request
from apps.coverage.models import CoverageRequest, RequestPlan
from apps.coverage.progress_services import fail_requests
from apps.coverage.selectors import request_by_id
from apps.errors import Conflict, Forbidden, NotFound, PortalError
from apps.identity.permissions import Role
from apps.inventory.models import Account, Zone
from apps.inventory.services import replace_token
from apps.reconcile.observe import WORKER
from apps.reconcile.services import plan_request, plan_waiting_requests, rebuild_plan, retry_zone
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World


def actions_about(world: World, zone: str) -> list[str]:
    return list(AuditEvent.objects.filter(zone=zone).order_by("seq").values_list("action", flat=True))


def test_a_request_is_planned_from_a_fresh_read_and_done_once_the_edge_shows_it(world: World) -> None:
    ca = world.upload("Planned")
    request = world.ask(ca, "api.northwind.example")
    assert request.state == "waiting"
    plan = RequestPlan.objects.get(request=request)
    assert [row["after"] for row in plan.document["zones"][0]["lists"]] == [["api.northwind.example"]]
    assert world.approve(request).state == "done"
    assert world.edge.hostnames("northwind.example", ca.cloudflare_id) == ["api.northwind.example"]
    assert world.edge.violations() == []


def test_rules_that_the_portal_wrote_are_not_taken_for_somebody_elses(world: World) -> None:
    ca = world.upload("Own rules")
    world.approve(world.ask(ca, "api.northwind.example"))
    world.sweep()
    assert "edge:rule_changed_outside" not in actions_about(world, "northwind.example")
    (ours,) = [rule for rule in world.edge.rules("northwind.example") if rule["ref"].startswith("byoca-")]
    world.edge.edit_rule("northwind.example", ours["ref"], enabled=False)
    world.sweep()
    assert actions_about(world, "northwind.example").count("edge:rule_changed_outside") == 1


def test_a_request_waits_for_an_edge_that_is_down_and_is_planned_when_it_is_back(world: World) -> None:
    ca = world.upload("Waiting")
    world.edge.switch(down=True)
    request = world.ask(ca, "late.northwind.example")
    other = world.ask(ca, "later.northwind.example")
    assert {request.state, other.state} == {"planning"}
    assert Zone.objects.get(pk=world.zone().pk).last_error != ""
    plan_waiting_requests(world.account.pk)
    assert CoverageRequest.objects.filter(state="planning").count() == 2
    world.edge.switch(down=False)
    plan_waiting_requests(world.account.pk)
    assert CoverageRequest.objects.filter(state="waiting").count() == 2
    assert Zone.objects.get(pk=world.zone().pk).last_error == ""


def refused_at_its_zone(world: World) -> CoverageRequest:
    """A request in a zone that Cloudflare does not let the portal read any more, before the next listing says so."""
    ca = world.upload("Unplannable")
    world.edge.add_zone("leaving.example")
    world.run_account()
    world.edge.remove_zone("leaving.example")
    request = world.ask(ca, "api.leaving.example")
    assert request.state == "planning"
    return request


def test_a_request_that_cannot_be_planned_says_why_and_holds_up_no_other(world: World) -> None:
    first = refused_at_its_zone(world)
    assert first.state_reason
    assert AuditEvent.objects.get(action="request:not_planned").after["why"] == first.state_reason
    world.edge.switch(down=True)
    second = world.ask(first.ca, "late.northwind.example")
    world.edge.switch(down=False)
    plan_waiting_requests(world.account.pk)
    assert request_by_id(first.pk).state == "planning"
    second = request_by_id(second.pk)
    assert (second.state, second.state_reason) == ("waiting", "")
    assert AuditEvent.objects.filter(action="request:not_planned", subject_id=first.pk).count() == 1


def test_what_cannot_be_planned_is_tried_less_and_less_often(world: World) -> None:
    request = refused_at_its_zone(world)
    assert request.plan_next_at is None, "a fresh one is tried at each look"
    now = timezone.now()
    CoverageRequest.objects.filter(pk=request.pk).update(created_at=now - timedelta(minutes=10))
    plan_waiting_requests(world.account.pk)
    waits = request_by_id(request.pk).plan_next_at
    assert waits is not None
    assert timedelta(minutes=10) <= waits - now < timedelta(minutes=15)
    calls = len(world.edge.requests())
    plan_waiting_requests(world.account.pk)
    assert len(world.edge.requests()) == calls
    long_ago = now - timedelta(days=9)
    CoverageRequest.objects.filter(pk=request.pk).update(created_at=long_ago, plan_next_at=now)
    plan_waiting_requests(world.account.pk)
    waits = request_by_id(request.pk).plan_next_at
    assert waits is not None
    assert waits - now < timedelta(minutes=65)


def test_an_outage_is_looked_at_more_often_and_without_a_connection_only_one_is_tried(world: World) -> None:
    ca = world.upload("Outage")
    world.edge.switch(down=True)
    request, other = world.ask(ca, "late.northwind.example"), world.ask(ca, "later.northwind.example")
    now = timezone.now()
    CoverageRequest.objects.update(created_at=now - timedelta(hours=9))
    plan_waiting_requests(world.account.pk)
    waits = request_by_id(request.pk).plan_next_at
    assert waits is not None
    assert waits - now < timedelta(minutes=4)
    Account.objects.update(base_url="http://127.0.0.1:9/client/v4")
    CoverageRequest.objects.update(plan_next_at=None, state_reason="")
    plan_waiting_requests(world.account.pk)
    asked, second = request_by_id(request.pk), request_by_id(other.pk)
    assert asked.state_reason
    assert (asked.plan_next_at, second.state_reason) == (None, ""), "the second would not have fared better"


def test_a_plan_that_stands_already_is_not_replaced_by_a_late_first_one(world: World) -> None:
    ca = world.upload("First only")
    request = world.ask(ca, "api.northwind.example")
    assert plan_request(request.pk, by=WORKER, first_only=True).number == 1
    assert RequestPlan.objects.filter(request=request).count() == 1


def test_a_plan_is_rebuilt_by_its_requester_or_a_reviewer_until_it_is_decided(world: World) -> None:
    ca = world.upload("Rebuilt")
    request = world.ask(ca, "api.northwind.example")
    for number, person in ((2, world.owner), (3, world.engineer)):
        rebuild_plan(by=person, request_id=request.pk)
        assert RequestPlan.objects.filter(request=request).latest("number").number == number
    with pytest.raises(Forbidden):
        rebuild_plan(by=actor(Role.AUDITOR), request_id=request.pk)
    reject_request(by=world.engineer, request_id=request.pk, comment="Not now")
    with pytest.raises(Conflict):
        rebuild_plan(by=world.owner, request_id=request.pk)


def test_a_rebuild_says_that_the_edge_does_not_answer(world: World) -> None:
    ca = world.upload("Silent")
    request = world.ask(ca, "api.northwind.example")
    world.edge.switch(down=True)
    with pytest.raises(PortalError):
        rebuild_plan(by=world.owner, request_id=request.pk)
    assert RequestPlan.objects.filter(request=request).count() == 1


def test_failed_requests_of_a_zone_are_tried_again_on_demand(world: World) -> None:
    ca = world.upload("Retried")
    request = world.ask(ca, "api.northwind.example")
    world.edge.switch(down=True)
    world.approve(request)
    fail_requests(by=WORKER, request_ids=[request.pk], why="The edge was down for too long.")
    world.edge.switch(down=False)
    retry_zone(by=world.engineer, zone_id=world.zone().pk)
    world.run()
    request.refresh_from_db()
    assert request.state == "done"
    with pytest.raises(NotFound):
        retry_zone(by=world.engineer, zone_id=ca.pk)


def test_a_revoked_token_stops_the_account_and_is_named_until_another_one_works(world: World) -> None:
    ca = world.upload("Revoked")
    request = world.ask(ca, "api.northwind.example")
    world.edge.revoke_token()
    world.approve(request)
    request.refresh_from_db()
    world.account.refresh_from_db()
    assert request.state == "approved", "nothing is lost, nothing is called failed"
    assert world.account.token_state == "broken"
    assert "token" in world.account.last_error.lower()
    world.edge.revoke_token(revoked=False)
    replace_token(by=SETUP, account_id=world.account.pk, token=world.edge.token)
    world.run()
    request.refresh_from_db()
    world.account.refresh_from_db()
    assert (request.state, world.account.token_state) == ("done", "working")
