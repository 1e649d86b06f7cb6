"""Writing notices: from the audit log into rows, from rows to their ends.

The audit log is the trigger and the row is the job: a lost message, a second worker or a replayed task change nothing
(docs/notifications.md). A receiver (all mail, or one webhook) is leased as zones are, so one worker at a time sends.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from apps.audit.models import AuditEvent, AuditHead
from apps.audit.services import record
from apps.errors import Conflict, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.notify.audience import mail_recipients
from apps.notify.kinds import KINDS, is_told
from apps.notify.models import Notice, ReadMark
from apps.notify.outcome import MAIL_IS_OFF, Outcome, Verdict
from apps.notify.selectors import due_of, has_news, receiver_of, waiting_of, webhooks
from apps.outbox.selectors import leased_count
from apps.outbox.services import Lease, claim, holds, mark_due, renew, settle

KIND = "receiver"
WORKER = Actor.portal("notify")
# More than the task's hard limit: a lease never ends under a worker that still sends.
LEASE_S = 90.0
IDLE_S = 24 * 3600.0
EVENTS_AT_ONCE = 200
MOST_ATTEMPTS = 10
MOST_DELAY_S = 3600.0
# One mail tells of at most so many events.
MOST_IN_ONE = 100
# What flaps at the edge with every read must not fill a mailbox: the rest waits, and comes together.
MOST_AN_HOUR = 20
KEEP_FOR = timedelta(days=180)
HOUR = timedelta(hours=1)
ENOUGH = f"{MOST_AN_HOUR} mails went to this address within the hour. What waits comes together after it."
CUT_OFF = "The worker was stopped in the middle of the attempt."


def read_events() -> bool:
    """Turn audit events that were not looked at yet into notices. Returns whether more are left."""
    if not has_news():
        return False
    with transaction.atomic():
        mark, _ = ReadMark.objects.select_for_update().get_or_create(pk=1)
        # Each event commits together with the head, one after the other: whatever is at or below it is there.
        head = AuditHead.objects.values_list("seq", flat=True).first() or 0
        told = AuditEvent.objects.filter(seq__gt=mark.seq, seq__lte=head, action__in=KINDS).order_by("seq")
        events = list(told[:EVENTS_AT_ONCE])
        more = len(events) == EVENTS_AT_ONCE
        mark.seq = events[-1].seq if more else head
        mark.save(update_fields=["seq"])
        if events:
            _make_notices(events)
            Notice.objects.filter(created_at__lt=timezone.now() - KEEP_FOR).delete()
    return more


def _make_notices(events: list[AuditEvent]) -> None:
    made = [notice for event in events if is_told(event) for notice in (*_mails(event), *_hooks(event))]
    Notice.objects.bulk_create(made, ignore_conflicts=True)
    # In one order for every writer, so that no two wait for each other.
    for receiver in sorted({receiver_of(notice) for notice in made if notice.state == Notice.State.WAITING}, key=str):
        mark_due(kind=KIND, subject_id=receiver, urgent=True)


def _mails(event: AuditEvent) -> list[Notice]:
    rows = [
        _notice(event, Notice.Channel.MAIL, to.address, to.label, to.because)
        for to in mail_recipients(event, KINDS[event.action])
    ]
    for row in rows if not settings.BYOCA_MAIL else ():
        row.state, row.last_error, row.ended_at = Notice.State.NOT_DELIVERED, MAIL_IS_OFF, timezone.now()
    return rows


def _hooks(event: AuditEvent) -> list[Notice]:
    return [_notice(event, Notice.Channel.WEBHOOK, str(hook.pk), hook.name) for hook in webhooks()]


def _notice(event: AuditEvent, channel: Notice.Channel, recipient: str, label: str, because: str = "") -> Notice:
    return Notice(
        event_seq=event.seq, action=event.action, headline=KINDS[event.action].headline_of([event]), channel=channel,
        recipient=recipient, label=label, because=because, due_at=Now(),
    )  # fmt: skip


def take_receiver(*, receiver: UUID, worker: str) -> Lease | None:
    """Lease a due receiver, unless enough are being served. What is turned away stays due for the next tick."""
    with transaction.atomic():
        # Workers queue at this row, so that they count one after the other.
        list(ReadMark.objects.select_for_update())
        if leased_count(KIND) >= settings.BYOCA_NOTICES_AT_ONCE:
            return None
        return claim(kind=KIND, subject_id=receiver, worker=worker, lease_s=LEASE_S)


def begin_delivery(lease: Lease) -> list[Notice]:
    """What to deliver next, with its attempt counted. Empty when nothing is due or the lease is lost.

    By webhook one notice; by mail all that one person is to be told of the same kind.
    """
    # A transaction of its own: the outbox's row is never locked before the audit head.
    if not renew(lease, lease_s=LEASE_S):
        return []
    with transaction.atomic():
        for worn in due_of(lease.subject_id).filter(attempts__gte=MOST_ATTEMPTS):
            _give_up(worn, worn.last_error)
        first = _first_due(lease.subject_id)
        if first is None:
            return []
        together = due_of(lease.subject_id).filter(recipient=first.recipient, action=first.action)
        chosen = [row.pk for row in together[: MOST_IN_ONE if first.channel == Notice.Channel.MAIL else 1]]
        Notice.objects.filter(pk__in=chosen).update(attempts=F("attempts") + 1, last_error=CUT_OFF)
        return list(Notice.objects.filter(pk__in=chosen).order_by("event_seq"))


def _first_due(receiver: UUID) -> Notice | None:
    """The first that is due. What is due to somebody who had enough mails within the hour is put off on the way."""
    while first := due_of(receiver).first():
        held_until = _held_until(first)
        if held_until is None:
            return first
        due_of(receiver).filter(recipient=first.recipient).update(due_at=held_until, last_error=ENOUGH)
    return None


def _held_until(notice: Notice) -> datetime | None:
    """Until when no further mail goes to this recipient. Notices of one mail have ended at the same moment."""
    if notice.channel != Notice.Channel.MAIL:
        return None
    mails = Notice.objects.filter(channel=notice.channel, recipient=notice.recipient, state=Notice.State.SENT)
    times = mails.filter(ended_at__gt=Now() - HOUR).order_by("-ended_at").values_list("ended_at", flat=True).distinct()
    oldest = times[MOST_AN_HOUR - 1 : MOST_AN_HOUR].first()
    return oldest + HOUR if oldest else None


@transaction.atomic
def finish_delivery(lease: Lease, delivered: list[Notice], outcome: Outcome) -> None:
    """Keep what became of the attempt. That something was sent counts whoever holds the lease by now."""
    if outcome.verdict is Verdict.SENT:
        sent = Notice.objects.filter(pk__in=[notice.pk for notice in delivered])
        sent.update(state=Notice.State.SENT, ended_at=Now(), last_error="")
        return
    if not holds(lease, for_s=0):
        return
    for notice in delivered:
        if outcome.verdict is Verdict.NEVER or notice.attempts >= MOST_ATTEMPTS:
            _give_up(notice, outcome.reason)
        else:
            _put_off(notice, outcome.reason)
    if outcome.receiver_down:
        for notice in due_of(lease.subject_id):
            notice.attempts += 1
            _put_off(notice, outcome.reason)


def _put_off(notice: Notice, reason: str) -> None:
    delay_s = min(settings.BYOCA_NOTICE_RETRY_S * 2 ** (notice.attempts - 1), MOST_DELAY_S)
    Notice.objects.filter(pk=notice.pk).update(
        attempts=notice.attempts, due_at=Now() + timedelta(seconds=delay_s), last_error=reason
    )


def _give_up(notice: Notice, reason: str) -> None:
    """The end without delivery is an event: somebody was not told. It names no address."""
    Notice.objects.filter(pk=notice.pk).update(state=Notice.State.NOT_DELIVERED, ended_at=Now(), last_error=reason)
    record(
        by=WORKER, action="notice:not_delivered", subject=("notice", notice.pk, notice.headline),
        details={"channel": notice.channel, "to": notice.label, "attempts": notice.attempts, "event": notice.event_seq},
    )  # fmt: skip


def end_run(lease: Lease) -> None:
    """Give the receiver back, due again when its next notice is."""
    earliest = waiting_of(lease.subject_id).order_by("due_at").values_list("due_at", flat=True).first()
    left = (earliest - timezone.now()).total_seconds() if earliest else IDLE_S
    settle(lease, next_in_s=max(left, 0.0))


@transaction.atomic
def retry_notice(*, by: Actor, notice_id: UUID) -> Notice:
    """Send once more what was not delivered. Raises Forbidden, NotFound, or Conflict when it cannot be sent."""
    by.require(Permission.RUN_RETRY)
    notice = Notice.objects.select_for_update().filter(pk=notice_id).first()
    if notice is None:
        raise NotFound("No such notice. Notices are kept for 180 days.")
    if notice.state != Notice.State.NOT_DELIVERED:
        raise Conflict("This notice was sent or is being sent already.", code="not_failed")
    if notice.channel == Notice.Channel.MAIL and not settings.BYOCA_MAIL:
        raise Conflict(MAIL_IS_OFF, code="mail_off")
    if notice.channel == Notice.Channel.WEBHOOK and not webhooks().filter(pk=notice.recipient).exists():
        raise Conflict("Its webhook was removed. Add it again for what comes.", code="webhook_removed")
    Notice.objects.filter(pk=notice.pk).update(
        state=Notice.State.WAITING, attempts=0, due_at=Now(), ended_at=None, last_error=""
    )
    record(by=by, action="notice:retried", subject=("notice", notice.pk, notice.headline))
    mark_due(kind=KIND, subject_id=receiver_of(notice))
    notice.refresh_from_db()
    return notice
