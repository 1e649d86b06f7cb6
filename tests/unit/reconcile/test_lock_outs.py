"""A hostname that refuses every client is told once, with the read that shows it, and once when it is over."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.inventory.models import EdgeCertificate, EdgeRules
from apps.outbox.services import mark_due
from apps.reconcile.lock_outs import open_lock_outs
from apps.reconcile.rows import build_rows
from apps.reconcile.zones import run_zone
from tests.unit.reconcile.conftest import World

NAME = "api.northwind.example"


def told(action: str) -> int:
    return AuditEvent.objects.filter(action=action, subject_id=NAME).count()


def test_a_list_emptied_by_hand_under_a_live_rule_is_told_once(world: World) -> None:
    ca = world.upload("Locked")
    world.approve(world.ask(ca, NAME))
    assert not open_lock_outs(world.account).exists()
    world.edge.edit("northwind.example", ca.cloudflare_id, [])
    world.sweep()
    world.sweep()
    assert [row.hostname for row in open_lock_outs(world.account)] == [NAME]
    assert (told("hostname:locked_out"), told("hostname:lock_out_ended")) == (1, 0)
    world.edge.edit("northwind.example", ca.cloudflare_id, [NAME])
    world.sweep()
    assert not open_lock_outs(world.account).exists()
    assert (told("hostname:locked_out"), told("hostname:lock_out_ended")) == (1, 1)


def test_a_ca_that_runs_out_locks_out_although_nothing_changed_at_the_edge(world: World) -> None:
    ca = world.upload("Runs out")
    world.approve(world.ask(ca, NAME))
    past = timezone.now() - timedelta(seconds=1)
    CertificateAuthority.objects.filter(pk=ca.pk).update(not_after=past)
    EdgeCertificate.objects.filter(cloudflare_id=ca.cloudflare_id).update(expires_at=past)
    world.sweep()
    assert [row.hostname for row in open_lock_outs(world.account)] == [NAME]


def test_a_reading_asks_nothing_of_the_accounts_other_zones(world: World) -> None:
    ca = world.upload("Its own")
    there = world.zone("devices.northwind.example")
    assert world.approve(world.ask(ca, NAME, f"a.{there.name}")).state == "done"
    rows = build_rows(world.account)
    assert {row.zone.name for row in rows} >= {"northwind.example", there.name}
    for zone in (world.zone(), there):
        assert build_rows(world.account, zone=zone) == [row for row in rows if row.zone == zone]
    # Whoever loaded these rules would fail with them.
    EdgeRules.objects.filter(zone=there).update(rules=[{"from": "a later release"}])
    world.edge.edit("northwind.example", ca.cloudflare_id, [])
    mark_due(kind="zone", subject_id=world.zone().pk)
    run_zone(world.zone().pk)
    assert [row.hostname for row in open_lock_outs(world.account)] == [NAME]
