"""A change is applied when all of it was sent and is seen, lists and rules; until then nothing is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.notify.kinds import is_told
from apps.outbox.models import OutboxEntry
from apps.reconcile.apply import Applier, Outcome
from apps.reconcile.foreign import undoes_ours
from apps.reconcile.models import Plan
from apps.reconcile.removals import recent_removals
from apps.reconcile.zones import run_zone
from tests.sandbox_server import SandboxProcess
from tests.unit.reconcile.conftest import World

NAME, ZONE = "late.northwind.example", "northwind.example"
PUT, POST = ("PUT", "hostname_associations"), ("POST", "/rules")


@pytest.fixture
def _edge_process() -> Iterator[SandboxProcess]:
    """An edge of each test's own: rules that lag show what other tests left there a minute ago."""
    with SandboxProcess() as edge:
        edge.switch(rate_limit_on=False, rate_limit=1_000_000, quota=1000)
        yield edge


def approve(world: World, request: CoverageRequest) -> None:
    """Approved, and no worker runs yet."""
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest, confirm=plan.document["confirm"])


def run_next(world: World) -> None:
    """The next run comes now, as if its time were there and no worker held the zone."""
    OutboxEntry.objects.filter(subject_id=world.zone().pk).update(due_at=Now(), leased_until=None)
    run_zone(world.zone().pk)


def sent(world: World, what: tuple[str, str]) -> int:
    """How many calls of a kind this test has made, dry runs apart."""
    method, part = what
    return sum(
        call["method"] == method and part in call["path"] and "dry_run" not in str(call["query"])
        for call in world.edge.requests(world.began_after)
    )


def changes(world: World) -> list[Plan]:
    return list(Plan.objects.filter(zone=world.zone()).order_by("number"))


def steps(plan: Plan) -> list[tuple[str, str]]:
    return list(plan.steps.values_list("kind", "state"))


def covered(world: World, ca: CertificateAuthority, *names: str) -> None:
    assert world.approve(world.ask(ca, *names, mode="verify")).state == "done"


def our_rules(world: World) -> list[dict[str, Any]]:
    return [rule for rule in world.edge.rules(ZONE) if rule["ref"].startswith("byoca-")]


def test_a_list_that_lags_before_the_rules_are_sent_is_not_called_applied(world: World) -> None:
    ca = world.upload("Late list")
    request = world.ask(ca, NAME)
    world.edge.switch(association_lag_s=60)
    approve(world, request)
    run_next(world)
    world.edge.switch(association_lag_s=0)
    (first,) = changes(world)
    assert (first.state, our_rules(world)) == ("verifying", [])
    run_next(world)
    first, second = changes(world)
    assert (first.state, second.state) == ("superseded", "applied")
    assert "next change" in first.error
    assert steps(first)[:2] == [("replace_list", "done"), ("read_back_lists", "done")]
    assert {state for _, state in steps(first)[2:]} == {"not_started"}
    assert {state for _, state in steps(second)} == {"done"}
    assert request_by_id(request.pk).state == "done"
    assert len(our_rules(world)) == 1
    assert sent(world, PUT) == 1
    assert undoes_ours(world.zone(), ca.fingerprint, frozenset(), frozenset({NAME})), "the first change is ours too"


def test_rules_that_lag_are_waited_for_and_written_once(world: World) -> None:
    ca = world.upload("Late rule")
    covered(world, ca, NAME)
    request = world.ask(ca, NAME)
    world.edge.switch(rules_lag_s=60)
    approve(world, request)
    for _ in range(4):
        run_next(world)
    plan = changes(world)[-1]
    assert (plan.state, plan.steps.last().error) == (
        "verifying", "The read-back does not show the rules as they were sent yet.",
    )  # fmt: skip
    world.edge.switch(rules_lag_s=0)
    run_next(world)
    plan.refresh_from_db()
    assert (plan.state, request_by_id(request.pk).state) == ("applied", "done")
    assert steps(plan) == [("add_rule", "done"), ("read_back_rules", "done")]
    assert sent(world, POST) == 1
    assert len(changes(world)) == 2
    assert not AuditEvent.objects.filter(action="edge:rule_changed_outside").exists()


def test_a_rule_that_never_shows_diverges_and_is_not_sent_again(world: World) -> None:
    ca = world.upload("Unseen rule")
    covered(world, ca, NAME)
    request = world.ask(ca, NAME)
    world.edge.switch(rules_lag_s=600)
    approve(world, request)
    run_next(world)
    Plan.objects.filter(state="verifying").update(verify_until=Now())
    run_next(world)
    run_next(world)
    world.edge.switch(rules_lag_s=0)
    plan = changes(world)[-1]
    assert (plan.state, request_by_id(request.pk).state) == ("diverged", "failed")
    assert steps(plan) == [("add_rule", "done"), ("read_back_rules", "failed")]
    assert sent(world, POST) == 1


