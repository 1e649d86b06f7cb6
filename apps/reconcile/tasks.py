"""The Celery tasks: thin. The row in the outbox is the job; a message holds one id and may be lost, late or doubled."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import shared_task
from django.db import close_old_connections

from apps.coverage.break_glass import return_due_break_glasses
from apps.inventory.neighbours import notice_neighbours
from apps.inventory.watermark import check_history
from apps.outbox.doorbell import queue_of
from apps.outbox.selectors import entries_due, is_alive
from apps.outbox.services import beat, release_leases_of_the_dead
from apps.reconcile.accounts import ask_for_token_checks, run_account
from apps.reconcile.observe import WORKER
from apps.reconcile.services import plan_waiting_requests
from apps.reconcile.zones import run_zone

log = structlog.get_logger(__name__)

# Of ticks that piled up while no worker listened the first says it all; beat sends them further apart than this.
SAME_TICK_S = 0.5


@shared_task(name="reconcile.account")
def reconcile_account(account_id: str) -> None:
    """Bring one account up to date, if it is due."""
    close_old_connections()
    run_account(UUID(account_id))
    plan_waiting_requests(UUID(account_id))


@shared_task(name="reconcile.zone")
def reconcile_zone(zone_id: str) -> None:
    """Bring one zone up to date, if it is due."""
    close_old_connections()
    run_zone(UUID(zone_id))


@shared_task(name="reconcile.check_tokens")
def check_tokens() -> None:
    """Ask for a fresh look at what each account's token may do. A worker sends it when it starts."""
    close_old_connections()
    ask_for_token_checks()


@shared_task(name="reconcile.tick")
def tick() -> None:
    """Find what is due, whatever became of its message, and send it to the workers. Beat calls it; so may anybody."""
    close_old_connections()
    if is_alive("tick", within_s=SAME_TICK_S):
        return
    if freed := release_leases_of_the_dead():
        log.warning("leases_of_dead_workers_released", count=freed)
    notice_neighbours()
    check_history()
    return_due_break_glasses(by=WORKER)
    for entry in entries_due():
        task = reconcile_account if entry.kind == "account" else reconcile_zone
        task.apply_async(args=[str(entry.subject_id)], queue=queue_of(entry.kind, urgent=entry.urgent), expires=60)
    beat("tick")
