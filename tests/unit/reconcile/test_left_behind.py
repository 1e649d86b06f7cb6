"""What a failed or gone request left behind keeps neither a hostname nor another request where they are."""

from __future__ import annotations

import pytest

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.coverage.progress_services import fail_requests
from apps.coverage.selectors import assess, current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.errors import Invalid
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile.models import Drift
from apps.reconcile.observe import WORKER
from apps.reconcile.services import retry_zone
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
NAME = f"left.{ZONE}"


def failed_before_it_was_sent(world: World, ca: CertificateAuthority, mode: str = "block") -> CoverageRequest:
    stop = stop_writes(by=SETUP, reason="Incident")
    request = world.approve(world.ask(ca, NAME, mode=mode))
    fail_requests(by=WORKER, request_ids=[request.pk], why="Refused by Cloudflare")
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    return request


def test_a_hostname_leaves_its_last_ca_though_another_never_reached_the_edge(world: World) -> None:
    first, second = world.upload("First"), world.upload("Second")
    assert world.approve(world.ask(first, NAME)).state == "done"
    failed = failed_before_it_was_sent(world, second)
    removal = world.ask(first, NAME, kind="uncover", mode="verify")
    assert current_plan(removal).document["afterwards"][0]["mode"] == "verify"
    (verdict,) = assess(by=world.owner, ca=first, kind="uncover", mode="verify", text=NAME, ignore_request=removal.pk)
    assert verdict.code == "loses_check"
    assert world.approve(removal).state == "done"
    assert world.actions(NAME) == ""
    assert not Drift.objects.filter(resolved_at=None, hostname=NAME).exists()
    (verdict,) = assess(by=world.owner, ca=first, kind="cover", mode="block", text=NAME)
    assert verdict.code == "needs_log"
    retry_zone(by=world.engineer, zone_id=world.zone().pk)
    world.run()
    assert request_by_id(failed.pk).state == "done"
    assert world.actions(NAME) == "block"


def test_a_blocked_hostname_whose_ca_is_gone_can_be_uncovered(world: World) -> None:
    ca = world.upload("Gone")
    assert world.approve(world.ask(ca, NAME)).state == "done"
    world.delete_outside(ca)
    assert world.actions(NAME) == "block"
    removal = world.approve(world.ask(ca, NAME, kind="uncover", mode="verify"))
    assert (removal.state, world.actions(NAME)) == ("done", "")


def test_letting_go_of_blocked_hostnames_that_no_list_shows_is_confirmed(world: World) -> None:
    ca, names = world.upload("Emptied outside"), [NAME, f"right.{ZONE}"]
    assert world.approve(world.ask(ca, *names)).state == "done"
    world.edge.edit(ZONE, ca.cloudflare_id, [])
    world.sweep()
    removal = world.ask(ca, *names, kind="uncover", mode="verify")
    plan = current_plan(removal)
    assert plan is not None and plan.document["loses_check"] == sorted(names)
    with pytest.raises(Invalid, match="removes 2 associations"):
        approve_request(by=world.engineer, request_id=removal.pk, digest=plan.digest, confirm="1")
    assert world.actions(NAME) == "block"
    assert world.approve(removal).state == "done"
    assert world.actions(NAME) == ""
