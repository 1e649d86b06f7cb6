"""What is due is claimed once, settled by its holder only, and never lost."""

from __future__ import annotations

import subprocess
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from apps.outbox import processes
from apps.outbox.models import OutboxEntry
from apps.outbox.processes import is_gone, this_process
from apps.outbox.selectors import entries_due, entry_of, parked_entries
from apps.outbox.services import (
    claim,
    defer,
    holds,
    mark_due,
    park,
    postpone,
    release_leases_of_the_dead,
    renew,
    settle,
)

pytestmark = pytest.mark.django_db
ZONE = uuid.uuid4()


def take(worker: str = "w1", lease_s: float = 60):  # type: ignore[no-untyped-def]
    return claim(kind="zone", subject_id=ZONE, worker=worker, lease_s=lease_s)


def test_asking_twice_makes_one_entry_and_one_claim() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    mark_due(kind="zone", subject_id=ZONE)
    assert OutboxEntry.objects.count() == 1
    assert take() is not None
    assert take("w2") is None


def test_what_is_not_due_or_not_known_is_not_claimed() -> None:
    assert take() is None
    mark_due(kind="zone", subject_id=ZONE)
    OutboxEntry.objects.update(due_at=Now() + timedelta(minutes=1))
    assert take() is None


def test_a_lease_that_ran_out_goes_to_the_next_and_the_first_holder_changes_nothing() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    first = take()
    assert first and holds(first, for_s=30)
    assert not holds(first, for_s=90)
    OutboxEntry.objects.update(leased_until=Now() - timedelta(seconds=1))
    second = take("w2")
    assert second and second.generation == first.generation + 1
    assert not holds(first, for_s=0)
    assert not settle(first, next_in_s=1)
    assert not defer(first, delay_s=1, error="late")
    assert not park(first, reason="late")
    assert not postpone(first, delay_s=1, why="late")
    assert holds(second, for_s=1)


def test_settling_sets_the_next_run_and_clears_the_attempts() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    lease = take()
    assert lease and lease.attempts == 1
    assert settle(lease, next_in_s=60)
    entry = entry_of("zone", ZONE)
    assert entry and entry.attempts == 0 and entry.leased_until is None and not entry.urgent
    assert list(entries_due()) == []


def test_what_is_asked_during_a_run_is_due_right_after_it() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    lease = take()
    mark_due(kind="zone", subject_id=ZONE)
    assert lease and settle(lease, next_in_s=600)
    assert [entry.subject_id for entry in entries_due()] == [ZONE]


def test_a_deferred_entry_waits_at_most_ten_minutes_and_keeps_counting() -> None:
    mark_due(kind="zone", subject_id=ZONE, urgent=False)
    lease = take()
    assert lease and defer(lease, delay_s=0, error="no answer")
    again = take()
    assert again and again.attempts == 2
    assert defer(again, delay_s=10_000, error="no answer")
    assert OutboxEntry.objects.filter(due_at__lte=Now() + timedelta(seconds=601)).exists()
    entry = entry_of("zone", ZONE)
    assert entry and entry.last_error == "no answer"


def test_a_postponed_entry_waits_and_counts_no_attempt() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    lease = take()
    assert lease and lease.attempts == 1
    assert postpone(lease, delay_s=120, why="The budget is used up.")
    entry = entry_of("zone", ZONE)
    assert entry and (entry.attempts, entry.last_error, entry.leased_until) == (0, "The budget is used up.", None)
    assert take() is None
    assert OutboxEntry.objects.filter(due_at__gt=Now() + timedelta(seconds=100)).exists()


def test_what_is_asked_during_a_postponed_run_goes_at_once() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    lease = take()
    mark_due(kind="zone", subject_id=ZONE)
    assert lease and postpone(lease, delay_s=120, why="A sweep has to wait.")
    again = take()
    assert again and again.attempts == 1


def test_what_is_asked_during_a_run_that_fails_goes_at_once() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    lease = take()
    mark_due(kind="zone", subject_id=ZONE)
    assert lease and defer(lease, delay_s=120, error="The token is refused.")
    assert take(), "a token that was replaced meanwhile is tried at once"


def test_what_is_asked_while_a_run_is_about_to_park_is_not_parked() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    lease = take()
    mark_due(kind="zone", subject_id=ZONE)
    assert lease and not park(lease, reason="Cloudflare no longer lists this zone.")
    assert list(parked_entries()) == []
    again = take()
    assert again and park(again, reason="It is gone.")
    assert [entry.parked_reason for entry in parked_entries()] == ["It is gone."]


def test_a_parked_entry_is_shown_with_its_reason_until_somebody_asks_again() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    lease = take()
    assert lease and park(lease, reason="The zone is gone.")
    assert [entry.parked_reason for entry in parked_entries()] == ["The zone is gone."]
    assert take() is None
    mark_due(kind="zone", subject_id=ZONE)
    assert not parked_entries()
    assert take() is not None


def test_people_come_before_sweeps() -> None:
    sweep, person = uuid.uuid4(), uuid.uuid4()
    mark_due(kind="zone", subject_id=sweep, urgent=False)
    mark_due(kind="zone", subject_id=person)
    assert [entry.subject_id for entry in entries_due()] == [person, sweep]


def test_a_lease_is_renewed_by_its_holder_only_and_only_while_it_runs() -> None:
    mark_due(kind="zone", subject_id=ZONE)
    first = take(lease_s=20)
    assert first and not holds(first, for_s=60)
    assert renew(first, lease_s=90)
    assert holds(first, for_s=60)
    OutboxEntry.objects.update(leased_until=Now() - timedelta(seconds=1))
    assert not renew(first, lease_s=90)
    assert take("w2")
    assert not renew(first, lease_s=90)


def test_a_lease_of_a_process_that_has_ended_is_free_at_once() -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    name = this_process().rsplit(":", 2)[0] + f":{sleeper.pid}:{processes._start_of(sleeper.pid)}"
    mark_due(kind="zone", subject_id=ZONE)
    assert take(name)
    assert release_leases_of_the_dead() == 0
    assert take("w2") is None
    sleeper.kill()
    while not is_gone(name):  # a zombie has ended too: nobody has waited for it yet
        pass
    assert release_leases_of_the_dead() == 1
    sleeper.wait()
    assert is_gone(name)
    assert take("w2")


def test_only_processes_of_this_very_machine_are_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host, space, pid, start = this_process().rsplit(":", 3)
    assert not is_gone(this_process())
    assert is_gone(f"{host}:{space}:{pid}:{int(start) + 1}"), "the number is used again by another process"
    for stranger in (f"{host}:other-space:{pid}:1", f"{host}::{pid}:1", "w1", f"{host}:{space}:x:1", ""):
        assert not is_gone(stranger)
    monkeypatch.setattr(processes, "PROC", tmp_path)
    processes._space.cache_clear()
    assert not is_gone(f"{host}:{space}:{pid}:1"), "without /proc nobody is judged"
    processes._space.cache_clear()
