"""Zones that run at the same time: the limits over all lists hold for what they take together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import request_by_id
from apps.inventory.limits import set_limits
from apps.inventory.models import Zone
from apps.outbox.models import OutboxEntry
from apps.reconcile import zones
from apps.reconcile.models import Plan
from apps.reconcile.zones import run_zone
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World
from tests.unit.reconcile.test_overrides import confirm, override

HERE = "northwind.example"
WHEN = ("begin_applying", "tries_before_sending")


def two_zones(world: World, **limits: int) -> tuple[Zone, Zone, CoverageRequest]:
    """A removal over two zones, approved and not sent, that is more than `limits` allow in all."""
    here = world.zone(HERE)
    there = Zone.objects.filter(account=world.account, vanished_at=None).exclude(pk=here.pk).order_by("name").first()
    assert there
    ca = world.upload(f"Together {sorted(limits)}")
    names = [f"{letter}.{zone.name}" for zone in (here, there) for letter in "ab"]
    assert world.approve(world.ask(ca, *names, mode="verify")).state == "done"
    for zone in (here, there):
        set_limits(by=SETUP, zone_id=zone.pk, limits=dict(limits), reason="x")
    return here, there, confirm(world, world.ask(ca, *names, kind="uncover"), run=False)


def meanwhile(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """What another worker does at that moment of the next run, once."""
    original = getattr(zones, name)

    def first_the_other(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(zones, name, original)
        act()
        return original(*arguments, **named)

    monkeypatch.setattr(zones, name, first_the_other)


def left(world: World, request: CoverageRequest) -> int:
    found = Zone.objects.filter(requesthostname__request=request).distinct()
    return sum(len(world.edge.hostnames(zone.name, request.ca.cloudflare_id)) for zone in found)


@pytest.mark.parametrize("limits", [{"total": 3}, {"pairs": 1}])
@pytest.mark.parametrize("when", WHEN)
def test_two_zones_at_once_take_no_more_than_the_limit_without_an_override(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str, limits: dict[str, int]
) -> None:
    """The other zone plans once this one's change is stored and not begun, or stores its own while this one plans."""
    here, there, request = two_zones(world, **limits)
    meanwhile(monkeypatch, when, lambda: run_zone(there.pk))
    run_zone(here.pk)
    world.run()
    request = request_by_id(request.pk)
    assert left(world, request) == 2, "one of them went"
    assert [row["guard"] for row in request.waits_for] == list(limits)
    assert not Plan.objects.filter(state__in=Plan.OPEN).exists(), "the one that was overtaken left nothing behind"
    assert not OutboxEntry.objects.exclude(parked_at=None).exists()
    override(world, request, guard=next(iter(limits)))
    world.run()
    assert (request_by_id(request.pk).state, left(world, request)) == ("done", 0)


def test_an_override_lets_both_go_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there, request = two_zones(world, total=1)
    world.run()
    assert left(world, request) == 4
    override(world, request, guard="total")
    meanwhile(monkeypatch, "tries_before_sending", lambda: run_zone(there.pk))
    run_zone(here.pk)
    assert (request_by_id(request.pk).state, left(world, request)) == ("done", 0)
