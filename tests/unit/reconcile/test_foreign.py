"""Who else drives the edge: another installation, a program that undoes ours, and readings that came too late."""

from __future__ import annotations

import pytest
from django.db.models import F

from apps.audit.models import AuditEvent
from apps.coverage.selectors import request_by_id
from apps.inventory.alarms import installation_name
from apps.inventory.holds import stops_in_force
from apps.inventory.models import Zone
from apps.inventory.services import set_mode
from apps.inventory.stops import lift_stop
from apps.reconcile.edge import EdgeClient, Observation, ca_keys, client_for, read_zone
from apps.reconcile.observe import Overtaken, store_observation
from apps.reconcile.services import plan_waiting_requests
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World


def test_our_rules_bear_our_name_and_another_name_stops_the_account(world: World) -> None:
    ca = world.upload("Marked Root")
    world.approve(world.ask(ca, "marked.northwind.example"))
    rule = next(rule for rule in world.edge.rules("northwind.example") if rule["ref"].startswith("byoca-"))
    assert rule["description"].endswith(f"(installation {installation_name()})")
    world.sweep()
    assert not stops_in_force().exists()
    other = rule["description"].replace(installation_name(), "0badc0de")
    world.edge.edit_rule("northwind.example", rule["ref"], description=other)
    world.sweep()
    world.sweep()
    stop = stops_in_force().get()
    assert (stop.account, "0badc0de" in stop.reason) == (world.account, True)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="The old one is switched off.")
    world.sweep()
    assert not stops_in_force().exists(), "decided once"


def test_what_was_decided_while_the_account_was_read_only_is_asked_again_when_it_is_opened(world: World) -> None:
    ca = world.upload("Opened Root")
    world.approve(world.ask(ca, "opened.northwind.example"))
    rule = next(rule for rule in world.edge.rules("northwind.example") if rule["ref"].startswith("byoca-"))
    other = rule["description"].replace(installation_name(), "0badc0de")
    set_mode(by=SETUP, account_id=world.account.pk, mode="read_only")
    world.edge.edit_rule("northwind.example", rule["ref"], description=other)
    world.sweep()
    lift_stop(by=SETUP, stop_id=stops_in_force().get().pk, reason="This one only reads.")
    world.sweep()
    assert not stops_in_force().exists()
    set_mode(by=SETUP, account_id=world.account.pk, mode="read_write")
    waiting = world.approve(world.ask(ca, "late.northwind.example"))
    assert (stops_in_force().get().account, waiting.state) == (world.account, "approved")


def test_three_undone_writes_in_an_hour_stop_the_zone_and_again_after_a_decision(world: World) -> None:
    ca = world.upload("Undone Root")
    zone = world.zone()
    for turn in (1, 2):
        for number in range(3):
            assert not stops_in_force().exists()
            world.approve(world.ask(ca, f"undone-{turn}{number}.northwind.example", mode="verify"))
            world.edge.edit(zone.name, ca.cloudflare_id, [])
            world.sweep()
        stop = stops_in_force().get()
        assert stop.zone == zone
        world.approve(world.ask(ca, f"waits-{turn}.northwind.example", mode="verify"))
        world.edge.edit(zone.name, ca.cloudflare_id, ["foreign.northwind.example"])
        world.sweep()
        assert stops_in_force().count() == 1
        lift_stop(by=SETUP, stop_id=stop.pk, reason="The script is off.")
        world.run()


def test_foreign_changes_that_undo_nothing_stop_nothing(world: World) -> None:
    ca = world.upload("Calm Root")
    for number in range(5):
        world.edge.edit("northwind.example", ca.cloudflare_id, [f"foreign-{number}.northwind.example"])
        world.sweep()
    events = AuditEvent.objects.filter(action="edge:list_changed_outside")
    assert events.count() == 5
    assert not any(event.details["undoes"] for event in events)
    assert not stops_in_force().exists()


def test_answers_that_lag_behind_what_was_read_already_stop_nothing(world: World) -> None:
    ca = world.upload("Lagging Root")
    for number in range(4):
        names = world.edge.hostnames("northwind.example", ca.cloudflare_id)
        world.approve(world.ask(ca, f"lagging-{number}.northwind.example", mode="verify"))
        now = world.edge.hostnames("northwind.example", ca.cloudflare_id)
        for shown in (names, now):
            world.edge.edit("northwind.example", ca.cloudflare_id, shown)
            world.sweep()
    events = AuditEvent.objects.filter(action="edge:list_changed_outside")
    assert [event.details["undoes"] for event in events.order_by("seq")] == [True, False] * 4
    assert not stops_in_force().exists()


def test_a_reading_that_our_write_overtook_is_not_stored(world: World) -> None:
    ca = world.upload("Overtaken Root")
    zone = world.zone()
    keys = ca_keys(world.account)
    with client_for(world.account) as client:
        early = read_zone(client, zone, keys)
    world.approve(world.ask(ca, "later.northwind.example", mode="verify"))
    with pytest.raises(Overtaken):
        store_observation(zone, early, keys)
    assert not AuditEvent.objects.filter(action="edge:list_changed_outside").exists()


@pytest.mark.parametrize(("overtaken", "state"), [(2, "waiting"), (3, "planning")])
def test_a_page_reads_again_when_a_write_overtakes_it_and_leaves_it_to_a_worker_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch, overtaken: int, state: str
) -> None:
    ca = world.upload(f"Page Root {overtaken}")
    left = [overtaken]

    def read_while_a_worker_writes(client: EdgeClient, zone: Zone, keys: dict[str, str]) -> Observation:
        observation = read_zone(client, zone, keys)
        if left[0]:
            left[0] -= 1
            Zone.objects.filter(pk=zone.pk).update(edge_revision=F("edge_revision") + 1)
        return observation

    monkeypatch.setattr("apps.reconcile.services.read_zone", read_while_a_worker_writes)
    request = world.ask(ca, "page.northwind.example", mode="verify")
    assert request.state == state
    plan_waiting_requests(world.account.pk)
    assert world.approve(request_by_id(request.pk)).state == "done"