def test_a_rule_edited_right_after_it_was_sent_is_not_written_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = world.upload("Edited rule")
    covered(world, ca, NAME)
    request = world.ask(ca, NAME)
    read_back = Applier._read_back_rules

    def after_an_edit(self: Applier) -> Outcome:
        world.edge.edit_rule(ZONE, our_rules(world)[0]["ref"], action="log")
        return read_back(self)

    monkeypatch.setattr(Applier, "_read_back_rules", after_an_edit)
    approve(world, request)
    for _ in range(3):
        run_next(world)
    plan = changes(world)[-1]
    assert (plan.state, plan.steps.last().state) == ("diverged", "failed")
    assert "changed outside" in plan.error
    assert [rule["action"] for rule in our_rules(world)] == ["log"], "the edit stays until a person decides"
    assert AuditEvent.objects.filter(action="edge:rule_changed_outside").count() == 1
    assert request_by_id(request.pk).state in {"failed", "stale"}


def test_a_list_that_is_another_than_was_sent_diverges_is_told_and_gone_on_from(world: World) -> None:
    """F08. Whoever takes back later what came between is somebody else again."""
    ca = world.upload("Other list")
    request = world.ask(ca, NAME, mode="verify")
    world.edge.fault("switches", {"method": "PUT"}, set={"hostnames_stored": "with_another"})
    approve(world, request)
    run_next(world)
    run_next(world)
    (plan,) = changes(world)
    assert (plan.state, plan.steps.last().state) == ("diverged", "failed")
    assert "changed outside right after it was sent" in plan.error
    event = AuditEvent.objects.get(action="plan:diverged")
    assert is_told(event)
    assert request_by_id(request.pk).state == "done", "what it asked for is there"
    stored = f"stored-by-itself.{ZONE}"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == [NAME, stored], "and what came with it is left alone"
    world.edge.edit(ZONE, ca.cloudflare_id, [NAME])
    run_next(world)
    outside = AuditEvent.objects.filter(action="edge:list_changed_outside").order_by("seq")
    assert [(e.details["added"], e.details["removed"]) for e in outside] == [([stored], []), ([], [stored])]
    assert sent(world, PUT) == 1


def test_a_lag_may_show_a_list_as_it_was_in_the_middle_of_the_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One change adds to a list, reads it back, and takes from it: three states that a late read may show."""
    ca = world.upload("In the middle")
    old, kept = "old.northwind.example", "kept.northwind.example"
    covered(world, ca, old, kept)
    read_back = Applier._read_back_lists
    looks = iter([read_back, lambda *_: Outcome.LAGGING])
    monkeypatch.setattr(Applier, "_read_back_lists", lambda self, step: next(looks)(self, step))
    adding, removing = world.ask(ca, NAME, mode="verify"), world.ask(ca, old, kind="uncover", mode="verify")
    for request in (adding, removing):
        approve(world, request)
    run_next(world)
    plan = changes(world)[-1]
    assert [kind for kind, _ in steps(plan)].count("replace_list") == 2
    world.edge.edit(ZONE, ca.cloudflare_id, [old, kept, NAME])
    run_next(world)
    plan.refresh_from_db()
    assert plan.state == "verifying"
    world.edge.edit(ZONE, ca.cloudflare_id, [kept, NAME])
    run_next(world)
    plan.refresh_from_db()
    assert plan.state == "applied"


class Killed(BaseException):
    """What no handler of the product sees: the worker is gone in the middle of a call."""


def test_a_removal_cut_off_by_a_kill_counts_as_removed_at_once_and_is_unknown_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = world.upload("Cut off")
    names = [f"cut-{number}.northwind.example" for number in range(3)]
    covered(world, ca, *names)
    request = world.ask(ca, *names[:2], kind="uncover", mode="verify")
    approve(world, request)
    replace = Applier._replace

    def then_die(self: Applier, step: Any) -> Outcome:
        replace(self, step)
        raise Killed

    monkeypatch.setattr(Applier, "_replace", then_die)
    with pytest.raises(Killed):
        run_next(world)
    monkeypatch.setattr(Applier, "_replace", replace)
    cut = changes(world)[-1]
    window = recent_removals(world.zone(), window=timedelta(hours=24))
    assert {row.hostname for row in window.removals} == set(names[:2])
    run_next(world)
    cut.refresh_from_db()
    write = cut.steps.get(kind="replace_list")
    assert (cut.state, write.state, write.error) == ("superseded", "unknown", "The run was cut off before the answer.")
    assert write.finished_at is not None
    window = recent_removals(world.zone(), window=timedelta(hours=24))
    assert {row.hostname for row in window.removals} == set(names[:2])
    assert request_by_id(request.pk).state == "done"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == names[2:]
