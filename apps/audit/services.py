"""Writing the audit log. There is one way in, and it needs an open transaction.

If the event cannot be written the act did not happen: the caller's transaction rolls back with it (INV-1).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.utils import timezone

from apps.audit.chain import event_hash
from apps.audit.models import AuditEvent, AuditHead


class ActorLike(Protocol):
    """Who acts, as text that outlives the person's account."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def via(self) -> str: ...
    @property
    def request_id(self) -> str: ...


def record(
    *,
    by: ActorLike,
    action: str,
    subject: tuple[str, object, str],
    account: object = "",
    zone: str = "",
    hostnames: Iterable[str] = (),
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    correlation_id: str = "",
) -> AuditEvent:
    """Append one event and return it.

    `subject` is (type, id, label). Raises TransactionManagementError outside a transaction: an event must
    commit together with the act it tells of, or not at all.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("audit events are written inside the act's own transaction")
    head, _ = AuditHead.objects.select_for_update().get_or_create(pk=1)
    now = timezone.now()
    content = _plain(
        {
            "at": now.isoformat(timespec="microseconds"),
            "actor_kind": by.kind,
            "actor_id": by.id,
            "actor_label": by.label,
            "via": by.via,
            "action": action,
            "subject_type": subject[0],
            "subject_id": str(subject[1]),
            "subject_label": subject[2][:300],
            "account": str(account or ""),
            "zone": zone,
            "hostnames": sorted(hostnames),
            "reason": reason,
            "before": before,
            "after": after,
            "details": details or {},
            "correlation_id": correlation_id,
            "request_id": by.request_id,
        }
    )
    seq = head.seq + 1
    digest = event_hash(seq, head.hash, content)
    event = AuditEvent.objects.create(**{**content, "at": now}, seq=seq, prev_hash=head.hash, hash=digest)
    AuditHead.objects.filter(pk=1).update(seq=seq, hash=digest)
    return event


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """The content as JSON would give it back, so that the stored row hashes to the same value."""
    plain: dict[str, Any] = json.loads(json.dumps(content, cls=DjangoJSONEncoder))
    return plain
