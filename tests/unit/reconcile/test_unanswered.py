"""A write that Cloudflare never answers and never obeys is given up with its reason, and holds nothing else up."""

from __future__ import annotations

from django.db.models.functions import Now

from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.outbox.models import OutboxEntry
from apps.reconcile.faults import PARK_AFTER_ATTEMPTS
from apps.reconcile.models import Plan
from apps.reconcile.services import retry_zone
from apps.reconcile.zones import run_zone
from tests.unit.reconcile.conftest import World

ZONE, NAME = "northwind.example", "vain.northwind.example"
ELSEWHERE = "fine.northwind-pay.example"


def approve(world: World, request: CoverageRequest) -> None:
    """Approved, and no worker runs yet."""
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest)


def run_often(world: World, zone: str = ZONE, times: int = PARK_AFTER_ATTEMPTS + 3) -> None:
    """Runs, one after the other, as if the time of each were there."""
    for _ in range(times):
        OutboxEntry.objects.filter(subject_id=world.zone(zone).pk).update(due_at=Now())
        run_zone(world.zone(zone).pk)


def broken(world: World, **match: object) -> None:
    """502 to these calls for ever, and without effect."""
    world.edge.faults({"match": {**match, "times": None}, "do": {"fault": "status", "status": 502, "applied": False}})


def puts(world: World, zone: str = ZONE) -> int:
    calls = world.edge.requests(world.began_after)
    return sum(row["method"] == "PUT" and world.edge.zones[zone] in row["path"] for row in calls)


def test_a_list_that_is_never_taken_fails_its_request_after_a_read_and_no_other(world: World) -> None:
    ca = world.upload("In vain")
    broken(world, method="PUT", zone=ZONE)
    vain, fine = world.ask(ca, NAME, mode="verify"), world.ask(ca, ELSEWHERE, mode="verify")
    for request in (vain, fine):
        approve(world, request)
    run_often(world)
    run_often(world, "northwind-pay.example", times=1)
    vain = request_by_id(vain.pk)
    assert (vain.state, request_by_id(fine.pk).state) == ("failed", "done")
    assert "no usable answer 12 times" in vain.state_reason
    assert "In vain" in vain.state_reason, "which list it was, by the CA's name"
    assert puts(world) == PARK_AFTER_ATTEMPTS
    last = Plan.objects.filter(zone=world.zone()).order_by("number").last()
    assert last
    assert (last.state, set(last.steps.values_list("state", flat=True))) == ("failed", {"not_started"})
    entry = OutboxEntry.objects.get(subject_id=world.zone().pk)
    assert (entry.parked_at, entry.attempts) == (None, 0), "reading goes on"
    world.edge.clear_faults()
    retry_zone(by=world.engineer, zone_id=world.zone().pk)
    world.run()
    assert request_by_id(vain.pk).state == "done"


def test_a_rule_that_is_never_taken_is_counted_from_the_list_that_was(world: World) -> None:
    ca = world.upload("Rule in vain")
    request = world.ask(ca, NAME)
    broken(world, method="POST", path="/rules$", query="^$")
    approve(world, request)
    run_often(world)
    world.edge.clear_faults()
    request = request_by_id(request.pk)
    assert request.state == "failed"
    assert "Add a block rule" in request.state_reason
    assert puts(world) == 1, "the list was taken the first time"


def test_a_dry_run_that_is_never_answered_fails_the_request_with_nothing_sent(world: World) -> None:
    ca = world.upload("Tried in vain")
    broken(world, method="POST", query="dry_run")
    request = world.ask(ca, NAME)
    approve(world, request)
    run_often(world)
    world.edge.clear_faults()
    assert request_by_id(request.pk).state == "failed"
    assert puts(world) == 0
