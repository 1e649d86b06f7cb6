"""Healing puts back what is approved and missing, where it is switched on; it only adds, and gives up in a fight."""

from __future__ import annotations

import pytest

from apps.audit.models import AuditEvent
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.errors import Forbidden, Invalid
from apps.identity.permissions import Role
from apps.inventory.limits import set_limits
from apps.inventory.services import set_healing
from apps.inventory.stops import stop_writes
from apps.reconcile.drift_services import ignore_drift
from apps.reconcile.healing import fought_over
from apps.reconcile.models import Plan
from apps.reconcile.selectors import drift_open
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_drift_decisions import NAME, OTHER, Covered


@pytest.fixture
def covered(world: World) -> Covered:
    return Covered(world)


@pytest.fixture
def healing(covered: Covered) -> Covered:
    switch(covered.world, True)
    return covered


def switch(world: World, enabled: bool) -> None:
    world.account = set_healing(
        by=actor(Role.ADMIN), account_id=world.account.pk, enabled=enabled, reason="Terraform is gone"
    )
    world.run()


def test_only_an_administrator_switches_it_with_a_reason(covered: Covered) -> None:
    account = covered.world.account
    assert account.heal_missing is False
    with pytest.raises(Forbidden):
        set_healing(by=covered.world.engineer, account_id=account.pk, enabled=True, reason="x")
    with pytest.raises(Invalid):
        set_healing(by=actor(Role.ADMIN), account_id=account.pk, enabled=True, reason=" ")
    switch(covered.world, True)
    event = AuditEvent.objects.get(action="account:healing_set")
    assert (event.reason, event.after) == ("Terraform is gone", {"heal_missing": True})


def test_what_is_missing_in_two_reads_is_put_back_and_nothing_else_is_touched(healing: Covered) -> None:
    world = healing.world
    rule = healing.rule()
    world.edge.edit_rule("northwind.example", str(rule["id"]), action="log")
    healing.lose(OTHER, "new.northwind.example")
    assert healing.listed() == [OTHER, "new.northwind.example"]
    world.sweep()
    assert healing.listed() == [NAME, OTHER, "new.northwind.example"]
    assert healing.rule()["action"] == "log"
    kinds = {(row.kind, row.hostname) for row in drift_open(world.account)}
    assert ("unexpected", "new.northwind.example") in kinds
    assert not {kind for kind, _ in kinds} & {"missing"}
    plan = Plan.objects.get(healing=True)
    assert (plan.state, plan.request_ids) == ("applied", [])
    stored = AuditEvent.objects.get(action="plan:stored", subject_id=str(plan.pk))
    assert stored.details["healing"] is True


def test_it_stays_away_while_it_is_off_stopped_or_set_aside(healing: Covered) -> None:
    world = healing.world
    switch(world, False)
    healing.lose(OTHER)
    world.sweep()
    assert (healing.listed(), fought_over(world.account)) == ([OTHER], [])
    (row,) = drift_open(world.account, kind="missing")
    ignore_drift(by=world.engineer, account=world.account, drift_ids=[row.pk], reason="Known")
    switch(world, True)
    world.sweep()
    assert healing.listed() == [OTHER]
    row.ignores.all().delete()
    stop_writes(by=world.engineer, reason="Odd")
    world.sweep()
    assert healing.listed() == [OTHER]


def test_a_removal_that_waits_for_an_override_keeps_nothing_else_from_being_put_back(world: World) -> None:
    set_limits(by=SETUP, zone_id=world.zone().pk, limits={"few": 1}, reason="A small zone")
    ca, other = world.upload("Partners"), world.upload("Others")
    names = [f"h{n}.northwind.example" for n in range(4)]
    assert world.approve(world.ask(ca, *names, mode="verify")).state == "done"
    assert world.approve(world.ask(other, NAME, OTHER, mode="verify")).state == "done"
    world.edge.edit("northwind.example", ca.cloudflare_id, names[1:])
    world.sweep()
    request = world.ask(ca, *names[:3], kind="uncover")
    plan = current_plan(request)
    assert plan is not None
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest, confirm=plan.document["confirm"])
    world.run()
    assert request_by_id(request.pk).waits_for
    switch(world, True)
    world.edge.edit("northwind.example", other.cloudflare_id, [OTHER])
    world.sweep()
    world.sweep()
    assert sorted(world.edge.hostnames("northwind.example", other.cloudflare_id)) == [NAME, OTHER]
    assert sorted(world.edge.hostnames("northwind.example", ca.cloudflare_id)) == names[1:], (
        "it is to go, so it stays away"
    )
    assert [plan.state for plan in Plan.objects.filter(healing=True)] == ["applied"]
    assert request_by_id(request.pk).waits_for


def test_after_three_times_within_the_hour_it_stops_and_says_so(healing: Covered) -> None:
    world = healing.world
    for _ in range(3):
        healing.lose(OTHER)
        world.sweep()
        assert healing.listed() == [NAME, OTHER]
    healing.lose(OTHER)
    world.sweep()
    world.sweep()
    assert healing.listed() == [OTHER]
    event = AuditEvent.objects.get(action="healing:stopped")
    assert event.details["ca_cloudflare_id"] == healing.ca.cloudflare_id
    assert fought_over(world.account) == [(world.zone(), healing.ca.cloudflare_id)]
    Plan.objects.filter(healing=True).update(created_at=event.at.replace(year=2020))
    world.sweep()
    assert (healing.listed(), fought_over(world.account)) == ([NAME, OTHER], [])
