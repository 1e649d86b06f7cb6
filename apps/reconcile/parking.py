"""The end of the attempts: a subject whose every run was cut off waits for a person, and people are told."""

from __future__ import annotations

from django.db import transaction

from apps.audit.services import record
from apps.inventory.models import Account, Zone
from apps.outbox.services import Lease, park
from apps.reconcile.observe import WORKER


@transaction.atomic
def park_cut_off(lease: Lease, subject: Account | Zone) -> None:
    """Park the zone or account of this lease. Nothing is recorded when the lease is somebody else's by now."""
    reason = f"The worker stopped in the middle of this {lease.kind} too often. Read the log, then retry."
    if not park(lease, reason=reason):
        return
    zone = subject if isinstance(subject, Zone) else None
    record(
        by=WORKER, action=f"{lease.kind}:parked", subject=(lease.kind, subject.pk, subject.name),
        account=zone.account_id if zone else subject.pk, zone=zone.name if zone else "", details={"why": reason},
    )  # fmt: skip
