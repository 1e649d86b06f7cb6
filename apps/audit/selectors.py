"""Reading the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from django.db.models import Q, QuerySet

from apps.audit.chain import event_hash
from apps.audit.models import AuditEvent, AuditHead

CONTENT_FIELDS = (
    "actor_kind", "actor_id", "actor_label", "via", "action", "subject_type", "subject_id", "subject_label",
    "account", "zone", "hostnames", "reason", "before", "after", "details", "correlation_id", "request_id",
)  # fmt: skip


@dataclass(frozen=True)
class ChainResult:
    """What checking the chain found. `first_bad` is the sequence number of the first event that does not fit."""

    whole: bool
    checked: int
    first_bad: int | None = None


def events_matching(
    *,
    q: str = "",
    action: str = "",
    actor: str = "",
    subject_type: str = "",
    subject_id: str = "",
    correlation_id: str = "",
    since: date | None = None,
    until: date | None = None,
) -> QuerySet[AuditEvent]:
    """Events, newest first. `q` is looked for in subject, actor, zone, reason and hostnames."""
    events = AuditEvent.objects.order_by("-seq")
    exact = {"action": action, "subject_type": subject_type, "subject_id": subject_id, "correlation_id": correlation_id}
    events = events.filter(**{name: value for name, value in exact.items() if value})
    if actor:
        events = events.filter(Q(actor_id=actor) | Q(actor_label__icontains=actor))
    if q:
        events = events.filter(
            Q(subject_label__icontains=q)
            | Q(actor_label__icontains=q)
            | Q(zone__icontains=q)
            | Q(reason__icontains=q)
            | Q(hostnames__icontains=q)
        )
    if since:
        events = events.filter(at__date__gte=since)
    if until:
        events = events.filter(at__date__lte=until)
    return events


def content_of(event: AuditEvent) -> dict[str, object]:
    """The hashed content of a stored event."""
    content: dict[str, object] = {name: getattr(event, name) for name in CONTENT_FIELDS}
    content["at"] = event.at.isoformat(timespec="microseconds")
    return content


def verify_chain() -> ChainResult:
    """Walk the whole chain and compare it with the stored head."""
    previous, seq = "", 0
    for event in AuditEvent.objects.order_by("seq").iterator(chunk_size=500):
        seq += 1
        expected = event_hash(seq, previous, content_of(event))
        if event.seq != seq or event.prev_hash != previous or event.hash != expected:
            return ChainResult(whole=False, checked=seq, first_bad=event.seq)
        previous = event.hash
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    if (head.seq, head.hash) != (seq, previous):
        return ChainResult(whole=False, checked=seq, first_bad=seq + 1)
    return ChainResult(whole=True, checked=seq)
