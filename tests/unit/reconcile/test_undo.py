"""The way back: a change, or any list that was applied, as requests that meet the same gates."""

from __future__ import annotations

import pytest

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.permissions import Role
from apps.reconcile.models import Plan
from apps.reconcile.selectors import attempts_of, resulting_lists
from apps.reconcile.undo import can_undo, list_histories, undo_change, undo_requests
from tests.factories import actor
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
A, B, C = (f"{letter}.{ZONE}" for letter in "abc")


def change_of(request: CoverageRequest) -> Plan:
    return next(plan for plan in Plan.objects.filter(state="applied") if request.pk in plan.request_ids)


def applied(world: World, ca: CertificateAuthority, *names: str, kind: str = "cover", mode: str = "block") -> Plan:
    request = world.approve(world.ask(ca, *names, kind=kind, mode=mode))
    assert request.state == "done", request.state_reason
    return change_of(request)


def undo(world: World, change: Plan, **more: str) -> list[CoverageRequest]:
    return undo_change(by=world.owner, change_id=change.pk, reason="It broke billing.", **more)


def blocked(world: World) -> set[str]:
    rules = [row["expression"] for row in world.edge.rules(ZONE) if row["ref"].startswith("byoca-")]
    return {name for name in (A, B, C) if any(name in expression for expression in rules)}


def test_undoing_a_coverage_asks_for_its_removal_and_leads_back_to_list_and_rules(world: World) -> None:
    ca = world.upload("Undone")
    applied(world, ca, A)
    change = applied(world, ca, B, C)
    assert can_undo(change)
    (request,) = undo(world, change)
    assert (request.kind, request.undo_of, request.state) == ("uncover", change.pk, "waiting")
    assert request.reason == f"Undoes {change}. It broke billing."
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == [A, B, C], "nothing is sent before somebody approves"
    assert world.approve(request).state == "done"
    assert (world.edge.hostnames(ZONE, ca.cloudflare_id), blocked(world)) == ([A], {A})
    assert [row.pk for row in undo_requests(change)] == [request.pk]
    event = AuditEvent.objects.get(action="plan:undo_asked")
    assert (event.subject_label, event.details["requests"]) == (str(change), [request.pk])
    assert world.edge.violations() == []


def test_undoing_a_removal_brings_hostname_and_mode_back(world: World) -> None:
    ca = world.upload("Brought back")
    applied(world, ca, A, B, mode="block")
    applied(world, ca, B, mode="log")
    change = applied(world, ca, A, B, kind="uncover")
    requests = undo(world, change)
    assert {(r.kind, r.mode, tuple(r.hostnames.values_list("hostname", flat=True))) for r in requests} == {
        ("cover", "block", (A,)),
        ("cover", "log", (B,)),
    }
    assert "Undoes" in next(r.override for r in requests if r.mode == "block"), "the quiet period is skipped on record"
    for request in requests:
        assert world.approve(request).state == "done"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == [A, B]
    actions = {row["action"] for row in world.edge.rules(ZONE) if row["ref"].startswith("byoca-")}
    assert actions == {"block", "log"}


def test_undoing_a_change_of_mode_asks_for_the_mode_before(world: World) -> None:
    ca = world.upload("Mode")
    applied(world, ca, A, mode="verify")
    change = applied(world, ca, A, mode="block")
    (request,) = undo(world, change)
    assert (request.kind, request.mode) == ("cover", "verify")
    assert world.approve(request).state == "done"
    assert (world.edge.hostnames(ZONE, ca.cloudflare_id), blocked(world)) == ([A], set())
    with pytest.raises(Conflict, match="Nothing of Change"):
        undo(world, change)


def test_any_list_that_was_applied_can_be_brought_back(world: World) -> None:
    ca = world.upload("Earlier list")
    first = applied(world, ca, A, mode="block")
    second = applied(world, ca, B, mode="verify")
    third = applied(world, ca, A, kind="uncover")
    (history,) = list_histories(third)
    assert (history.ca_name, [row.hostnames for row in history.lists]) == ("Earlier list", [(B,), (A, B), (A,)])
    assert [row.change_id for row in history.lists] == [str(change.pk) for change in (third, second, first)]
    requests = undo(world, third, ca=ca.fingerprint, as_of=str(first.pk))
    assert {(r.kind, r.mode) for r in requests} == {("cover", "block"), ("uncover", "verify")}
    for request in requests:
        assert world.approve(request).state == "done"
    assert (world.edge.hostnames(ZONE, ca.cloudflare_id), blocked(world)) == ([A], {A})
    other = world.upload("Another")
    with pytest.raises(NotFound, match="did not send a list of this CA"):
        undo(world, third, ca=other.fingerprint, as_of=str(first.pk))


def test_an_undo_meets_the_same_verdicts(world: World) -> None:
    ca = world.upload("Verdicts")
    change = applied(world, ca, A)
    world.ask(ca, A, kind="uncover")
    with pytest.raises(Invalid) as refused:
        undo(world, change)
    assert "already asks for a change" in refused.value.details["hostnames"][0]
    with pytest.raises(Invalid) as refused:
        undo_change(by=world.owner, change_id=change.pk, reason=" ")
    assert "reason" in refused.value.details
    with pytest.raises(Forbidden):
        undo_change(by=actor(Role.AUDITOR), change_id=change.pk, reason="x")
    assert not AuditEvent.objects.filter(action="plan:undo_asked").exists()


def test_what_needs_a_deleted_ca_says_so(world: World) -> None:
    ca = world.upload("Deleted")
    applied(world, ca, A)
    change = applied(world, ca, A, kind="uncover")
    CertificateAuthority.objects.filter(pk=ca.pk).update(state="deleted")
    with pytest.raises(Conflict, match="Upload it again first"):
        undo(world, change)
    CertificateAuthority.objects.filter(pk=ca.pk).update(state="live")


def test_a_refused_change_has_nothing_to_undo(world: World) -> None:
    ca = world.upload("Refused")
    change = applied(world, ca, A)
    change.steps.update(state="failed")
    assert not can_undo(change)
    with pytest.raises(Conflict):
        undo(world, change)


def test_a_change_page_knows_its_whole_lists_and_the_other_attempts(world: World) -> None:
    ca = world.upload("Whole")
    first = applied(world, ca, A)
    change = applied(world, ca, B)
    (row,) = resulting_lists(change)
    assert (row["ca_name"], row["before"], row["after"], row["adds"], row["removes"]) == (
        "Whole", [A], [A, B], [B], [],
    )  # fmt: skip
    assert attempts_of(change) == [change]
    Plan.objects.filter(pk=first.pk).update(request_ids=change.request_ids)
    assert [plan.pk for plan in attempts_of(change)] == [first.pk, change.pk]


def test_undoing_a_second_ca_that_brought_block_brings_the_mode_back_too(world: World) -> None:
    first, second = world.upload("Stays"), world.upload("Went to block")
    applied(world, first, A, mode="verify")
    change = applied(world, second, A, mode="block")
    requests = undo(world, change)
    assert {(r.kind, r.ca, r.mode) for r in requests} == {
        ("uncover", second, "verify"),
        ("cover", first, "verify"),
    }
    for request in reversed(requests):
        assert world.approve(request).state == "done"
    assert (world.edge.hostnames(ZONE, first.cloudflare_id), blocked(world)) == ([A], set())
    assert world.edge.hostnames(ZONE, second.cloudflare_id) == []
