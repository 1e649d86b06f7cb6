"""Telling at once that a hostname refuses every client: in the audit log, in the log, and on every page.

Found with each read, so within one sweep, also when nothing changed at the edge but a CA ran out.
"""

from __future__ import annotations

import structlog
from django.db.models import QuerySet
from django.utils import timezone

from apps.audit.services import record
from apps.identity.actors import Actor
from apps.inventory.models import Account, Zone
from apps.planning.answer import Answer
from apps.planning.seen import edge_modes
from apps.planning.state import Mode, ObservedZone
from apps.reconcile.models import LockOut
from apps.reconcile.rows import build_rows

log = structlog.get_logger(__name__)
WORKER = Actor.portal("worker")


def open_lock_outs(account: Account) -> QuerySet[LockOut]:
    return LockOut.objects.filter(zone__account=account, zone__vanished_at=None, ended_at=None).select_related("zone")


def name_lock_outs(zone: Zone, observed: ObservedZone) -> None:
    """Compare what this read shows with the lock-outs known, and tell the difference. Part of storing a read."""
    known = {row.hostname: row for row in LockOut.objects.filter(zone=zone, ended_at=None)}
    blocked = {name for name, mode in edge_modes(observed.rules).items() if mode is Mode.BLOCK}
    found = {
        row.hostname: row.sentence
        for row in (build_rows(zone.account, only=blocked | set(known), zone=zone) if blocked or known else ())
        if row.answer == Answer.LOCKED_OUT.value
    }
    now = timezone.now()
    for hostname in sorted(found.keys() - known.keys()):
        LockOut.objects.create(zone=zone, hostname=hostname, detail=found[hostname], first_seen_at=now)
        _tell("hostname:locked_out", zone, hostname, found[hostname])
        log.error("hostname_locked_out", hostname=hostname, zone=zone.name)
    for hostname in sorted(known.keys() - found.keys()):
        LockOut.objects.filter(pk=known[hostname].pk).update(ended_at=now)
        _tell("hostname:lock_out_ended", zone, hostname, "")


def _tell(action: str, zone: Zone, hostname: str, why: str) -> None:
    record(
        by=WORKER, action=action, subject=("hostname", hostname, hostname), account=zone.account_id, zone=zone.name,
        hostnames=[hostname], details={"why": why},
    )  # fmt: skip
