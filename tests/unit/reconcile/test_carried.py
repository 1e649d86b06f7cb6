"""Whose a zone's change is: a request is bound to what is sent of it, and to nothing that others send."""

from __future__ import annotations

import pytest

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import request_by_id
from apps.inventory.models import Zone
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile.models import Plan
from apps.reconcile.selectors import may_call_off
from apps.reconcile.sent import has_left
from apps.reconcile.services import retry_zone, withdraw
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_issuer_changes import Issuing

HERE = "northwind.example"
A, B = f"a.{HERE}", f"b.{HERE}"


def other_zone(world: World) -> Zone:
    found = Zone.objects.filter(account=world.account, vanished_at=None).exclude(name=HERE).order_by("name").first()
    assert found
    return found


def now(request: CoverageRequest) -> CoverageRequest:
    return request_by_id(request.pk)


def carried(request: CoverageRequest) -> list[str]:
    """The zones of the changes that it was part of."""
    return [plan.zone.name for plan in Plan.objects.order_by("number") if request.pk in plan.request_ids]


def done_here(world: World, ca: CertificateAuthority) -> tuple[CoverageRequest, int]:
    """A request that is done in this zone and waits for a stop in the other; the number of the stop."""
    there = other_zone(world)
    stop = stop_writes(by=SETUP, reason="Incident", zone_id=there.pk)
    request = world.approve(world.ask(ca, A, f"a.{there.name}"))
    assert (request.state, carried(request)) == ("applying", [HERE])
    return request, stop.pk


def test_what_is_done_in_a_zone_does_not_fail_with_what_others_send_there(world: World) -> None:
    ca = world.upload("Done here")
    request, stop = done_here(world, ca)
    world.edge.fault("status", {"method": "PUT"}, status=400, code=1400, message="bad list")
    failed = world.approve(world.ask(ca, B))
    world.edge.clear_faults()
    assert (failed.state, now(request).state, now(request).state_reason) == ("failed", "applying", "")
    lift_stop(by=SETUP, stop_id=stop, reason="Over")
    world.run()
    assert now(request).state == "done"
    assert carried(request) == [HERE, other_zone(world).name]


def test_what_is_done_in_a_zone_does_not_fail_with_rules_that_cannot_be_written_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = world.upload("Too long")
    request, _ = done_here(world, ca)
    other = world.ask(ca, B)
    with monkeypatch.context() as patch:
        patch.setattr("apps.planning.rule.MAX_EXPRESSION", 1)
        assert world.approve(other).state == "failed"
    assert now(request).state == "applying"


def off_its_list(world: World, name: str) -> CertificateAuthority:
    """A CA that B is approved under, in verify, and whose list somebody emptied."""
    ca = world.upload(name)
    assert world.approve(world.ask(ca, B, mode="verify")).state == "done"
    world.edge.edit(HERE, ca.cloudflare_id, [])
    world.sweep()
    return ca


def test_what_waits_for_its_ca_can_be_called_off_while_others_are_sent(world: World) -> None:
    ca = off_its_list(world, "Emptied")
    request = world.approve(world.ask(ca, B, mode="block"))
    assert (request.state, "would refuse every client" in request.state_reason) == ("approved", True)
    assert world.approve(world.ask(world.upload("Goes first"), A)).state == "done"
    assert (now(request).state, carried(request)) == ("approved", [])
    assert may_call_off(world.owner, now(request)) == "withdraw"
    withdraw(by=world.owner, request_id=request.pk)
    assert now(request).state == "withdrawn"


def test_what_waits_for_its_ca_is_put_out_of_date_although_others_are_sent(world: World) -> None:
    ca = off_its_list(world, "Edited again")
    request = world.approve(world.ask(ca, B, mode="block"))
    world.edge.switch(association_lag_s=600)
    assert world.approve(world.ask(world.upload("On its way"), A)).state == "applying"
    world.edge.switch(association_lag_s=0)
    world.edge.edit(HERE, ca.cloudflare_id, [f"foreign.{HERE}"])
    world.sweep()
    assert now(request).state == "stale", "nothing of it is under way, so a person looks first"


def test_a_removal_beside_what_waits_for_its_ca_is_one_that_has_left(world: World) -> None:
    """The hostname waits for its new CA, but its removal from the old one is sent: it is part of that change."""
    first = world.upload("Leaves now")
    assert world.approve(world.ask(first, A, B, mode="verify")).state == "done"
    second = off_its_list(world, "Emptied too")
    waiting = world.ask(second, B, mode="block")
    stop = stop_writes(by=SETUP, reason="Both at once", zone_id=world.zone().pk)
    world.approve(waiting)
    # Asked for as things are then: its plan says that the hostname goes to block.
    removal = world.ask(first, B, kind="uncover")
    world.approve(removal)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Now")
    world.run()
    sent = now(removal)
    assert (now(waiting).state, carried(waiting), has_left(now(waiting))) == ("approved", [], False)
    assert (sent.state, carried(removal), has_left(sent)) == ("done", [HERE], True)


def test_changed_issuers_that_are_tried_again_are_to_do_again_in_every_zone(world: World) -> None:
    issuing = Issuing(world)
    there = other_zone(world)
    assert world.approve(world.ask(issuing.ca, f"a.{there.name}")).state == "done"
    request = issuing.ask("self", issuing.middle.pem)
    stop = stop_writes(by=SETUP, reason="Incident", zone_id=there.pk)
    assert issuing.approve(request).state == "applying"
    assert len(issuing.pins() or ()) == 2
    world.edge.fault("status", {"method": "PATCH"}, status=400, code=1400, message="bad rule")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    world.edge.clear_faults()
    assert now(request).state == "partly_done"
    # The issuers are the old ones again: whatever is sent here next pins the rule to them.
    assert world.approve(world.ask(issuing.ca, A)).state == "done"
    assert len(issuing.pins() or ()) == 1
    stop = stop_writes(by=SETUP, reason="Incident", zone_id=world.zone().pk)
    retry_zone(by=world.engineer, zone_id=there.pk)
    world.run()
    assert now(request).state == "applying", "this zone's rule has the old pins still"
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    assert (now(request).state, len(issuing.pins() or ())) == ("done", 2)
    assert carried(request)[-1] == HERE
