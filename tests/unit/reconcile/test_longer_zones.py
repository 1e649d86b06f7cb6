"""A longer zone comes after a hostname was covered: it is covered there, and what stands in the shorter one can go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.authorities.models import CertificateAuthority
from apps.coverage.break_glass import use_break_glass
from apps.coverage.models import Association
from apps.coverage.services import retire_ca
from apps.identity.permissions import Role
from apps.reconcile.differences import Decision, drift_open, propose
from apps.reconcile.drift_services import ask
from apps.reconcile.models import Plan
from apps.reconcile.rows import build_rows
from apps.reconcile.selectors import hostname_detail
from apps.reconcile.undo import undo_change
from tests.factories import actor
from tests.unit.reconcile.conftest import World

SHORT, LONG = "northwind.example", "sub.northwind.example"
NAME = f"api.{LONG}"


@pytest.fixture
def split(world: World) -> Iterator[World]:
    """Each test adds the longer zone when it is time; it goes afterwards."""
    yield world
    world.edge.remove_zone(LONG)


def test_what_stands_in_the_shorter_zone_is_removed_there(split: World) -> None:
    ca = split.upload("Shorter")
    assert split.approve(split.ask(ca, NAME)).state == "done"
    split.edge.add_zone(LONG)
    split.run_account()
    removal = split.ask(ca, NAME, kind="uncover", mode="verify")
    assert [row.zone.name for row in removal.hostnames.all()] == [SHORT]
    assert split.approve(removal).state == "done"
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == []
    assert not Association.objects.exists()
    retire_ca(by=split.engineer, ca_id=ca.pk, reason="Not used any more")


def test_it_can_be_covered_in_the_longer_zone(split: World) -> None:
    ca = split.upload("Longer")
    assert split.approve(split.ask(ca, NAME)).state == "done"
    split.edge.add_zone(LONG)
    split.run_account()
    assert split.approve(split.ask(ca, NAME)).state == "done"
    assert split.edge.hostnames(LONG, ca.cloudflare_id) == [NAME]
    for zone in (LONG, SHORT):
        assert split.approve(split.ask(ca, NAME, kind="uncover", mode="verify")).state == "done"
        assert split.edge.hostnames(zone, ca.cloudflare_id) == []


def test_what_stands_in_the_shorter_zone_is_adopted_there(split: World) -> None:
    ca = split.upload("Adopted")
    split.edge.edit(SHORT, ca.cloudflare_id, [NAME])
    split.edge.add_zone(LONG)
    split.run_account()
    split.sweep()
    rows = drift_open(split.account, kind="unexpected", ca=str(ca.pk))
    proposal = propose(by=split.owner, account=split.account, rows=rows, decision=Decision.ACCEPT)
    (request,) = ask(by=split.owner, groups=proposal.groups, reason="Ours")
    assert split.approve(request).state == "done"
    assert split.edge.hostnames(LONG, ca.cloudflare_id) == []
    assert [row.zone.name for row in Association.objects.all()] == [SHORT]


def in_both(split: World, ca: CertificateAuthority) -> None:
    assert split.approve(split.ask(ca, NAME)).state == "done"
    split.edge.add_zone(LONG)
    split.run_account()
    assert split.approve(split.ask(ca, NAME)).state == "done"


def test_what_is_accepted_in_the_shorter_zone_leaves_the_longer_one_alone(split: World) -> None:
    ca = split.upload("Twice")
    in_both(split, ca)
    split.edge.edit(SHORT, ca.cloudflare_id, [])
    split.sweep()
    rows = drift_open(split.account, ca=str(ca.pk))
    proposal = propose(by=split.owner, account=split.account, rows=rows, decision=Decision.ACCEPT)
    (request,) = ask(by=split.owner, groups=proposal.groups, reason="Not there any more")
    assert [row.zone.name for row in request.hostnames.all()] == [SHORT]
    assert split.approve(request).state == "done"
    assert split.edge.hostnames(LONG, ca.cloudflare_id) == [NAME]
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == []


def test_what_both_zones_miss_is_decided_one_zone_after_the_other(split: World) -> None:
    ca = split.upload("Missed twice")
    in_both(split, ca)
    for zone in (SHORT, LONG):
        split.edge.edit(zone, ca.cloudflare_id, [])
    split.sweep()
    rows = drift_open(split.account, ca=str(ca.pk))
    proposal = propose(by=split.owner, account=split.account, rows=rows, decision=Decision.RESTORE)
    ((left, why),) = proposal.left_out
    assert "decide on this afterwards" in why
    (request,) = ask(by=split.owner, groups=proposal.groups, reason="Put back")
    assert {left.zone.name, request.hostnames.get().zone.name} == {SHORT, LONG}


def test_undoing_a_change_of_the_shorter_zone_leaves_the_longer_one_alone(split: World) -> None:
    ca = split.upload("Undone")
    in_both(split, ca)
    first = Plan.objects.filter(zone=split.zone(SHORT)).latest("number")
    (request,) = undo_change(by=split.owner, change_id=first.pk, reason="Not needed there")
    assert split.approve(request).state == "done"
    assert split.edge.hostnames(LONG, ca.cloudflare_id) == [NAME]
    assert split.edge.hostnames(SHORT, ca.cloudflare_id) == []


def test_the_glass_is_broken_in_the_longer_zone(split: World) -> None:
    ca = split.upload("Night")
    assert split.approve(split.ask(ca, NAME)).state == "done"
    split.edge.add_zone(LONG)
    split.run_account()
    assert split.approve(split.ask(ca, NAME)).state == "done"
    use_break_glass(by=actor(Role.RESPONDER), account=split.account, hostname=NAME, reason="Locked out")
    split.run()
    assert [rule["action"] for rule in split.edge.rules(LONG)] == ["log"]


def test_what_stands_in_the_shorter_zone_is_not_called_protected(split: World) -> None:
    ca = split.upload("Passed over")
    assert split.approve(split.ask(ca, NAME)).state == "done"
    assert [row.answer for row in build_rows(split.account, only=[NAME])] == ["protected"]
    split.edge.add_zone(LONG)
    split.run_account()
    (row,) = build_rows(split.account, only=[NAME])
    assert (row.zone.name, row.answer) == (SHORT, "not_protected")
    assert f"{LONG} serves this hostname now" in row.sentence
    (row,) = build_rows(split.account, zone=split.zone(SHORT), only=[NAME])
    assert row.answer == "not_protected", "read for its zone alone"
    assert split.approve(split.ask(ca, NAME)).state == "done"
    answers = {row.zone.name: row.answer for row in build_rows(split.account, only=[NAME])}
    assert answers == {SHORT: "not_protected", LONG: "protected"}
    assert hostname_detail(split.account, NAME).row.zone.name == LONG


def test_a_longer_zone_that_is_not_active_serves_nothing(split: World) -> None:
    ca = split.upload("Prepared")
    assert split.approve(split.ask(ca, NAME)).state == "done"
    split.edge.add_zone(LONG, status="pending")
    split.run_account()
    (row,) = build_rows(split.account, only=[NAME])
    assert (row.zone.name, row.answer) == (SHORT, "protected")
    assert split.approve(split.ask(ca, NAME)).state == "done", "prepared where it will be served"
    answers = {row.zone.name: row.answer for row in build_rows(split.account, only=[NAME])}
    assert answers == {SHORT: "protected", LONG: "not_protected"}
    assert hostname_detail(split.account, NAME).row.zone.name == SHORT
    other = f"b.{LONG}"
    assert split.approve(split.ask(ca, other)).state == "done"
    (row,) = build_rows(split.account, only=[other])
    assert (row.zone.name, row.answer) == (LONG, "not_protected")
    assert f"{LONG} is pending" in row.sentence
    assert f"Until then {SHORT} serves this hostname." in row.sentence
    assert hostname_detail(split.account, other).row.zone.name == LONG
