"""A request that fails in one zone while another has its part already, or shows it later: how far it came is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.coverage.models import CoverageRequest
from apps.coverage.progress_services import fail_requests
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.outbox.services import mark_due
from apps.reconcile.observe import WORKER
from apps.reconcile.services import retry_zone
from apps.reconcile.zones import run_zone
from tests.unit.reconcile.conftest import World

FIRST, SECOND = "northwind.example", "northwind-pay.example"
NAMES = (f"half.{FIRST}", f"half.{SECOND}")


@pytest.fixture(autouse=True)
def _nothing_stays(world: World) -> Iterator[None]:
    yield
    world.edge.clear_faults()


def approved(world: World, kind: str, mode: str) -> CoverageRequest:
    """Over two zones, not run yet; the second one will refuse it."""
    ca = world.upload("Half the way")
    if kind == "uncover":
        assert world.approve(world.ask(ca, *NAMES, "stays.northwind.example", mode="verify")).state == "done"
        assert world.approve(world.ask(ca, "stays.northwind-pay.example", mode="verify")).state == "done"
    if mode == "block":
        # What was tried for the plan would not be tried again.
        world.edge.faults({"match": {"query": "dry_run", "times": None}, "do": {"fault": "close"}})
    request = world.ask(ca, *NAMES, kind=kind, mode=mode)
    world.edge.clear_faults()
    match = {"query": "dry_run"} if mode == "block" else {"method": "PUT"}
    world.edge.fault("status", {**match, "zone": SECOND, "times": None}, status=400, code=20127, message="too costly")
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    confirm = plan.document["confirm"]
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest, confirm=confirm)
    return request


def told(request: CoverageRequest) -> tuple[str, str, dict[str, str]]:
    """Its state, the end of the reason, and what is said of each hostname."""
    asked = request_by_id(request.pk)
    results = {row.zone.name: row.result for row in asked.hostnames.all()}
    return asked.state, asked.state_reason.split(": ")[-1], results


HALF = ("partly_done", "too costly.", {FIRST: "done", SECOND: "pending"})


@pytest.mark.parametrize(("kind", "mode"), [("cover", "block"), ("cover", "verify"), ("uncover", "verify")])
def test_what_the_first_zone_has_is_said_at_once_when_the_second_refuses(world: World, kind: str, mode: str) -> None:
    request = approved(world, kind, mode)
    run_zone(world.zone(FIRST).pk)
    assert request_by_id(request.pk).state == "applying"
    run_zone(world.zone(SECOND).pk)
    assert told(request) == HALF


def test_what_both_zones_show_after_it_failed_is_done(world: World) -> None:
    request = approved(world, "cover", "verify")
    world.edge.clear_faults()
    for name in (FIRST, SECOND):
        world.edge.fault("close", {"method": "PUT", "zone": name}, applied=True)
        run_zone(world.zone(name).pk)
    fail_requests(by=WORKER, request_ids=[request.pk], why="Given up: too costly.")
    for name in (FIRST, SECOND):
        mark_due(kind="zone", subject_id=world.zone(name).pk)
        run_zone(world.zone(name).pk)
    assert told(request) == ("done", "", {FIRST: "done", SECOND: "done"})


def test_what_a_later_request_brings_is_not_said_of_the_failed_one(world: World) -> None:
    request = approved(world, "cover", "verify")
    for name in (FIRST, SECOND):
        world.edge.fault("status", {"method": "PUT", "zone": name}, status=400, code=1400, message="too costly")
    world.run()
    assert request_by_id(request.pk).state == "failed"
    world.edge.clear_faults()
    assert world.approve(world.ask(request.ca, *NAMES, mode="verify")).state == "done"
    assert told(request)[0] == "failed"


@pytest.mark.parametrize("kind", ["cover", "uncover"])
def test_what_the_first_zone_shows_later_is_said_when_it_does(world: World, kind: str) -> None:
    request = approved(world, kind, "verify")
    world.edge.fault("close", {"method": "PUT", "zone": FIRST}, applied=True)
    run_zone(world.zone(FIRST).pk)
    run_zone(world.zone(SECOND).pk)
    assert told(request) == ("failed", "too costly.", {FIRST: "pending", SECOND: "pending"})
    world.sweep()
    assert told(request) == HALF
    world.edge.clear_faults()
    retry_zone(by=world.engineer, zone_id=world.zone(SECOND).pk)
    world.run()
    assert told(request) == ("done", "", {FIRST: "done", SECOND: "done"})
