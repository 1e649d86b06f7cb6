"""The log is one whole chain, and nothing changes or leaves it."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit import triggers
from apps.audit.chain import event_hash
from apps.audit.models import AuditEvent, AuditHead
from apps.audit.selectors import content_of, events_matching, verify_chain
from apps.audit.services import record
from apps.identity.actors import Actor

pytestmark = pytest.mark.django_db
WORKER = Actor.portal("test")


def write(action: str = "thing:done", **more: object) -> AuditEvent:
    return record(by=WORKER, action=action, subject=("thing", 1, "Thing one"), **more)  # type: ignore[arg-type]


def test_events_are_numbered_without_gaps_and_chained() -> None:
    events = [write() for _ in range(3)]
    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.prev_hash for event in events] == ["", events[0].hash, events[1].hash]
    assert verify_chain().whole
    assert verify_chain().checked == 3


def test_stored_event_hashes_to_its_own_hash_after_reading_it_back() -> None:
    event = write(before={"b": [1, None]}, after={"ü": "x\n"}, hostnames=["b.example", "a.example"], reason="why")
    stored = AuditEvent.objects.get(seq=event.seq)
    assert event_hash(stored.seq, stored.prev_hash, content_of(stored)) == stored.hash
    assert stored.hostnames == ["a.example", "b.example"]


@pytest.mark.django_db(transaction=True)
def test_an_event_outside_a_transaction_is_refused() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        write()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_auditevent SET reason = 'x'", "DELETE FROM audit_auditevent"],
)
def test_raw_sql_cannot_change_or_remove_an_event(statement: str) -> None:
    write()
    with pytest.raises(DatabaseError, match="cannot be changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEvent.objects.get().reason == ""


def test_the_orm_cannot_change_or_remove_an_event() -> None:
    event = write()
    event.reason = "other"
    with pytest.raises(DatabaseError), transaction.atomic():
        event.save()
    with pytest.raises(DatabaseError), transaction.atomic():
        event.delete()


FIELDS = ["action", "actor_label", "reason", "subject_id", "hash", "prev_hash", "correlation_id"]


@pytest.mark.parametrize("field", FIELDS)
def test_whatever_is_changed_behind_the_triggers_the_first_bad_event_is_named(field: str) -> None:
    for _ in range(4):
        write()
    triggers.remove(connection)
    AuditEvent.objects.filter(seq=2).update(**{field: "forged"})
    triggers.install(connection)
    result = verify_chain()
    assert (result.whole, result.first_bad) == (False, 2)


def test_a_removed_tail_and_a_removed_middle_are_found() -> None:
    for _ in range(4):
        write()
    triggers.remove(connection)
    AuditEvent.objects.filter(seq=4).delete()
    assert verify_chain().first_bad == 4
    AuditEvent.objects.filter(seq=2).delete()
    assert verify_chain().first_bad == 3
    triggers.install(connection)


def test_an_empty_log_is_whole_and_a_lost_head_is_not() -> None:
    assert verify_chain().whole
    write()
    AuditHead.objects.all().delete()
    assert not verify_chain().whole


def test_events_are_found_by_text_action_actor_subject_and_day() -> None:
    first = write("request:approved", hostnames=["api.pay.example"], reason="Launch", correlation_id="c1")
    write("ca:live")
    day = first.at.date()
    assert [e.seq for e in events_matching(q="api.pay")] == [1]
    assert [e.seq for e in events_matching(q="launch")] == [1]
    assert [e.seq for e in events_matching(action="ca:live")] == [2]
    assert [e.seq for e in events_matching(actor="portal:test")] == [2, 1]
    assert [e.seq for e in events_matching(subject_type="thing", subject_id="1", correlation_id="c1")] == [1]
    assert events_matching(since=day, until=day).count() == 2
    assert events_matching(until=day.replace(year=2000)).count() == 0
