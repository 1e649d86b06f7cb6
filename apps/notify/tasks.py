"""The Celery tasks of notices: thin. A message may be lost, late or doubled."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task
from django.db import close_old_connections

from apps.notify.run import run_receiver
from apps.notify.selectors import PART
from apps.notify.services import KIND, read_events
from apps.outbox.selectors import entries_due
from apps.outbox.services import beat


@shared_task(name="notify.read")
def read(_subject: str = "") -> None:
    """Look for events that people are told of. The doorbell of such an event calls it."""
    close_old_connections()
    while read_events():
        pass


@shared_task(name="notify.deliver", soft_time_limit=60, time_limit=75)
def deliver(receiver: str) -> None:
    """Send what waits for one receiver."""
    close_old_connections()
    run_receiver(UUID(receiver))


@shared_task(name="notify.tick")
def tick() -> None:
    """What the doorbells would have asked for, whatever became of them."""
    read()
    for entry in entries_due(20, kinds=[KIND]):
        deliver.apply_async(args=[str(entry.subject_id)], queue="mail", expires=60)
    beat(PART)
