"""Reading notices: what is due for a receiver, what the page lists, and who cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from apps.audit.models import AuditEvent, AuditHead
from apps.identity.models import Person
from apps.identity.permissions import Role
from apps.notify.models import Notice, ReadMark, Webhook
from apps.outbox.selectors import is_alive

# The outbox's subject for all mail; each webhook is a subject of its own.
MAIL = uuid5(NAMESPACE_URL, "byoca:mail")
PART = "notices"


def has_news() -> bool:
    """Whether the audit log has events that were not looked at yet. Two rows read, nothing locked."""
    head = AuditHead.objects.values_list("seq", flat=True).first() or 0
    return head > (ReadMark.objects.values_list("seq", flat=True).first() or 0)


def waiting_of(receiver: UUID) -> QuerySet[Notice]:
    """What waits for a receiver, oldest event first."""
    rows = Notice.objects.filter(state=Notice.State.WAITING).order_by("event_seq", "recipient")
    if receiver == MAIL:
        return rows.filter(channel=Notice.Channel.MAIL)
    return rows.filter(channel=Notice.Channel.WEBHOOK, recipient=str(receiver))


def due_of(receiver: UUID) -> QuerySet[Notice]:
    return waiting_of(receiver).filter(due_at__lte=Now())


def receiver_of(notice: Notice) -> UUID:
    return MAIL if notice.channel == Notice.Channel.MAIL else UUID(notice.recipient)


def events_of(notices: Sequence[Notice]) -> list[AuditEvent]:
    """The events that the notices tell of, oldest first."""
    return list(AuditEvent.objects.filter(seq__in={notice.event_seq for notice in notices}).order_by("seq"))


def webhooks() -> QuerySet[Webhook]:
    """Those in use."""
    return Webhook.objects.filter(removed_at=None)


def notices(*, state: str = "", channel: str = "") -> QuerySet[Notice]:
    """Newest event first."""
    wanted = {"state": state, "channel": channel}
    return Notice.objects.filter(**{name: value for name, value in wanted.items() if value})


def people_without_address() -> QuerySet[Person]:
    """Those who would be told of something and have no address."""
    told = Person.objects.filter(
        is_active=True, role_grants__role__in=[Role.ENGINEER.value, Role.OWNER.value], email=""
    )
    return told.distinct().order_by("username")


def is_working() -> bool:
    """Whether a worker takes notices, by its heartbeat."""
    return is_alive(PART, within_s=settings.BYOCA_STALE_AFTER_S)
