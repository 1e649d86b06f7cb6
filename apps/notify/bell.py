"""Rings for the reader of the audit log when an event commits that somebody is told of. A lost bell costs one tick."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

from apps.audit.models import AuditEvent
from apps.notify.kinds import is_told
from apps.outbox.doorbell import ring_on_commit

EVENTS = uuid5(NAMESPACE_URL, "byoca:events")


def ring_for(instance: AuditEvent, **_signal: object) -> None:
    """After each event that is written, in its own transaction."""
    if is_told(instance):
        ring_on_commit("events", EVENTS)
