"""Marking, claiming and settling what is due.

A claim is one conditional UPDATE that must change one row; every later write of the same worker names the
generation it was given, so a worker that was paused past its lease changes nothing when it wakes (INV-16, 17).
Times are the database's own (INV-28).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Greatest, Least, Now

from apps.outbox.doorbell import ring_on_commit
from apps.outbox.models import Heartbeat, OutboxEntry
from apps.outbox.processes import is_gone

MAX_DELAY_S = 600.0


@dataclass(frozen=True)
class Lease:
    """The right to work on one subject until the database says otherwise."""

    kind: str
    subject_id: UUID
    generation: int
    wanted: int
    attempts: int


def mark_due(*, kind: str, subject_id: UUID, urgent: bool = True) -> None:
    """Ask for a run as soon as possible, in the caller's transaction. A parked entry is woken.

    Asking twice costs one run: the entry says that the subject is due, never what to do with it.
    """
    entry, created = OutboxEntry.objects.get_or_create(
        kind=kind, subject_id=subject_id, defaults={"due_at": Now(), "wanted": 1, "urgent": urgent}
    )
    if not created:
        changes: dict[str, object] = {"urgent": True} if urgent else {}
        OutboxEntry.objects.filter(pk=entry.pk).update(
            **changes,
            wanted=F("wanted") + 1,
            due_at=Least("due_at", Now()),
            attempts=0,
            parked_at=None,
            parked_reason="",
        )
    ring_on_commit(kind, subject_id, urgent=urgent or entry.urgent)


def claim(*, kind: str, subject_id: UUID, worker: str, lease_s: float) -> Lease | None:
    """Lease the subject to `worker` if it is due and nobody holds it, else None.

    The attempt is counted before anything risky happens, so that a run that always kills its worker ends parked.
    """
    claimed = (
        OutboxEntry.objects.filter(kind=kind, subject_id=subject_id, parked_at=None, due_at__lte=Now())
        .filter(Q(leased_until=None) | Q(leased_until__lt=Now()))
        .update(
            leased_by=worker,
            leased_until=Now() + timedelta(seconds=lease_s),
            generation=F("generation") + 1,
            attempts=F("attempts") + 1,
        )
    )
    if claimed != 1:
        return None
    entry = OutboxEntry.objects.get(kind=kind, subject_id=subject_id)
    return Lease(kind, subject_id, entry.generation, entry.wanted, entry.attempts)


def holds(lease: Lease, *, for_s: float) -> bool:
    """Whether the lease is still ours and outlives the next `for_s` seconds."""
    return _leased(lease).filter(leased_until__gt=Now() + timedelta(seconds=for_s)).exists()


def renew(lease: Lease, *, lease_s: float) -> bool:
    """Hold on for `lease_s` from now. False when the lease is over or somebody else's: then nothing may be written."""
    return _leased(lease).filter(leased_until__gt=Now()).update(leased_until=Now() + timedelta(seconds=lease_s)) == 1


def release_leases_of_the_dead() -> int:
    """End the leases of processes that are certainly gone, so that their work goes on within seconds. Returns how many."""  # noqa: E501
    freed = 0
    for entry in OutboxEntry.objects.filter(leased_until__gt=Now()).exclude(leased_by=""):
        if is_gone(entry.leased_by):
            mine = OutboxEntry.objects.filter(pk=entry.pk, generation=entry.generation)
            freed += mine.update(leased_by="", leased_until=None)
    return freed


def settle(lease: Lease, *, next_in_s: float) -> bool:
    """End a good run. Due again at once if somebody asked meanwhile, else in `next_in_s` seconds."""
    with transaction.atomic():
        if (row := _locked(lease)) is None:
            return False
        delay = 0.0 if row.wanted != lease.wanted else next_in_s
        return _end(lease, delay, urgent=row.wanted != lease.wanted, attempts=0, last_error="", settled_at=Now())


def defer(lease: Lease, *, delay_s: float, error: str, forget_attempts: bool = False) -> bool:
    """End a run that could not finish, to be tried again after `delay_s` (at most ten minutes).

    Due at once if somebody asked meanwhile: what failed may be what they changed, as a token.
    `forget_attempts` begins their count anew, for what is tried for ever and must not look like runs cut off.
    """
    changes: dict[str, object] = {"attempts": 0} if forget_attempts else {}
    with transaction.atomic():
        if (row := _locked(lease)) is None:
            return False
        delay = 0.0 if row.wanted != lease.wanted else min(max(delay_s, 0.0), MAX_DELAY_S)
        return _end(lease, delay, last_error=error, **changes)


def postpone(lease: Lease, *, delay_s: float, why: str) -> bool:
    """End a run that was not allowed to make its calls yet. It counts as no attempt, and as no failure.

    Due at once if somebody asked meanwhile: their change may go where a sweep may not.
    """
    with transaction.atomic():
        if (row := _locked(lease)) is None:
            return False
        delay = 0.0 if row.wanted != lease.wanted else min(max(delay_s, 0.0), MAX_DELAY_S)
        return _end(lease, delay, attempts=Greatest(F("attempts") - 1, 0), last_error=why)


def park(lease: Lease, *, reason: str) -> bool:
    """End a run that needs a person. The reason is shown; `mark_due` wakes it.

    Not parked, and due at once, if somebody asked meanwhile. Returns whether it is parked.
    """
    with transaction.atomic():
        if (row := _locked(lease)) is None:
            return False
        if row.wanted != lease.wanted:
            _end(lease, 0.0)
            return False
        return _end(lease, 0.0, parked_at=Now(), parked_reason=reason, last_error=reason)


def beat(part: str) -> None:
    """Keep that the part works, at the database's own time."""
    Heartbeat.objects.update_or_create(part=part, defaults={"at": Now()})


def _locked(lease: Lease) -> OutboxEntry | None:
    """The entry, kept from changing until the transaction ends. None when the lease is somebody else's."""
    row = OutboxEntry.objects.select_for_update().filter(kind=lease.kind, subject_id=lease.subject_id).first()
    return row if row is not None and row.generation == lease.generation else None


def _leased(lease: Lease) -> QuerySet[OutboxEntry]:
    return OutboxEntry.objects.filter(kind=lease.kind, subject_id=lease.subject_id, generation=lease.generation)


def _end(lease: Lease, delay_s: float, **changes: object) -> bool:
    # SQLite compares times as text: a sum of zero seconds has more digits than now, and would lie after it.
    due_at = Now() + timedelta(seconds=delay_s) if delay_s else Now()
    return _leased(lease).update(leased_by="", leased_until=None, due_at=due_at, **changes) == 1
