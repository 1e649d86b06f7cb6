"""As of any instant: what the view says is what was at the edge then."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.utils import timezone

from apps.reconcile.history import as_of
from tests.unit.reconcile.conftest import World

NAME = "api.northwind.example"


def at_the_edge(world: World, *cas: str) -> frozenset[str]:
    zone = next(z for z in world.edge.state()["zones"] if z["name"] == "northwind.example")
    return frozenset(ca for ca in cas if NAME in zone["lists"].get(ca, []))


def test_the_view_equals_a_replay_at_fifty_instants(world: World) -> None:
    first, second = world.upload("First"), world.upload("Second")
    ids = (first.cloudflare_id, second.cloudflare_id)
    labels = {first.cloudflare_id: "First", second.cloudflare_id: "Second"}
    timeline: list[tuple[datetime, frozenset[str], str]] = []

    def moment(rule: str = "") -> None:
        timeline.append((timezone.now(), frozenset(labels[ca] for ca in at_the_edge(world, *ids)), rule))

    moment()
    world.approve(world.ask(first, NAME, mode="block"))
    moment("block")
    world.approve(world.ask(second, NAME, mode="block"))
    moment("block")
    world.edge.edit("northwind.example", second.cloudflare_id, [])
    world.sweep()
    moment("block")
    world.edge.edit("northwind.example", second.cloudflare_id, [NAME])
    world.sweep()
    moment("block")
    world.approve(world.ask(first, NAME, kind="uncover"))
    moment("block")
    world.approve(world.ask(second, NAME, kind="uncover"))
    moment()
    assert {names for _, names, _ in timeline} == {
        frozenset(), frozenset({"First"}), frozenset({"First", "Second"}), frozenset({"Second"}),
    }  # fmt: skip

    source = random.Random(7)
    zone, end = world.zone(), timezone.now()
    for _ in range(50):
        # Instants at which nothing was on its way: just after each moment was noted.
        index = source.randrange(len(timeline))
        at, names, rule = timeline[index]
        found = as_of(world.account, zone, NAME, at)
        assert found.known
        assert frozenset(row.ca for row in found.cas) == names
        assert found.rule == rule
        assert {row.approved_by for row in found.cas} <= {world.engineer.label}
    assert as_of(world.account, zone, NAME, end).cas == ()


def test_before_the_first_read_and_in_the_future_nothing_is_known(world: World) -> None:
    zone = world.zone()
    assert not as_of(world.account, zone, NAME, timezone.now() - timedelta(days=1)).known
    assert not as_of(world.account, zone, NAME, timezone.now() + timedelta(days=1)).known
    now = as_of(world.account, zone, "edi.northwind.example", timezone.now())
    assert now.known
    assert [(row.approved_by, row.request_id) for row in now.cas] == [("", None)], "at the edge, approved by nobody"
