"""Reading the outbox."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from apps.outbox.models import Heartbeat, OutboxEntry

RECONCILED = ("account", "zone")


def entries_due(
    limit: int = 200, *, kinds: Collection[str] = RECONCILED, among: QuerySet[Any, Any] | None = None
) -> QuerySet[OutboxEntry]:
    """What a worker may claim now: due, not parked, and not under a live lease. People's changes come first.

    `among` is a query for the ids of some subjects.
    """
    entries = OutboxEntry.objects.filter(kind__in=kinds, parked_at=None, due_at__lte=Now())
    if among is not None:
        entries = entries.filter(subject_id__in=among)
    return entries.filter(Q(leased_until=None) | Q(leased_until__lt=Now())).order_by("-urgent", "due_at")[:limit]


def entry_of(kind: str, subject_id: UUID) -> OutboxEntry | None:
    """The entry of one account or zone."""
    return OutboxEntry.objects.filter(kind=kind, subject_id=subject_id).first()


def parked_entries(*, kinds: Collection[str] | None = None) -> QuerySet[OutboxEntry]:
    """What waits for a person, of some kinds or of all."""
    entries = OutboxEntry.objects.exclude(parked_at=None).order_by("parked_at")
    return entries if kinds is None else entries.filter(kind__in=kinds)


def leased_count(kind: str) -> int:
    """How many subjects of a kind are being worked on now."""
    return OutboxEntry.objects.filter(kind=kind, leased_until__gt=Now()).count()


def is_alive(part: str, *, within_s: float) -> bool:
    """Whether the part was known to work within the last seconds, by the database's own clock."""
    return Heartbeat.objects.filter(part=part, at__gt=Now() - timedelta(seconds=within_s)).exists()
