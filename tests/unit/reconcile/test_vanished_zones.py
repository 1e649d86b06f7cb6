"""A zone that Cloudflare no longer lists is no dead end: what waits there ends, its CA is free, its pages say so."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request, retire_ca
from apps.errors import NotFound
from apps.inventory.models import Zone
from apps.inventory.stops import lift_stop, stop_writes
from apps.outbox.models import OutboxEntry
from apps.reconcile.models import Plan
from apps.reconcile.rows import build_rows
from apps.reconcile.selectors import hostname_detail
from apps.reconcile.services import retry_zone
from apps.reconcile.zones import run_zone
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

GONE, STAYS = "passing.example", "northwind.example"


def with_passing_zone(world: World, name: str) -> CertificateAuthority:
    world.edge.add_zone(GONE)
    ca = world.upload(name)
    assert world.zone(GONE).vanished_at is None
    return ca


def approved_behind_a_stop(world: World, ca: CertificateAuthority, *names: str) -> tuple[CoverageRequest, int]:
    stop = stop_writes(by=SETUP, reason="Incident", account_id=world.account.pk)
    request = world.approve(world.ask(ca, *names, mode="verify"))
    assert request.state == "approved"
    return request, stop.pk


def test_what_was_live_there_holds_no_ca_and_its_page_says_that_the_zone_is_gone(world: World) -> None:
    ca = with_passing_zone(world, "Held by a gone zone")
    assert world.approve(world.ask(ca, f"api.{GONE}", mode="verify")).state == "done"
    world.edge.remove_zone(GONE)
    world.run_account()
    row = hostname_detail(world.account, f"api.{GONE}").row
    assert row.answer == "unknown"
    assert f"no longer lists {GONE}" in row.sentence
    assert {cell.state for cell in row.cells} == {"zone_gone", "none"}
    assert [found.hostname for found in build_rows(world.account, only=[f"api.{GONE}"])] == [f"api.{GONE}"]
    with pytest.raises(NotFound):
        hostname_detail(world.account, f"other.{GONE}")
    retire_ca(by=world.engineer, ca_id=ca.pk, reason="Its zone is gone")
    world.run()
    ca.refresh_from_db()
    assert ca.state == "deleted"


def test_a_zone_of_the_same_name_is_a_new_one(world: World) -> None:
    ca = with_passing_zone(world, "Again")
    world.approve(world.ask(ca, f"api.{GONE}", mode="verify"))
    world.edge.remove_zone(GONE)
    world.run_account()
    world.edge.add_zone(GONE)
    world.run_account()
    request = world.ask(ca, f"api.{GONE}", mode="verify")
    zone = Zone.objects.get(account=world.account, name=GONE, vanished_at=None)
    assert world.approve(request).state == "done"
    (row,) = build_rows(world.account, only=[f"api.{GONE}"])
    assert (row.zone, row.answer) == (zone, "not_enforced")
    world.edge.remove_zone(GONE)


def test_what_waits_for_it_ends_with_a_reason_once_the_rest_has_gone(world: World) -> None:
    ca = with_passing_zone(world, "In two zones")
    request, stop_id = approved_behind_a_stop(world, ca, f"api.{GONE}", f"alpha.{STAYS}")
    world.edge.remove_zone(GONE)
    world.run_account()
    assert request_by_id(request.pk).state == "approved", "the other zone's part goes on as soon as it may"
    lift_stop(by=SETUP, stop_id=stop_id, reason="Over")
    world.run()
    world.run_account()
    asked = request_by_id(request.pk)
    assert asked.state == "partly_done"
    assert f"no longer lists {GONE}" in asked.state_reason
    assert world.edge.hostnames(STAYS, ca.cloudflare_id) == [f"alpha.{STAYS}"]


def test_a_zone_that_comes_back_works_again(world: World) -> None:
    ca = world.upload("Back again")
    request = world.ask(ca, f"alpha.{STAYS}", mode="verify")
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    zone = world.zone(STAYS)
    open_plan = Plan.objects.create(number=1, zone=zone, state="applying", digest="", base="", document={})
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest)
    Zone.objects.filter(pk=zone.pk).update(vanished_at=timezone.now())
    run_zone(zone.pk)
    asked = request_by_id(request.pk)
    assert asked.state == "failed"
    assert "retry" in asked.state_reason
    open_plan.refresh_from_db()
    assert open_plan.state == "failed"
    assert OutboxEntry.objects.get(subject_id=zone.pk).parked_at
    world.run_account()
    assert world.zone(STAYS).vanished_at is None
    retry_zone(by=world.engineer, zone_id=zone.pk)
    world.run()
    assert request_by_id(request.pk).state == "done"
