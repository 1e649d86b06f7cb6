"""Requests beside others of their hostnames that failed or wait: each ends, or says what it waits for."""

from __future__ import annotations

from apps.audit.models import AuditEvent
from apps.coverage.models import Association, CoverageRequest
from apps.coverage.progress_services import outdate_plan
from apps.coverage.selectors import confirmation_of, current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.coverage.verdicts import assess
from apps.reconcile.services import retry_zone
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
A, B = f"a.{ZONE}", f"b.{ZONE}"


def approve_together(world: World, *requests: CoverageRequest) -> list[CoverageRequest]:
    """All are approved before a worker looks."""
    for request in requests:
        plan = current_plan(request_by_id(request.pk))
        assert plan is not None
        approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest, confirm=confirmation_of(plan))
    world.run()
    return [request_by_id(request.pk) for request in requests]


def blocked_at_edge(world: World) -> set[str]:
    rules = [rule for rule in world.edge.rules(ZONE) if rule["ref"].startswith("byoca-") and rule["action"] == "block"]
    return {name for name in (A, B) if any(f'"{name}"' in rule["expression"] for rule in rules)}


def failed_cover(world: World, ca_name: str) -> CoverageRequest:
    """A request for A that Cloudflare refused, so that nothing of it is at the edge."""
    ca = world.upload(ca_name)
    request = world.ask(ca, A, mode="log")
    world.edge.fault("status", {"method": "PUT"}, status=400, code=1400, message="bad list")
    failed = world.approve(request)
    world.edge.clear_faults()
    assert failed.state == "failed"
    assert A not in world.edge.hostnames(ZONE, ca.cloudflare_id)
    return failed


def test_a_rule_that_goes_and_comes_in_one_change_is_tried_in_its_place(world: World) -> None:
    first, second = world.upload("Ref one"), world.upload("Ref two")
    world.approve(world.ask(first, A))
    done = approve_together(world, world.ask(second, A), world.ask(first, B))
    assert [(row.state, row.state_reason) for row in done] == [("done", ""), ("done", "")]
    assert blocked_at_edge(world) == {A, B}


def test_what_failed_before_is_sent_by_a_new_request(world: World) -> None:
    failed = failed_cover(world, "Failed before")
    (verdict,) = assess(by=world.owner, ca=failed.ca, kind="cover", mode="log", text=A)
    assert (verdict.status, verdict.code) == ("check", "failed_before")
    assert str(failed) in verdict.message
    again = world.approve(world.ask(failed.ca, A, mode="verify"))
    assert again.state == "done"
    assert A in world.edge.hostnames(ZONE, failed.ca.cloudflare_id)
    row = Association.objects.get(hostname=A, ca=failed.ca)
    assert (row.request_id, row.approved_by_label) == (again.pk, world.engineer.label)
    (now,) = assess(by=world.owner, ca=failed.ca, kind="cover", mode="verify", text=A)
    assert now.code == "already_covered"


def test_what_failed_before_weakens_nothing_when_it_is_asked_for_again(world: World) -> None:
    failed = failed_cover(world, "Failed beside")
    other = world.upload("Beside")
    assert world.approve(world.ask(other, A, mode="block")).state == "done"
    again = world.ask(failed.ca, A, mode="verify")
    assert world.approve(again).state == "done"
    assert blocked_at_edge(world) == {A}


def test_a_retry_brings_back_what_a_later_request_took_over_and_gave_up(world: World) -> None:
    failed = failed_cover(world, "Given up")
    later = world.ask(failed.ca, A, mode="log")
    plan = current_plan(request_by_id(later.pk))
    assert plan is not None
    approve_request(by=world.engineer, request_id=later.pk, digest=plan.digest)
    outdate_plan(by=SETUP, plan_id=plan.pk, reason="The edge changed")
    retry_zone(by=world.engineer, zone_id=world.zone().pk)
    world.run()
    assert request_by_id(failed.pk).state == "done"
    assert A in world.edge.hostnames(ZONE, failed.ca.cloudflare_id)


def waiting_removal(world: World) -> tuple[CoverageRequest, CoverageRequest]:
    """A is blocked and approved under two CAs, somebody took it off the second's list, and it is to leave the first.

    Returns that removal, and a request for B in the same rule, approved together.
    """
    first, second = world.upload("Holds"), world.upload("Was emptied")
    approve_together(world, world.ask(first, A), world.ask(second, A))
    world.edge.edit(ZONE, second.cloudflare_id, [])
    world.sweep()
    removal, other = approve_together(world, world.ask(first, A, kind="uncover"), world.ask(first, B))
    return removal, other


def test_what_shares_a_rule_with_a_hostname_that_waits_is_done(world: World) -> None:
    removal, other = waiting_removal(world)
    assert (other.state, other.state_reason) == ("done", "")
    assert removal.state in {"approved", "applying"}
    assert blocked_at_edge(world) == {A, B}


def test_a_request_that_waits_for_its_ca_says_so_until_it_goes(world: World) -> None:
    removal, _ = waiting_removal(world)
    assert f"{A} would refuse every client" in removal.state_reason
    assert "Was emptied" in removal.state_reason
    told = AuditEvent.objects.filter(action="request:waits_for_ca", subject_id=str(removal.pk))
    world.sweep()
    assert told.count() == 1, "it is told once"
    second = Association.objects.get(hostname=A, ca__name="Was emptied").ca
    world.edge.edit(ZONE, second.cloudflare_id, [A])
    world.sweep()
    now = request_by_id(removal.pk)
    assert now.state == "stale", "it goes on to the next gate: its plan did not say that A would leave a blocked list"
    assert "needs a confirmation now" in now.state_reason
