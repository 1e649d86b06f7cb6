"""A page's reading and a worker's push at the same time: what we wrote ourselves is never called somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from apps.audit.models import AuditEvent
from apps.coverage.selectors import request_by_id
from apps.reconcile.apply import Applier
from apps.reconcile.edge import Observation, ca_keys, client_for, read_zone, revision_of
from apps.reconcile.models import Plan
from apps.reconcile.observe import Overtaken, store_observation
from tests.unit.reconcile.conftest import World

NAME = "overlap.northwind.example"
# The step that writes, and the one that reads back.
LIST, RULE = ("_replace", "_read_back_lists"), ("_write_rule", "_read_back_rules")


def before(monkeypatch: pytest.MonkeyPatch, step: str, act: Callable[[], None]) -> None:
    """What a page does right before this step of a push."""
    original = getattr(Applier, step)

    def first_the_page(applier: Applier, *arguments: Any) -> Any:
        act()
        return original(applier, *arguments)

    monkeypatch.setattr(Applier, step, first_the_page)


def pushed_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch, steps: tuple[str, str], store: Callable[[Observation], None]
) -> None:
    """A push during which a page reads before the write and stores after it; another request waits meanwhile."""
    write, read_back = steps
    ca = world.upload(f"Overlap {write}")
    request, waiting = world.ask(ca, NAME), world.ask(ca, f"waiting.{NAME}")
    read: list[Observation] = []

    def reads() -> None:
        with client_for(world.account) as client:
            read.append(read_zone(client, world.zone(), ca_keys(world.account)))

    before(monkeypatch, write, reads)
    before(monkeypatch, read_back, lambda: store(read.pop()))
    assert world.approve(request).state == "done"
    world.sweep()
    assert not AuditEvent.objects.filter(action__startswith="edge:").exists()
    assert request_by_id(waiting.pk).state == "waiting", "its plan is as good as before"
    assert Plan.objects.get(zone=world.zone()).state == "applied"


@pytest.mark.parametrize("steps", [LIST, RULE])
def test_a_reading_from_before_a_write_is_not_stored_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch, steps: tuple[str, str]
) -> None:
    def store(early: Observation) -> None:
        with pytest.raises(Overtaken):
            store_observation(world.zone(), early, ca_keys(world.account))

    pushed_meanwhile(world, monkeypatch, steps, store)


@pytest.mark.parametrize("steps", [LIST, RULE])
def test_a_reading_that_lags_behind_a_write_is_no_foreign_change_once_it_is_read_back(
    world: World, monkeypatch: pytest.MonkeyPatch, steps: tuple[str, str]
) -> None:
    def store(early: Observation) -> None:
        lagging = replace(early, revision=revision_of(world.zone()))
        store_observation(world.zone(), lagging, ca_keys(world.account))

    pushed_meanwhile(world, monkeypatch, steps, store)
