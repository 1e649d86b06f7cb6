"""Breaking the glass helps in the emergencies it is for, and what was approved holds afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.coverage.break_glass import return_due_break_glasses, use_break_glass
from apps.coverage.models import BreakGlass, CoverageRequest
from apps.coverage.progress_services import fail_requests
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.errors import Conflict
from apps.identity.permissions import Role
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile.observe import WORKER
from apps.reconcile.services import retry_zone, withdraw
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World

ZONE, AGAIN = "northwind.example", "again.example"
NAME = f"night.{ZONE}"


def break_glass(world: World, name: str = NAME) -> BreakGlass:
    """Broken, and gone to the edge."""
    responder = actor(Role.RESPONDER)
    broken = use_break_glass(by=responder, account=world.account, hostname=name, reason="Partners are locked out")
    world.run()
    return broken


def returned(world: World, broken: BreakGlass) -> BreakGlass:
    """Its time is up, and its return has gone to the edge."""
    BreakGlass.objects.filter(pk=broken.pk).update(until=timezone.now() - timedelta(seconds=1))
    return_due_break_glasses(by=WORKER)
    world.run()
    broken.refresh_from_db()
    return broken


def asked_for(broken: BreakGlass) -> tuple[CoverageRequest, CoverageRequest]:
    """The requests of the glass and of its return."""
    assert broken.return_request_id is not None
    return request_by_id(broken.request_id), request_by_id(broken.return_request_id)


def covered(world: World, name: str) -> CertificateAuthority:
    """A CA of that name that covers the hostname in block."""
    ca = world.upload(name)
    assert world.approve(world.ask(ca, NAME)).state == "done"
    return ca


def test_it_lets_clients_in_whose_only_ca_was_deleted_outside(world: World) -> None:
    world.delete_outside(covered(world, "Deleted outside"))
    assert world.actions(NAME) == "block"
    broken = returned(world, break_glass(world))
    glass, back = asked_for(broken)
    assert (glass.state, world.actions(NAME)) == ("done", "log")
    assert back.state == "approved" and "would refuse every client" in back.state_reason
    assert world.approve(world.ask(world.upload("In its place"), NAME)).state == "done"
    assert (request_by_id(back.pk).state, world.actions(NAME)) == ("done", "block")


def test_it_returns_though_one_of_two_cas_was_deleted_outside(world: World) -> None:
    first, _ = covered(world, "First"), covered(world, "Second")
    broken = break_glass(world)
    world.delete_outside(first)
    _, back = asked_for(returned(world, broken))
    assert (back.state, world.actions(NAME)) == ("done", "block")


def test_it_ends_though_the_newest_ca_never_reached_the_edge(world: World) -> None:
    covered(world, "First")
    second = world.upload("Second")
    stop = stop_writes(by=SETUP, reason="Incident")
    cover = world.approve(world.ask(second, NAME))
    fail_requests(by=WORKER, request_ids=[cover.pk], why="Refused by Cloudflare")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    broken = break_glass(world)
    assert (request_by_id(broken.request_id).state, world.actions(NAME)) == ("done", "log")
    _, back = asked_for(returned(world, broken))
    assert (back.state, world.actions(NAME)) == ("done", "block")


def test_a_removal_that_goes_with_it_ends_it(world: World) -> None:
    removal = world.ask(covered(world, "First"), NAME, kind="uncover", mode="verify")
    stop = stop_writes(by=SETUP, reason="Incident")
    broken = break_glass(world)
    assert world.approve(removal).state == "approved"
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    assert (request_by_id(removal.pk).state, world.actions(NAME)) == ("done", "")
    assert request_by_id(broken.request_id).state == "done"


def test_log_that_was_asked_for_before_and_approved_while_it_lasts_stays(world: World) -> None:
    asked = world.ask(covered(world, "First"), NAME, mode="log")
    broken = break_glass(world)
    assert world.approve(asked).state == "done"
    assert returned(world, broken).return_request_id is None
    assert world.actions(NAME) == "log"


@pytest.mark.parametrize("ends", ["failed", "out of date"])
def test_it_returns_though_log_was_approved_that_nothing_came_of(world: World, ends: str) -> None:
    ca = covered(world, "First")
    asked = world.ask(ca, NAME, f"other.{ZONE}", mode="log")
    broken = break_glass(world)
    plan = current_plan(asked)
    assert plan is not None
    approve_request(by=world.engineer, request_id=asked.pk, digest=plan.digest)
    if ends == "failed":
        fail_requests(by=WORKER, request_ids=[asked.pk], why="Refused by Cloudflare")
    else:
        world.edge.edit(ZONE, ca.cloudflare_id, [NAME, f"foreign.{ZONE}"])
        world.sweep()
    assert request_by_id(asked.pk).state == ("failed" if ends == "failed" else "stale")
    returned(world, broken)
    assert world.actions(NAME) == "block"


def test_it_goes_though_log_that_was_approved_before_it_went_fails(world: World) -> None:
    asked = world.ask(covered(world, "First"), NAME, mode="log")
    stop = stop_writes(by=SETUP, reason="Incident")
    broken = break_glass(world)
    assert world.approve(asked).state == "approved"
    fail_requests(by=WORKER, request_ids=[asked.pk], why="Refused by Cloudflare")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    assert (request_by_id(broken.request_id).state, world.actions(NAME)) == ("done", "log")
    returned(world, broken)
    assert world.actions(NAME) == "block"


@pytest.mark.parametrize("when", ["while it lasts", "afterwards"])
def test_log_that_failed_and_is_tried_again_is_done_as_approved(world: World, when: str) -> None:
    asked = world.ask(covered(world, "First"), NAME, mode="log")
    broken = break_glass(world)
    plan = current_plan(asked)
    assert plan is not None
    approve_request(by=world.engineer, request_id=asked.pk, digest=plan.digest)
    fail_requests(by=WORKER, request_ids=[asked.pk], why="Refused by Cloudflare")
    if when == "afterwards":
        returned(world, broken)
        assert world.actions(NAME) == "block"
    retry_zone(by=world.engineer, zone_id=world.zone().pk)
    world.run()
    if when != "afterwards":
        returned(world, broken)
    assert (request_by_id(asked.pk).state, world.actions(NAME)) == ("done", "log")


def test_log_for_another_ca_decides_nothing_about_block(world: World) -> None:
    covered(world, "First")
    asked = world.ask(world.upload("Second"), NAME, mode="log")
    broken = break_glass(world)
    assert world.approve(asked).state == "done"
    returned(world, broken)
    assert world.actions(NAME) == "block"


def test_verify_that_is_on_its_way_is_not_taken_back(world: World) -> None:
    asked = world.ask(covered(world, "First"), NAME, mode="verify")
    stop = stop_writes(by=SETUP, reason="Incident")
    assert world.approve(asked).state == "approved"
    with pytest.raises(Conflict, match="to verify already"):
        break_glass(world)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    assert (request_by_id(asked.pk).state, world.actions(NAME)) == ("done", "")


def test_it_is_broken_in_the_zone_that_is_listed(world: World) -> None:
    name = f"night.{AGAIN}"
    world.edge.add_zone(AGAIN)
    ca = world.upload("Again")
    assert world.approve(world.ask(ca, name)).state == "done"
    world.edge.remove_zone(AGAIN)
    world.run_account()
    world.edge.add_zone(AGAIN)
    world.run_account()
    assert world.approve(world.ask(ca, name)).state == "done"
    break_glass(world, name)
    seen = world.actions(name, AGAIN)
    world.edge.remove_zone(AGAIN)
    assert seen == "log"


@pytest.mark.parametrize("ends", ["failed", "called off", "sent"])
def test_it_works_while_a_removal_from_the_last_ca_stands_still(world: World, ends: str) -> None:
    ca = covered(world, "First")
    stop = stop_writes(by=SETUP, reason="Incident")
    removal = world.approve(world.ask(ca, NAME, kind="uncover", mode="verify"))
    if ends == "failed":
        fail_requests(by=WORKER, request_ids=[removal.pk], why="Refused by Cloudflare")
        lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
        world.run()
    assert world.actions(NAME) == "block"
    broken = break_glass(world)
    assert world.actions(NAME) == ("log" if ends == "failed" else "block")
    returned(world, broken)
    if ends == "called off":
        withdraw(by=world.owner, request_id=removal.pk)
    if ends != "failed":
        lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
        world.run()
    assert world.actions(NAME) == ("" if ends == "sent" else "block")
    assert {row.state for row in asked_for(BreakGlass.objects.get())} == {"done"}


@pytest.mark.parametrize(
    ("mode", "match", "code"), [("verify", {"method": "PUT"}, 1400), ("block", {"query": "dry_run", "nth": 2}, 20127)]
)
def test_what_cloudflare_refuses_of_others_does_not_take_it_along(
    world: World, mode: str, match: dict[str, Any], code: int
) -> None:
    """The second rule that is tried is the other's. In one plan with the glass its refusal would keep both back."""
    ca = covered(world, "First")
    stop = stop_writes(by=SETUP, reason="Incident")
    other = world.ask(ca, f"refused.{ZONE}", mode=mode)
    assert world.approve(other).state == "approved"
    broken = break_glass(world)
    world.edge.fault("status", match, status=400, code=code, message="refused")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    met = world.edge.faults_left() == 0
    world.edge.clear_faults()
    assert (met, request_by_id(other.pk).state, world.actions(NAME)) == (True, "failed", "log")
    world.sweep()
    assert request_by_id(broken.request_id).state == "done"
