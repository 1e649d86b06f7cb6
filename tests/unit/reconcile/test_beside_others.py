"""What one request or one CA cannot do keeps nothing from another."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.coverage.break_glass import use_break_glass
from apps.coverage.selectors import request_by_id
from apps.identity.permissions import Role
from apps.inventory.models import Zone
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile.differences import Decision, drift_open, propose
from apps.reconcile.drift_services import ask
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
NAME, OTHER = f"beside.{ZONE}", f"other.{ZONE}"


def test_a_glass_goes_though_there_is_no_room_for_another_requests_rule(world: World) -> None:
    first, second = world.upload("First"), world.upload("Second")
    assert world.approve(world.ask(first, NAME, f"stays.{ZONE}")).state == "done"
    foreign = len(world.edge.rules(ZONE)) - 1
    for n in range(3 - foreign):
        world.edge.add_rule(ZONE, {"action": "log", "expression": f'(http.host eq "{n}.full.{ZONE}")', "enabled": True})
    stop = stop_writes(by=SETUP, reason="Incident", zone_id=world.zone().pk)
    cover = world.ask(second, OTHER)
    assert world.approve(cover).state == "approved"
    Zone.objects.filter(pk=world.zone().pk).update(cloudflare_plan="Free Website")
    broken = use_break_glass(by=actor(Role.RESPONDER), account=world.account, hostname=NAME, reason="Locked out")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    seen = world.actions(NAME)
    for rule in world.edge.rules(ZONE):
        if f".full.{ZONE}" in rule["expression"]:
            world.edge.delete_rule(ZONE, rule["id"])
    assert (request_by_id(broken.request_id).state, seen) == ("done", "log")
    assert request_by_id(cover.pk).state == "failed"


def test_a_rule_is_restored_under_the_ca_that_is_still_there(world: World) -> None:
    first, second = world.upload("First"), world.upload("Second")
    for ca in (first, second):
        assert world.approve(world.ask(ca, NAME)).state == "done"
    world.edge.delete_certificate(first.cloudflare_id)
    CertificateAuthority.objects.filter(pk=first.pk).update(live_at=timezone.now() - timedelta(days=1))
    world.run_account()
    first.refresh_from_db()
    assert first.state == CaState.GONE
    (rule,) = [rule for rule in world.edge.rules(ZONE) if rule["ref"].startswith("byoca-")]
    world.edge.delete_rule(ZONE, rule["ref"])
    world.sweep()
    rows = drift_open(world.account, kind="altered")
    proposal = propose(by=world.owner, account=world.account, rows=rows, decision=Decision.RESTORE)
    assert [(group.ca, group.hostnames) for group in proposal.groups] == [(second, (NAME,))]
    (request,) = ask(by=world.owner, groups=proposal.groups, reason="Deleted by mistake")
    assert world.approve(request).state == "done"
    assert world.actions(NAME) == "block"
