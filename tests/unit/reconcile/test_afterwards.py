"""An approval means what its plan said: what was approved or changed meanwhile puts the plan out of date first."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.coverage.break_glass import return_due_break_glasses, use_break_glass
from apps.coverage.models import BreakGlass, CoverageRequest, RequestPlan
from apps.coverage.selectors import current_plan, may_approve, request_by_id
from apps.errors import Conflict
from apps.identity.permissions import Role
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile.observe import WORKER
from apps.reconcile.services import rebuild_plan, withdraw
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
SECOND_ZONE = "northwind-pay.example"
NAME, OTHER = f"both.{ZONE}", f"other.{ZONE}"


def on_two_cas(world: World, *names: str, mode: str = "block") -> tuple[CertificateAuthority, CertificateAuthority]:
    """Two CAs whose lists at the edge hold these hostnames in this mode."""
    cas = world.upload("First"), world.upload("Second")
    for ca in cas:
        assert world.approve(world.ask(ca, *(names or (NAME,)), mode=mode)).state == "done"
    return cas


def uncover(world: World, ca: CertificateAuthority, *names: str) -> CoverageRequest:
    return world.ask(ca, *(names or (NAME,)), kind="uncover", mode="verify")


def is_on(world: World, ca: CertificateAuthority, name: str = NAME) -> bool:
    return name in world.edge.hostnames(ZONE, ca.cloudflare_id)


def is_blocked(world: World, name: str = NAME) -> bool:
    ours = [rule for rule in world.edge.rules(ZONE) if rule["ref"].startswith("byoca-") and rule["action"] == "block"]
    return any(f'"{name}"' in rule["expression"] for rule in ours)


def refused(world: World, request: CoverageRequest) -> str:
    """Why this approval is refused. The plan is out of date then, says why, and nothing of it is approved."""
    with pytest.raises(Conflict) as conflict:
        world.approve(request)
    assert conflict.value.code == "stale_plan"
    now, plan = request_by_id(request.pk), current_plan(request_by_id(request.pk))
    assert plan is not None
    assert (now.state, now.approvals.count()) == ("stale", 0)
    assert conflict.value.message == f"{plan.outdated_reason} Rebuild the plan, then review it again."
    assert may_approve(world.engineer, now) == (False, conflict.value.message)
    with pytest.raises(Conflict, match="As things are now"):
        world.approve(request)
    return plan.outdated_reason


def stopped(world: World) -> int:
    return stop_writes(by=SETUP, reason="Incident", zone_id=world.zone().pk).pk


def lifted(world: World, stop: int) -> None:
    lift_stop(by=SETUP, stop_id=stop, reason="Over")
    world.run()


def test_of_two_removals_that_each_keep_the_other_ca_one_is_planned_anew(world: World) -> None:
    first, second = on_two_cas(world)
    one, two = uncover(world, first), uncover(world, second)
    assert world.approve(one).state == "done"
    why = refused(world, two)
    assert f"{NAME} would lose its check and would be in verify instead of block." in why
    world.run()
    assert is_on(world, second) and is_blocked(world)
    plan = current_plan(rebuild_plan(by=world.owner, request_id=two.pk))
    assert plan is not None
    assert plan.document["loses_check"] == [NAME]
    assert world.approve(two).state == "done"
    assert not is_on(world, second) and not is_blocked(world)


def test_so_it_is_when_nothing_of_the_first_was_sent_yet(world: World) -> None:
    names = [f"{letter}.{ZONE}" for letter in "abcd"]
    first, second = on_two_cas(world, *names)
    one, two = uncover(world, first, *names), uncover(world, second, *names)
    stop = stopped(world)
    assert world.approve(one).state == "approved"
    assert refused(world, two).endswith("; and 1 more.")
    lifted(world, stop)
    assert request_by_id(one.pk).state == "done"
    assert all(is_on(world, second, name) and is_blocked(world, name) for name in names)


def test_a_mode_that_was_to_stay_is_not_written_weaker(world: World) -> None:
    first, second = world.upload("First"), world.upload("Second")
    assert world.approve(world.ask(first, NAME, mode="block")).state == "done"
    beside = world.ask(second, NAME, mode="log")
    assert world.approve(world.ask(first, NAME, mode="log")).state == "done"
    assert f"{NAME} would be in log instead of block." in refused(world, beside)


def test_a_removal_after_which_the_hostname_would_stay_is_planned_anew_too(world: World) -> None:
    first, second = world.upload("First"), world.upload("Second")
    assert world.approve(world.ask(first, NAME, mode="block")).state == "done"
    removal = uncover(world, first)
    assert world.approve(world.ask(second, NAME, mode="block")).state == "done"
    assert f"{NAME} would stay with another CA and would be in block instead of verify." in refused(world, removal)


def test_what_comes_as_it_was_said_is_approved_though_other_changes_came_first(world: World) -> None:
    first, second = world.upload("First"), world.upload("Second")
    stop = stopped(world)
    one = world.ask(first, NAME, OTHER, mode="block")
    world.approve(one)
    two = world.ask(second, NAME, mode="block")
    effects = {effect["operation"] for effect in two.plans.get().document["effects"]}
    assert effects == {"associate", "enforce"}, "the first is in it: it is not at the edge yet"
    lifted(world, stop)
    assert request_by_id(one.pk).state == "done"
    assert world.approve(uncover(world, first, OTHER)).state == "done"
    assert world.approve(two).state == "done"
    assert is_on(world, first) and is_on(world, second) and is_blocked(world)


def test_a_broken_glass_makes_no_plan_untrue(world: World) -> None:
    first, second = on_two_cas(world)
    before = uncover(world, first)
    responder = actor(Role.RESPONDER)
    use_break_glass(by=responder, account=world.account, hostname=NAME, reason="Partners are locked out")
    world.run()
    assert world.approve(before).state == "done"
    assert is_on(world, second) and not is_blocked(world)
    meanwhile = world.ask(first, NAME, mode="log")
    BreakGlass.objects.update(until=timezone.now() - timedelta(seconds=1))
    return_due_break_glasses(by=WORKER)
    world.run()
    assert world.approve(meanwhile).state == "done"
    assert is_on(world, first) and is_blocked(world)


def test_a_plan_from_before_plans_said_what_comes_of_each_hostname_goes_on_as_it_did(world: World) -> None:
    request = world.ask(world.upload("First"), NAME)
    plan = RequestPlan.objects.get(request=request)
    del plan.document["afterwards"]
    plan.save()
    assert world.approve(request).state == "done"


def test_an_approved_removal_is_void_once_the_other_list_was_emptied_outside(world: World) -> None:
    first, second = on_two_cas(world, mode="verify")
    removal, beside = uncover(world, first), world.ask(first, OTHER, mode="verify")
    stop = stopped(world)
    for request in (removal, beside):
        assert world.approve(request).state == "approved"
    world.edge.edit(ZONE, second.cloudflare_id, [])
    lifted(world, stop)
    void = request_by_id(removal.pk)
    assert (void.state, request_by_id(beside.pk).state) == ("stale", "done")
    assert f"{NAME} would lose its check." in void.state_reason
    assert is_on(world, first) and is_on(world, first, OTHER)


def test_it_is_void_when_what_it_counted_on_is_called_off(world: World) -> None:
    first, second = world.upload("First"), world.upload("Second")
    assert world.approve(world.ask(first, NAME, mode="verify")).state == "done"
    stop = stopped(world)
    joining = world.ask(second, NAME, mode="block")
    world.approve(joining)
    removal = uncover(world, first)
    assert world.approve(removal).state == "approved"
    withdraw(by=world.owner, request_id=joining.pk)
    lifted(world, stop)
    void = request_by_id(removal.pk)
    assert void.state == "stale"
    assert f"{NAME} would lose its check and would be in verify instead of block." in void.state_reason
    assert is_on(world, first)


def test_a_later_approval_that_knew_of_it_voids_nothing(world: World) -> None:
    first, second = on_two_cas(world)
    stop = stopped(world)
    one = uncover(world, first)
    world.approve(one)
    two = uncover(world, second)
    assert two.plans.get().document["loses_check"] == [NAME]
    world.approve(two)
    lifted(world, stop)
    assert (request_by_id(one.pk).state, request_by_id(two.pk).state) == ("done", "done")
    assert not is_on(world, first) and not is_on(world, second) and not is_blocked(world)


def test_what_has_begun_to_be_sent_is_not_void_any_more(world: World) -> None:
    first, second = on_two_cas(world, mode="verify")
    removal = uncover(world, first)
    world.edge.fault("status", {"method": "PUT"}, status=500)
    assert world.approve(removal).state == "applying"
    world.edge.edit(ZONE, second.cloudflare_id, [])
    world.edge.clear_faults()
    world.sweep()
    assert request_by_id(removal.pk).state == "done"
    assert not is_on(world, first)


def test_in_a_zone_to_which_nothing_went_it_is_void_though_another_has_its_part(world: World) -> None:
    there = f"both.{SECOND_ZONE}"
    first, second = on_two_cas(world, NAME, there, mode="verify")
    removal = uncover(world, first, NAME, there)
    stop = stopped(world)
    assert world.approve(removal).state == "applying"
    world.edge.edit(ZONE, second.cloudflare_id, [])
    lifted(world, stop)
    void = request_by_id(removal.pk)
    assert void.state == "stale"
    assert f"{NAME} would lose its check." in void.state_reason
    assert f"What was sent to {SECOND_ZONE} stays." in void.state_reason
    assert is_on(world, first)
    assert there not in world.edge.hostnames(SECOND_ZONE, first.cloudflare_id)
