"""Rules are tried before they are written: when the plan is made, and before it is sent unless all was accepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.coverage.break_glass import use_break_glass
from apps.coverage.models import CoverageRequest, RequestPlan
from apps.coverage.selectors import current_plan, request_by_id
from apps.identity.permissions import Role
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile import dry_run
from apps.reconcile.models import Plan
from apps.reconcile.preview import document_digest
from apps.reconcile.services import retry_zone
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
A, B, C = (f"{letter}.{ZONE}" for letter in "abc")


@pytest.fixture(autouse=True)
def _no_fault_stays(world: World) -> Iterator[None]:
    yield
    world.edge.clear_faults()


def tried(world: World, since: int) -> list[str]:
    rows = world.edge.requests(since)
    return [row["method"] for row in rows if row["query"] == {"dry_run": ["true"]}]


def writes(world: World, since: int) -> list[str]:
    """Writes of lists and rules in their order: `try`, `list`, `rule`."""
    rows = [row for row in world.edge.requests(since) if row["method"] != "GET"]
    return [
        "try" if row["query"] == {"dry_run": ["true"]} else "rule" if "/rulesets" in row["path"] else "list"
        for row in rows
    ]


def now(world: World) -> int:
    return world.edge.last_seq()


def plan_of(request: CoverageRequest) -> RequestPlan:
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    return plan


def trial(request: CoverageRequest) -> dict[str, str] | None:
    (zone,) = plan_of(request).document["zones"]
    found: dict[str, str] | None = zone["dry_run"]
    return found


def not_tried(world: World, ca_name: str) -> CoverageRequest:
    """A request whose rule Cloudflare gave no answer about when it was planned."""
    ca = world.upload(ca_name)
    world.edge.fault("close", {"query": "dry_run"})
    request = world.ask(ca, A)
    found = trial(request)
    assert found and found["outcome"] == "not_tried"
    assert found["reason"]
    return request


def dry_run_guards(request: CoverageRequest) -> list[dict[str, str]]:
    return [row for row in plan_of(request).document["guards"] if row["guard"] == "dry_run"]


def test_a_plan_says_that_cloudflare_would_refuse_its_rule(world: World) -> None:
    ca = world.upload("Refused in dry run")
    since = now(world)
    world.edge.fault("status", {"query": "dry_run"}, status=400, code=20127, message="too costly")
    request = world.ask(ca, A)
    assert tried(world, since) == ["POST"]
    (row,) = dry_run_guards(request)
    assert row["message"].startswith(f"Cloudflare would refuse a rule of {ZONE}.")
    assert "too costly" in row["message"]
    assert trial(request) == {"outcome": "refused", "reason": row["message"]}
    plan = plan_of(request)
    assert any("too costly" in words for words in plan.document["warnings"])
    assert plan.document["confirm"] is None
    assert not [rule for rule in world.edge.rules(ZONE) if rule["ref"].startswith("byoca-")], "nothing is kept"


def test_nothing_is_tried_without_a_rule_or_while_writes_are_stopped(world: World) -> None:
    ca = world.upload("Not tried")
    since = now(world)
    request = world.ask(ca, A, mode="verify")
    assert (dry_run_guards(request), trial(request)) == ([], None)
    stop_writes(by=SETUP, reason="Now")
    request = world.ask(ca, B)
    found = trial(request)
    assert dry_run_guards(request) == []
    assert found and found["outcome"] == "not_tried"
    assert "Writes are stopped everywhere" in found["reason"]
    assert tried(world, since) == []


def test_a_try_that_gets_no_answer_stops_no_plan(world: World) -> None:
    request = not_tried(world, "No answer")
    assert (request.state, dry_run_guards(request)) == ("waiting", [])


def test_one_rule_write_that_was_accepted_is_not_tried_again_when_it_is_sent(world: World) -> None:
    ca = world.upload("One write")
    request = world.ask(ca, A)
    assert trial(request) == {"outcome": "accepted", "reason": ""}
    since = now(world)
    assert world.approve(request).state == "done"
    assert writes(world, since) == ["list", "rule"]


def test_a_rule_that_was_not_tried_is_tried_before_the_first_write(world: World) -> None:
    request = not_tried(world, "Tried late")
    since = now(world)
    assert world.approve(request).state == "done"
    assert writes(world, since) == ["try", "list", "rule"]


def test_what_was_planned_while_writes_were_stopped_is_tried_before_the_first_write(world: World) -> None:
    ca = world.upload("Stopped then")
    stop = stop_writes(by=SETUP, reason="Now")
    request = world.ask(ca, A)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Go")
    since = now(world)
    assert world.approve(request).state == "done"
    assert writes(world, since) == ["try", "list", "rule"]


def test_a_plan_with_more_rule_writes_than_a_page_tries_is_not_called_accepted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "MOST_IN_PREVIEW", 0)
    found = trial(world.ask(world.upload("Many"), A))
    assert found == {"outcome": "not_tried", "reason": "A page tries 0 rule writes, and this plan has 1."}


def test_a_refusal_before_sending_leaves_lists_and_rules_untouched(world: World) -> None:
    request = not_tried(world, "Refused late")
    rules = world.edge.rules(ZONE)
    world.edge.fault("status", {"query": "dry_run"}, status=400, code=20127, message="too costly")
    since = now(world)
    failed = world.approve(request)
    assert failed.state == "failed"
    assert "Nothing was written: a dry run of the rules was refused." in failed.state_reason
    assert "too costly" in failed.state_reason
    assert writes(world, since) == ["try"]
    assert world.edge.rules(ZONE) == rules
    steps = Plan.objects.get(state="failed").steps
    assert [row.kind for row in steps.exclude(state="not_started")] == ["add_rule"]
    assert steps.get(kind="add_rule").state == "failed"


def test_a_try_without_an_answer_sends_nothing_and_is_made_again(world: World) -> None:
    request = not_tried(world, "Silent late")
    world.edge.fault("close", {"query": "dry_run"})
    since = now(world)
    assert world.approve(request).state == "applying"
    assert writes(world, since) == ["try"]
    assert set(Plan.objects.get().steps.values_list("state", flat=True)) == {"not_started"}
    world.sweep()
    assert request_by_id(request.pk).state == "done"
    assert writes(world, since) == ["try", "try", "list", "rule"]


def test_a_break_glass_has_its_rule_tried_first(world: World) -> None:
    ca = world.upload("Broken glass")
    assert world.approve(world.ask(ca, A)).state == "done"
    since = now(world)
    use_break_glass(by=actor(Role.RESPONDER), account=world.account, hostname=A, reason="Locked out")
    world.run()
    assert [rule["action"] for rule in world.edge.rules(ZONE) if A in rule["expression"]] == ["log"]
    assert writes(world, since)[0] == "try"


def test_a_rule_that_something_else_got_into_meanwhile_is_tried(world: World) -> None:
    ca = world.upload("Grown")
    request, other = world.ask(ca, A), world.ask(ca, B)
    assert world.approve(other).state == "done"
    since = now(world)
    assert world.approve(request).state == "done"
    assert writes(world, since) == ["try", "list", "rule"], "A and B together were accepted by nobody"


def test_after_a_refused_write_an_earlier_acceptance_is_not_believed(world: World) -> None:
    request = world.ask(world.upload("Accepted once"), A)
    world.edge.fault("status", {"method": "POST", "path": "/rulesets"}, status=400, code=20127, message="too costly")
    assert world.approve(request).state == "failed"
    since = now(world)
    retry_zone(by=world.engineer, zone_id=world.zone().pk)
    world.run()
    assert request_by_id(request.pk).state == "done"
    assert writes(world, since) == ["try", "rule"], "the list is there already"


def test_what_came_of_the_try_is_no_part_of_what_is_approved(world: World) -> None:
    request = world.ask(world.upload("Digest"), A)
    plan = plan_of(request)
    document = {**plan.document, "zones": [{**plan.document["zones"][0], "dry_run": {"outcome": "not_tried"}}]}
    assert document_digest(request, plan.number, document) == plan.digest


def test_a_plan_from_before_outcomes_were_kept_is_tried(world: World) -> None:
    request = world.ask(world.upload("Older"), A)
    plan = plan_of(request)
    del plan.document["zones"][0]["dry_run"]
    plan.save()
    since = now(world)
    assert world.approve(request).state == "done"
    assert writes(world, since) == ["try", "list", "rule"]


def test_the_plan_page_says_what_came_of_the_try(world: World, settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    assert world.engineer.person
    page = Client()
    page.force_login(world.engineer.person)
    ca = world.upload("On the page")
    faults: tuple[dict[str, Any], ...] = (
        {},
        {"fault": "close"},
        {"fault": "status", "status": 400, "code": 20127, "message": "too costly"},
    )
    words = (
        f"Cloudflare checked the rules of {ZONE} in a dry run: accepted.",
        f"Cloudflare has not checked the rules of {ZONE} yet: they are checked in a dry run before anything is sent.",
        f"Cloudflare checked the rules of {ZONE} in a dry run: refused.",
    )
    for name, fault, sentence in zip((A, B, C), faults, words, strict=True):
        world.edge.faults(*([{"match": {"query": "dry_run"}, "do": fault}] if fault else []))
        shown = page.get(f"/requests/{world.ask(ca, name).pk}/").content.decode()
        assert sentence in shown
        assert sum(other in shown for other in words) == 1


def test_several_rule_writes_are_tried_before_the_first_and_a_refusal_leaves_no_half(world: World) -> None:
    ca, other = world.upload("Several"), world.upload("Others")
    assert world.approve(world.ask(ca, A)).state == "done"
    before = [(rule["ref"], rule["expression"]) for rule in world.edge.rules(ZONE)]
    request = world.ask(other, A, C)
    since = now(world)
    # The second try is refused; nothing must have been written by then.
    world.edge.fault("status", {"query": "dry_run", "nth": 2}, status=400, code=20127, message="too costly")
    failed = world.approve(request)
    assert (failed.state, writes(world, since)) == ("failed", ["try", "try"])
    assert "Nothing was written: a dry run of the rules was refused." in failed.state_reason
    assert "too costly" in failed.state_reason
    assert [(rule["ref"], rule["expression"]) for rule in world.edge.rules(ZONE)] == before
    change = Plan.objects.get(state="failed")
    assert change.steps.filter(state="failed").count() == 1
    assert not change.steps.filter(state="done").exists()
    world.edge.clear_faults()
