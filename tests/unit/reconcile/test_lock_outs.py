"""A hostname that refuses every client is told once, with the read that shows it, and once when it is over."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.inventory.models import EdgeCertificate
from apps.reconcile.lock_outs import open_lock_outs
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
