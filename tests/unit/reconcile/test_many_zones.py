"""Planning a request over more zones than one try can read: each try goes on from the one before it."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest, RequestPlan
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import create_request
from apps.errors import EdgeFault
from apps.inventory.models import EdgeList, Zone
from apps.reconcile import services
from apps.reconcile.models import Plan
from apps.reconcile.services import plan_waiting_requests, rebuild_plan
from tests.unit.reconcile.conftest import World

FIRST, SECOND = "northwind-pay.example", "northwind.example"
NAMES = (f"api.{FIRST}", f"api.{SECOND}")


def unplanned(world: World, ca: CertificateAuthority, *names: str) -> CoverageRequest:
    """As if the page that sent it had gone away before it was planned."""
    return create_request(
        by=world.owner, kind="cover", ca=ca, mode="log", text="\n".join(names or NAMES), reason="Launch"
    )


def read(world: World, since: int) -> set[str]:
    """Zones whose lists were read since then."""
    calls = [row for row in world.edge.requests(since) if row["method"] == "GET" and "hostname_assoc" in row["path"]]
    return {name for name in (FIRST, SECOND) if any(world.edge.zones[name] in row["path"] for row in calls)}


def planned_after_a_try_that_read_one_zone(world: World, ca: CertificateAuthority) -> tuple[CoverageRequest, int]:
    """The second zone cannot be read in the first try. Returns the number of the last call of it, too."""
    request = unplanned(world, ca)
    fault = {"fault": "status", "status": 503}
    world.edge.faults({"match": {"zone": SECOND, "method": "GET", "times": None}, "do": fault})
    plan_waiting_requests(world.account.pk)
    world.edge.clear_faults()
    assert request_by_id(request.pk).state == "planning"
    CoverageRequest.objects.update(plan_next_at=None)
    return request, world.edge.last_seq()


def test_what_a_try_has_read_the_next_one_does_not_read_again(world: World) -> None:
    ca = world.upload("Goes on")
    world.edge.edit(FIRST, ca.cloudflare_id, [f"there.{FIRST}"])
    rule = {"ref": "byoca-log-0", "action": "log", "enabled": True, "description": "",
            "expression": f'(http.host in {{"there.{FIRST}"}})'}  # fmt: skip
    world.edge.add_rule(FIRST, rule)
    request, since = planned_after_a_try_that_read_one_zone(world, ca)
    plan_waiting_requests(world.account.pk)
    assert (request_by_id(request.pk).state, read(world, since)) == ("waiting", {SECOND})
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    zones = {row["zone"]: row for row in plan.document["zones"]}
    assert zones[FIRST]["lists"][0]["before"] == [f"there.{FIRST}"]
    assert {row["dry_run"]["outcome"] for row in zones.values()} == {"accepted"}
    assert world.approve(request).state == "done"


@pytest.mark.parametrize("why", ["change under way", "list never read", "failing", "old"])
def test_a_reading_that_may_not_be_what_is_there_is_not_used_again(world: World, why: str) -> None:
    ca = world.upload("Reads anew")
    _request, since = planned_after_a_try_that_read_one_zone(world, ca)
    zone = world.zone(FIRST)
    if why == "change under way":
        Plan.objects.create(
            zone=zone, state=Plan.State.APPLYING, number=999, digest="d", base="b", document={}, request_ids=[]
        )
    elif why == "list never read":
        EdgeList.objects.filter(zone=zone, ca_cloudflare_id=ca.cloudflare_id).delete()
    elif why == "failing":
        Zone.objects.filter(pk=zone.pk).update(failing_since=timezone.now())
    else:
        CoverageRequest.objects.update(created_at=timezone.now())
    plan_waiting_requests(world.account.pk)
    assert read(world, since) == {FIRST, SECOND}


def test_no_plan_is_kept_when_a_zone_changed_after_its_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = world.upload("Overtaken")
    request, _ = planned_after_a_try_that_read_one_zone(world, ca)
    tried = services.trial_of

    def then_a_sweep(*args: Any) -> Any:
        monkeypatch.setattr(services, "trial_of", tried)
        world.edge.edit(FIRST, ca.cloudflare_id, [f"x.{FIRST}"])
        world.sweep()
        return tried(*args)

    monkeypatch.setattr(services, "trial_of", then_a_sweep)
    plan_waiting_requests(world.account.pk)
    late = request_by_id(request.pk)
    assert (late.state, f"{FIRST} changed while the plan was made" in late.state_reason) == ("planning", True)
    CoverageRequest.objects.update(plan_next_at=None)
    plan_waiting_requests(world.account.pk)
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    assert plan.document["zones"][0]["lists"][0]["before"] == [f"x.{FIRST}"]


def test_a_try_that_has_no_time_left_goes_on_later_and_lets_others_go_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = world.upload("Takes long")
    request, _ = planned_after_a_try_that_read_one_zone(world, ca)
    monkeypatch.setattr(services, "PLAN_FOR_S", -1.0)
    plan_waiting_requests(world.account.pk)
    waits = request_by_id(request.pk)
    assert (waits.state, waits.state_reason.split(".")[0]) == ("planning", "1 of 2 zones are read")
    assert waits.plan_next_at is not None
    monkeypatch.undo()
    other = unplanned(world, ca, f"other.{SECOND}")
    plan_waiting_requests(world.account.pk)
    assert request_by_id(other.pk).state == "waiting"
    CoverageRequest.objects.update(plan_next_at=None)
    monkeypatch.setattr(services, "PLAN_FOR_S", -1.0)
    plan_waiting_requests(world.account.pk)
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None, "all of it was read by then"
    assert {row["dry_run"]["outcome"] for row in plan.document["zones"]} == {"not_tried"}


def test_a_run_that_is_cut_off_for_its_length_puts_the_request_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = unplanned(world, world.upload("Cut off"))

    def too_long(*_args: Any) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(services, "read_zone", too_long)
    with pytest.raises(SoftTimeLimitExceeded):
        plan_waiting_requests(world.account.pk)
    waits = request_by_id(request.pk)
    assert (waits.state, waits.plan_next_at is not None) == ("planning", True)
    assert "goes on by itself" in waits.state_reason


def test_a_rebuild_that_was_cut_off_goes_on_from_what_was_read_since_the_old_plan_went_out_of_date(
    world: World,
) -> None:
    ca = world.upload("Rebuilt")
    request = world.ask(ca, *NAMES)
    world.edge.edit(SECOND, ca.cloudflare_id, [f"foreign.{SECOND}"])
    world.sweep()
    assert request_by_id(request.pk).state == "stale"
    RequestPlan.objects.update(outdated_at=timezone.now())
    fault = {"fault": "status", "status": 503}
    world.edge.faults({"match": {"zone": SECOND, "method": "GET", "times": None}, "do": fault})
    with pytest.raises(EdgeFault):
        rebuild_plan(by=world.owner, request_id=request.pk)
    world.edge.clear_faults()
    since = world.edge.last_seq()
    plan = current_plan(rebuild_plan(by=world.owner, request_id=request.pk))
    assert plan is not None
    zones = {row["zone"]: row["lists"][0]["before"] for row in plan.document["zones"]}
    assert (zones, read(world, since)) == ({FIRST: [], SECOND: [f"foreign.{SECOND}"]}, {SECOND})


def test_another_plan_beside_a_good_one_is_made_from_the_edge_of_this_moment(world: World) -> None:
    request = world.ask(world.upload("Anew"), *NAMES)
    since = world.edge.last_seq()
    rebuild_plan(by=world.owner, request_id=request.pk)
    assert read(world, since) == {FIRST, SECOND}


def test_trying_again_what_has_no_plan_goes_on_and_keeps_why_there_is_none(world: World) -> None:
    request, since = planned_after_a_try_that_read_one_zone(world, world.upload("Try now"))
    world.edge.fault("status", {"zone": SECOND, "method": "GET"}, status=503)
    asked = rebuild_plan(by=world.owner, request_id=request.pk)
    assert (asked.state, "fault (503)" in asked.state_reason) == ("planning", True)
    asked = rebuild_plan(by=world.owner, request_id=request.pk)
    assert (asked.state, read(world, since)) == ("waiting", {SECOND})
