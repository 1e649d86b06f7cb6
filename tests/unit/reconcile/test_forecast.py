"""What a plan says of the guards before it is approved is what they say when it is about to be sent."""

from __future__ import annotations

from typing import Any

import pytest

from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.planning import guards
from apps.reconcile.models import Plan
from tests.unit.reconcile.conftest import World

NAME = "seen.northwind.example"
MANY = [f"many-{number}.northwind.example" for number in range(14)]


def document(request: CoverageRequest) -> dict[str, Any]:
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    return dict(plan.document)


def refused(request: CoverageRequest) -> list[dict[str, Any]]:
    """What the guards said right before the request was to be sent."""
    return list(Plan.objects.get(state="refused", request_ids=[request.pk]).refusals)


def said(rows: list[dict[str, Any]]) -> list[tuple[str, str, str, bool]]:
    return [(row["guard"], row["message"], row["needs"], row["overridable"]) for row in rows]


@pytest.mark.parametrize("guard", ["locks_out", "opens"])
def test_an_unsafe_replay_is_told_before_the_approval_and_refused_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch, guard: str
) -> None:
    monkeypatch.setattr(guards, "unsafe_prefixes", lambda *_: [(guard, frozenset({NAME}))])
    request = world.ask(world.upload("Unsafe"), NAME)
    planned = document(request)
    assert [row["guard"] for row in planned["guards"]] == [guard]
    assert planned["confirm"] is None, "no number typed by anybody helps"
    assert any(NAME in words for words in planned["warnings"])
    assert world.approve(request).state == "failed"
    assert said(refused(request)) == said(planned["guards"])


def test_steps_out_of_order_are_told_before_the_approval(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "in_safe_order", lambda _: False)
    request = world.ask(world.upload("Disorder"), NAME)
    assert [row["guard"] for row in document(request)["guards"]] == ["order"]
    assert world.approve(request).state == "failed"
    assert said(refused(request)) == said(document(request)["guards"])


def test_what_is_left_of_a_confirmed_forecast_is_what_the_override_is_wanted_for(world: World) -> None:
    ca = world.upload("Big")
    assert world.approve(world.ask(ca, *MANY, mode="verify")).state == "done"
    request = world.ask(ca, *MANY[:12], kind="uncover")
    planned = document(request)
    plan = current_plan(request_by_id(request.pk))
    assert plan
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest, confirm=planned["confirm"])
    world.run()
    wanted = [row for row in planned["guards"] if row["overridable"]]
    assert wanted
    assert said(refused(request)) == said(wanted)
