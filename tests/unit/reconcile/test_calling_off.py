"""Withdrawing and cancelling what is approved: until a write has left, and decided under one lock with the write."""

from __future__ import annotations

from typing import Any

import pytest

from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import request_by_id
from apps.errors import Conflict
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile import zones
from apps.reconcile.models import Plan
from apps.reconcile.selectors import may_call_off
from apps.reconcile.services import cancel, withdraw
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

ZONE, NAME = "northwind.example", "alpha.northwind.example"


def put_count(world: World) -> int:
    return sum(call["method"] == "PUT" for call in world.edge.requests(world.began_after))


def stopped(world: World, name: str) -> tuple[CoverageRequest, int]:
    """An approved request behind a stop, and the number of the stop."""
    ca = world.upload(name)
    stop = stop_writes(by=SETUP, reason="Incident", zone_id=world.zone(ZONE).pk)
    request = world.approve(world.ask(ca, NAME))
    assert request.state == "approved"
    return request, stop.pk


def test_what_waits_for_a_stop_is_withdrawn_and_never_sent(world: World) -> None:
    request, stop_id = stopped(world, "Withdrawn in time")
    assert may_call_off(world.owner, request) == "withdraw"
    assert may_call_off(world.engineer, request) == "cancel"
    assert may_call_off(world.other_engineer, request) == "cancel"
    withdraw(by=world.owner, request_id=request.pk)
    lift_stop(by=SETUP, stop_id=stop_id, reason="Over")
    world.run()
    assert (request_by_id(request.pk).state, put_count(world)) == ("withdrawn", 0)
    assert world.edge.hostnames(ZONE, request.ca.cloudflare_id) == []
    assert may_call_off(world.owner, request_by_id(request.pk)) == ""


def cancelled_as_it_begins(world: World, monkeypatch: pytest.MonkeyPatch, request: CoverageRequest) -> None:
    """Somebody cancels after the change was stored, right before its first call."""
    begin = zones.begin_applying

    def then_cancel(**arguments: Any) -> None:
        begin(**arguments)
        cancel(by=world.other_engineer, request_id=request.pk, reason="Wrong CA")
        monkeypatch.setattr(zones, "begin_applying", begin)

    monkeypatch.setattr(zones, "begin_applying", then_cancel)


def test_what_is_cancelled_as_its_run_begins_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = world.upload("Cancelled in time")
    request = world.ask(ca, NAME, mode="verify")
    cancelled_as_it_begins(world, monkeypatch, request)
    asked = world.approve(request)
    assert (asked.state, put_count(world)) == ("withdrawn", 0)
    assert "Wrong CA" in asked.state_reason
    assert Plan.objects.get(zone=world.zone(ZONE)).state == "superseded"


def test_the_others_of_the_same_change_go_in_a_new_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = world.upload("Cancelled beside")
    request, other = (world.ask(ca, f"{name}.northwind.example", mode="verify") for name in ("alpha", "beta"))
    stop = stop_writes(by=SETUP, reason="Incident", zone_id=world.zone(ZONE).pk)
    world.approve(request)
    world.approve(other)
    cancelled_as_it_begins(world, monkeypatch, request)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    assert (request_by_id(request.pk).state, request_by_id(other.pk).state) == ("withdrawn", "done")
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == ["beta.northwind.example"]


def test_what_may_have_left_can_no_longer_be_called_off(world: World) -> None:
    ca = world.upload("Too late")
    request = world.ask(ca, NAME, mode="verify")
    world.edge.switch(association_lag_s=600)
    assert world.approve(request).state == "applying"
    assert may_call_off(world.owner, request_by_id(request.pk)) == ""
    with pytest.raises(Conflict, match="on its way"):
        withdraw(by=world.owner, request_id=request.pk)
    with pytest.raises(Conflict, match="on its way"):
        cancel(by=world.engineer, request_id=request.pk, reason="No")
    world.edge.switch(association_lag_s=0)
    world.sweep()
    assert request_by_id(request.pk).state == "done"
