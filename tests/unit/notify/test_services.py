"""From the audit log to rows and from rows to their ends, whatever dies, doubles or is lost on the way."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.errors import Conflict, Forbidden, NotFound
from apps.identity.permissions import Role
from apps.notify import services
from apps.notify.models import Notice, ReadMark
from apps.notify.outcome import SENT, later
from apps.notify.run import run_receiver
from apps.notify.selectors import MAIL, has_news, notices
from apps.notify.services import begin_delivery, end_run, finish_delivery, read_events, retry_notice, take_receiver
from apps.notify.tasks import deliver, read, tick
from apps.outbox.models import OutboxEntry
from apps.outbox.selectors import is_alive
from tests.factories import actor
from tests.smtp_server import SmtpServer
from tests.unit.notify import desk as world
from tests.unit.notify.desk import Desk, states, work

OWNER, ENGINEER = "owner@pay.example", "engineer@sec.example"


@pytest.fixture(autouse=True)
def _own_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are called in this process, inside the test's transaction."""
    monkeypatch.setattr("apps.notify.tasks.close_old_connections", lambda: None)


def take(worker: str = "w") -> Any:
    lease = take_receiver(receiver=MAIL, worker=worker)
    assert lease is not None
    return lease


def test_reading_twice_makes_no_second_notice(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell()
    work()
    assert not has_news() and not read_events()
    # As a restored mark, or a second reader that saw the same, would have it.
    ReadMark.objects.update(seq=0)
    work()
    assert Notice.objects.count() == 2 and len(smtp.received) == 2


def test_the_first_reading_of_an_empty_mark_reads_all(desk: Desk, smtp: SmtpServer) -> None:
    ReadMark.objects.all().delete()
    desk.tell()
    work()
    assert len(smtp.received) == 2


def test_more_than_one_reading_takes(desk: Desk, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "EVENTS_AT_ONCE", 2)
    desk.tell(*(f"n{number}.pay.example" for number in range(5)))
    assert read_events() and read_events() and not read_events()
    assert Notice.objects.values("event_seq").distinct().count() == 5


def test_without_news_two_rows_are_read_and_nothing_is_locked(desk: Desk, django_assert_num_queries: Any) -> None:
    desk.tell()
    read_events()
    with django_assert_num_queries(2) as seen:
        assert not read_events()
    assert all(query["sql"].startswith("SELECT") and "FOR UPDATE" not in query["sql"] for query in seen)


def test_what_rolls_back_is_told_to_nobody(desk: Desk, smtp: SmtpServer) -> None:
    with transaction.atomic():
        desk.tell()
        transaction.set_rollback(True)
    work()
    assert smtp.received == []


def test_one_worker_at_a_time_serves_a_receiver(desk: Desk, smtp: SmtpServer, settings: Any) -> None:
    settings.BYOCA_NOTICES_AT_ONCE = 5
    desk.tell()
    read_events()
    lease = take("one")
    assert take_receiver(receiver=MAIL, worker="two") is None
    run_receiver(MAIL)
    assert smtp.received == []
    end_run(lease)
    run_receiver(MAIL)
    assert len(smtp.received) == 2
    deliver(str(MAIL))
    assert len(smtp.received) == 2, "a message that came twice"


def test_no_more_receivers_are_served_at_once_than_set(desk: Desk, smtp: SmtpServer, settings: Any) -> None:
    settings.BYOCA_NOTICES_AT_ONCE = 0
    desk.tell()
    work()
    assert smtp.received == [] and set(states().values()) == {"waiting"}


def test_a_killed_worker_costs_one_attempt_and_the_notice_goes_on(desk: Desk, smtp: SmtpServer) -> None:
    """Between its begin and its end the process was gone, and the lease is free."""
    desk.tell()
    read_events()
    begun = begin_delivery(take())
    assert [notice.recipient for notice in begun] == [ENGINEER]
    row = Notice.objects.get(recipient=ENGINEER)
    assert (row.attempts, row.last_error) == (1, services.CUT_OFF)
    OutboxEntry.objects.filter(kind="receiver").update(leased_until=None, leased_by="")
    work()
    assert set(states().values()) == {"sent"}
    assert len(smtp.received) == 2


def test_a_notice_that_kills_its_worker_again_and_again_ends(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell()
    read_events()
    Notice.objects.filter(recipient=OWNER).update(attempts=services.MOST_ATTEMPTS, last_error=services.CUT_OFF)
    work()
    assert states() == {OWNER: "not_delivered", ENGINEER: "sent"}
    assert Notice.objects.get(recipient=OWNER).last_error == services.CUT_OFF
    event = AuditEvent.objects.get(action="notice:not_delivered")
    assert event.details["attempts"] == services.MOST_ATTEMPTS


def test_a_worker_that_lost_its_lease_begins_nothing_and_fails_nothing(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell()
    read_events()
    lease = take()
    begun = begin_delivery(lease)
    OutboxEntry.objects.filter(kind="receiver").update(leased_until=timezone.now() - timedelta(seconds=1))
    finish_delivery(lease, begun, later("too late to say", receiver_down=True))
    assert not Notice.objects.filter(last_error="too late to say").exists()
    assert begin_delivery(lease) == []
    finish_delivery(lease, begun, SENT)
    assert states()[ENGINEER] == "sent", "what was sent was sent"


def test_attempts_are_further_and_further_apart_and_end(desk: Desk, smtp: SmtpServer) -> None:
    smtp.answers["RCPT"] = "452 4.2.2 Mailbox full"
    desk.tell()
    read_events()
    waits = []
    for _ in range(services.MOST_ATTEMPTS):
        world.later()
        work()
        row = Notice.objects.get(recipient=OWNER)
        waits.append(round((row.due_at - timezone.now()).total_seconds()))
    assert row.state == "not_delivered" and "Mailbox full" in row.last_error
    doubling = [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert all(abs(wait - wanted) < 10 for wait, wanted in zip(waits, doubling, strict=False))
    assert AuditEvent.objects.filter(action="notice:not_delivered").count() == 2
    work()
    assert row.attempts == services.MOST_ATTEMPTS


def test_the_receiver_is_due_when_its_next_notice_is(desk: Desk, smtp: SmtpServer) -> None:
    smtp.answers["RCPT"] = lambda line: "452 4.2.2 Mailbox full" if "owner@" in line else "250 fine"
    desk.tell()
    work()
    due = OutboxEntry.objects.get(kind="receiver").due_at
    assert abs((due - Notice.objects.get(recipient=OWNER).due_at).total_seconds()) < 5


def test_a_long_run_gives_way(desk: Desk, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.notify.run.RUN_S", 0.0)
    desk.tell()
    work()
    assert smtp.received == [] and OutboxEntry.objects.get(kind="receiver").leased_until is None
    monkeypatch.setattr("apps.notify.run.RUN_S", 20.0)
    work()
    assert len(smtp.received) == 2


def test_a_delivery_without_an_end_is_cut_off_and_put_off(
    desk: Desk, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Celery raises in the task after a minute."""

    def cut_off(_notices: list[Notice]) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr("apps.notify.run.send_mail", cut_off)
    desk.tell()
    work()
    assert {(row.state, row.attempts) for row in Notice.objects.all()} == {("waiting", 1)}
    entry = OutboxEntry.objects.get(kind="receiver")
    assert entry.leased_until is None and entry.due_at > timezone.now()


def test_without_a_mail_server_the_notice_says_so_and_can_be_sent_later(
    desk: Desk, smtp: SmtpServer, settings: Any
) -> None:
    settings.BYOCA_MAIL = False
    desk.tell()
    work()
    assert set(states().values()) == {"not_delivered"} and smtp.received == []
    row = Notice.objects.get(recipient=OWNER)
    assert "EMAIL_URL" in row.last_error
    with pytest.raises(Conflict, match="EMAIL_URL"):
        retry_notice(by=actor(Role.ADMIN), notice_id=row.pk)
    settings.BYOCA_MAIL = True
    with pytest.raises(Forbidden):
        retry_notice(by=actor(Role.AUDITOR), notice_id=row.pk)
    assert retry_notice(by=actor(Role.ADMIN), notice_id=row.pk).state == "waiting"
    work()
    assert states() == {OWNER: "sent", ENGINEER: "not_delivered"}
    with pytest.raises(Conflict, match="was sent"):
        retry_notice(by=actor(Role.ADMIN), notice_id=row.pk)
    with pytest.raises(NotFound):
        retry_notice(by=actor(Role.ADMIN), notice_id=uuid.uuid4())
    assert AuditEvent.objects.filter(action="notice:retried").count() == 1


def test_old_notices_are_forgotten(desk: Desk, smtp: SmtpServer) -> None:
    desk.tell()
    work()
    Notice.objects.update(created_at=timezone.now() - services.KEEP_FOR - timedelta(days=1))
    desk.tell()
    work()
    assert notices().values("event_seq").distinct().count() == 1
    assert notices(state="sent", channel="mail").count() == 2 and not notices(channel="webhook").exists()


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that would go to the broker."""
    sent: list[str] = []
    monkeypatch.setattr("apps.outbox.doorbell._ring", lambda kind, _subject, _queue: sent.append(kind))
    return sent


@pytest.mark.django_db(transaction=True)
def test_an_event_rings_after_its_commit_and_others_do_not(smtp: SmtpServer, rung: list[str]) -> None:
    desk = Desk()
    rung.clear()
    desk.tell(action="hostname:renamed")
    assert rung == []
    desk.tell()
    assert rung == ["events"]
    read()
    assert rung == ["events", "receiver"]


def test_the_tick_finds_what_no_message_told_of(desk: Desk, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(deliver, "apply_async", lambda **call: asked.append(call))
    assert not is_alive("notices", within_s=60)
    desk.tell()
    tick()
    assert [(call["args"], call["queue"]) for call in asked] == [([str(MAIL)], "mail")]
    assert is_alive("notices", within_s=60)
