"""A live change between plan and apply (F08, INV-14): nothing is sent, the approval is void, a new plan is offered."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.inventory.freezes import add_freeze_window, remove_freeze_window
from apps.inventory.models import FreezeWindow
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile import apply, zones
from apps.reconcile.services import rebuild_plan
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

FIRST, SECOND = "northwind.example", "northwind-pay.example"
NAMES = ("alpha.northwind.example", "alpha.northwind-pay.example")
FOREIGN = "foreign.northwind-pay.example"


def freeze(world: World, zone: str) -> FreezeWindow:
    now = timezone.now()
    return add_freeze_window(
        by=SETUP, account_id=world.account.pk, zone_id=world.zone(zone).pk, name="Launch", effect="deny",
        repeats="once", timezone="UTC", starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1),
    )  # fmt: skip


def writes(world: World) -> list[str]:
    return [call["path"] for call in world.edge.requests(world.began_after) if call["method"] == "PUT"]


def half_sent(world: World, **more: str) -> tuple[CertificateAuthority, CoverageRequest, FreezeWindow]:
    """A request over two zones, of which the first went and the second is frozen."""
    ca = world.upload("Two zones")
    window = freeze(world, SECOND)
    request = world.approve(world.ask(ca, *NAMES, **more))
    assert request.state == "applying"
    assert world.edge.hostnames(FIRST, ca.cloudflare_id) == [NAMES[0]]
    return ca, request, window


def test_what_has_not_gone_is_seen_by_a_person_again_and_what_went_stays(world: World) -> None:
    ca, request, window = half_sent(world)
    world.edge.edit(SECOND, ca.cloudflare_id, [FOREIGN])
    remove_freeze_window(by=SETUP, window_id=window.pk)
    world.run()
    asked = request_by_id(request.pk)
    assert (asked.state, asked.decided_at) == ("stale", None)
    assert "changed after this plan was built" in asked.state_reason
    assert f"What was sent to {FIRST} stays." in asked.state_reason
    assert [row.void_at is not None for row in asked.approvals.all()] == [True]
    assert {row.hostname: row.result for row in asked.hostnames.all()} == {NAMES[0]: "done", NAMES[1]: "pending"}
    assert world.edge.hostnames(SECOND, ca.cloudflare_id) == [FOREIGN]
    assert world.edge.hostnames(FIRST, ca.cloudflare_id) == [NAMES[0]]
    assert not AuditEvent.objects.filter(action="drift:found", hostnames__icontains=NAMES[0]).exists()
    plan = current_plan(rebuild_plan(by=world.owner, request_id=request.pk))
    assert plan is not None
    lists = {zone["zone"]: [row["after"] for row in zone["lists"]] for zone in plan.document["zones"]}
    assert lists == {FIRST: [], SECOND: [sorted([NAMES[1], FOREIGN])]}
    assert world.approve(request).state == "done"
    assert world.edge.hostnames(SECOND, ca.cloudflare_id) == sorted([NAMES[1], FOREIGN])


def test_a_change_in_the_zone_that_went_keeps_nothing_from_going_on(world: World) -> None:
    ca, request, window = half_sent(world, mode="verify")
    world.edge.edit(FIRST, ca.cloudflare_id, [NAMES[0], "foreign.northwind.example"])
    world.sweep()
    assert request_by_id(request.pk).state == "applying"
    remove_freeze_window(by=SETUP, window_id=window.pk)
    world.run()
    assert request_by_id(request.pk).state == "done"


def test_what_was_sent_and_is_not_shown_yet_stays_approved_and_rides_with_nobody(world: World) -> None:
    """The first zone's list lags when the second one moves."""
    ca = world.upload("Lags and moves")
    request = world.ask(ca, *NAMES, mode="verify")
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    window = freeze(world, SECOND)
    world.edge.switch(association_lag_s=600)
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest)
    zones.run_zone(world.zone(FIRST).pk)
    world.edge.switch(association_lag_s=0)
    world.edge.edit(SECOND, ca.cloudflare_id, [FOREIGN])
    remove_freeze_window(by=SETUP, window_id=window.pk)
    zones.run_zone(world.zone(SECOND).pk)
    asked = request_by_id(request.pk)
    assert asked.state == "stale"
    assert [row.hostname for row in asked.associations.all()] == [NAMES[0]]
    world.sweep()
    assert not AuditEvent.objects.filter(action="drift:found", hostnames__icontains=NAMES[0]).exists()
    rebuild_plan(by=world.owner, request_id=request.pk)
    assert world.approve(request).state == "done"


def moved_before_the_first_write(
    world: World, monkeypatch: pytest.MonkeyPatch, ca: CertificateAuthority, names: list[str]
) -> CoverageRequest:
    """Somebody edits the list after the plan was stored and before its first call, which reads the list once more."""
    request = world.ask(ca, NAMES[0], mode="verify")
    begin = zones.begin_applying

    def then_edit(**arguments: object) -> None:
        begin(**arguments)  # type: ignore[arg-type]
        world.edge.edit(FIRST, ca.cloudflare_id, names)

    monkeypatch.setattr(zones, "begin_applying", then_edit)
    monkeypatch.setattr(apply, "READ_FRESH_S", -1.0)
    return world.approve(request)


def test_a_list_that_moves_right_before_the_write_voids_the_approval(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = world.upload("Moves late")
    asked = moved_before_the_first_write(world, monkeypatch, ca, ["foreign.northwind.example"])
    assert (asked.state, writes(world)) == ("stale", [])
    assert [row.void_at is not None for row in asked.approvals.all()] == [True]


def test_the_same_list_set_by_somebody_else_is_no_change_of_ours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = world.upload("Set by others")
    asked = moved_before_the_first_write(world, monkeypatch, ca, [NAMES[0]])
    assert (asked.state, writes(world)) == ("stale", [])
    assert AuditEvent.objects.filter(action="edge:list_changed_outside", hostnames=[NAMES[0]]).exists()


def test_a_change_while_a_stop_holds_what_was_about_to_go_voids_the_approval(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = world.upload("Stopped late")
    request = world.ask(ca, NAMES[0])
    begin, stops = zones.begin_applying, []

    def then_stop(**arguments: object) -> None:
        begin(**arguments)  # type: ignore[arg-type]
        stops.append(stop_writes(by=SETUP, reason="Incident", zone_id=world.zone(FIRST).pk))

    monkeypatch.setattr(zones, "begin_applying", then_stop)
    assert world.approve(request).state == "applying"
    world.edge.edit(FIRST, ca.cloudflare_id, ["foreign.northwind.example"])
    lift_stop(by=SETUP, stop_id=stops[0].pk, reason="Over")
    world.run()
    asked = request_by_id(request.pk)
    assert (asked.state, writes(world)) == ("stale", [])
    assert world.edge.hostnames(FIRST, ca.cloudflare_id) == ["foreign.northwind.example"]


def test_a_change_while_a_plan_waits_for_its_approval_puts_it_out_of_date(world: World) -> None:
    ca = world.upload("Undecided")
    request = world.ask(ca, NAMES[0])
    world.edge.edit(FIRST, ca.cloudflare_id, ["foreign.northwind.example"])
    world.sweep()
    assert (request_by_id(request.pk).state, writes(world)) == ("stale", [])
