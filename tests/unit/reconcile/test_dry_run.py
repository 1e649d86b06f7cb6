"""Rules are tried before they are written: when the plan is made, and before a batch of several is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.inventory.stops import stop_writes
from apps.reconcile.models import Plan
from tests.factories import SETUP
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


def now(world: World) -> int:
    return int(world.edge.requests()[-1]["seq"])


def dry_run_guards(request: CoverageRequest) -> list[dict[str, str]]:
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    return [row for row in plan.document["guards"] if row["guard"] == "dry_run"]


def test_a_plan_says_that_cloudflare_would_refuse_its_rule(world: World) -> None:
    ca = world.upload("Refused in dry run")
    since = now(world)
    world.edge.fault("status", {"query": "dry_run"}, status=400, code=20127, message="too costly")
    request = world.ask(ca, A)
    assert tried(world, since) == ["POST"]
    (row,) = dry_run_guards(request)
    assert row["message"].startswith(f"Cloudflare would refuse a rule of {ZONE}.")
    assert "too costly" in row["message"]
    plan = current_plan(request)
    assert plan is not None
    assert any("too costly" in words for words in plan.document["warnings"])
    assert plan.document["confirm"] is None
    assert not [rule for rule in world.edge.rules(ZONE) if rule["ref"].startswith("byoca-")], "nothing is kept"


def test_nothing_is_tried_without_a_rule_or_while_writes_are_stopped(world: World) -> None:
    ca = world.upload("Not tried")
    since = now(world)
    assert dry_run_guards(world.ask(ca, A, mode="verify")) == []
    stop_writes(by=SETUP, reason="Now")
    assert dry_run_guards(world.ask(ca, B)) == []
    assert tried(world, since) == []


def test_a_try_that_gets_no_answer_stops_no_plan(world: World) -> None:
    ca = world.upload("No answer")
    world.edge.fault("close", {"query": "dry_run"})
    request = world.ask(ca, A)
    assert (request.state, dry_run_guards(request)) == ("waiting", [])


def test_one_rule_write_is_not_tried_again_when_it_is_sent(world: World) -> None:
    ca = world.upload("One write")
    request = world.ask(ca, A)
    since = now(world)
    assert world.approve(request).state == "done"
    assert tried(world, since) == []


def test_several_rule_writes_are_tried_before_the_first_and_a_refusal_leaves_no_half(world: World) -> None:
    ca, other = world.upload("Several"), world.upload("Others")
    assert world.approve(world.ask(ca, A)).state == "done"
    before = [(rule["ref"], rule["expression"]) for rule in world.edge.rules(ZONE)]
    request = world.ask(other, A, C)
    since = now(world)
    # The second try is refused; the first rule write must not have been made by then.
    world.edge.fault("status", {"query": "dry_run", "nth": 2}, status=400, code=20127, message="too costly")
    failed = world.approve(request)
    assert (failed.state, len(tried(world, since))) == ("failed", 2)
    assert "No rule was written: a dry run of all of them was refused." in failed.state_reason
    assert "too costly" in failed.state_reason
    assert [(rule["ref"], rule["expression"]) for rule in world.edge.rules(ZONE)] == before
    change = Plan.objects.get(state="failed")
    assert change.steps.filter(state="failed").count() == 1
    assert not change.steps.filter(kind__endswith="_rule", state="done").exists()
    world.edge.clear_faults()
