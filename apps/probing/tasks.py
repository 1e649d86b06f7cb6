"""The Celery tasks of probing: thin, as those of reconcile. A message holds one id and may be lost, late or doubled."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task
from django.db import close_old_connections

from apps.inventory.models import Account
from apps.outbox.selectors import entries_due
from apps.probing.models import ProbeTarget
from apps.probing.run import run_probe
from apps.probing.services import KIND, find_due

PER_ACCOUNT = 4


@shared_task(name="probing.probe")
def probe(target_id: str) -> None:
    """Probe one hostname, if it is due."""
    close_old_connections()
    run_probe(UUID(target_id))


@shared_task(name="probing.tick")
def tick() -> None:
    """Find what is due in every account, whatever became of its message. Few per account: one ends, the next rings."""
    close_old_connections()
    for account in Account.objects.filter(probe_setting__enabled=True):
        find_due(account)
        mine = ProbeTarget.objects.filter(zone__account=account).values("pk")
        for entry in entries_due(PER_ACCOUNT, kinds=[KIND], among=mine):
            probe.apply_async(args=[str(entry.subject_id)], queue="probe", expires=60)
