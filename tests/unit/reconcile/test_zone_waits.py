"""How long a zone's run is tried: a lag has its own end, an outage has none, and neither is a worker that dies."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.coverage.selectors import current_plan, in_flight_requests, request_by_id
from apps.coverage.services import approve_request
from apps.inventory.models import Zone
from apps.outbox.models import OutboxEntry
from apps.outbox.services import mark_due
from apps.reconcile.accounts import run_account
from apps.reconcile.edge import ca_keys
from apps.reconcile.expected import expected_calls
from apps.reconcile.faults import PARK_AFTER_ATTEMPTS
from apps.reconcile.models import Plan
from apps.reconcile.zones import run_zone
from tests.unit.reconcile.conftest import World

MORE_THAN_PARKS = 2 * PARK_AFTER_ATTEMPTS + 6
NAME = "lag.northwind.example"


def run_next(zone: Zone) -> OutboxEntry:
    """The next run comes now, as if its time were there; nobody asks for it."""
    entries = OutboxEntry.objects.filter(kind="zone", subject_id=zone.pk)
    entries.update(due_at=Now())
    run_zone(zone.pk)
    return entries.get()


def sent_but_not_shown(world: World) -> int:
    """A change whose list the edge goes on showing as it was before. Returns the request's id."""
    ca = world.upload("Lagging")
    request = world.ask(ca, NAME, mode="verify")
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    world.edge.switch(association_lag_s=60)
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest)
    run_next(world.zone())
    return request.pk


def test_waiting_for_a_lagging_edge_counts_no_attempts_and_ends_applied(world: World) -> None:
    request_id = sent_but_not_shown(world)
    plan = Plan.objects.get(zone=world.zone())
    for _ in range(MORE_THAN_PARKS):
        entry = run_next(world.zone())
        assert (entry.attempts, entry.parked_at) == (0, None)
        assert entry.due_at > timezone.now(), "it is read again in a moment, not at once"
    plan.refresh_from_db()
    assert plan.state == "verifying"
    requests = in_flight_requests(world.zone())
    assert expected_calls(world.zone(), ca_keys(world.account), requests) == 0, "a wait takes nothing of the budget"
    world.edge.switch(association_lag_s=0)
    run_next(world.zone())
    plan.refresh_from_db()
    assert (plan.state, request_by_id(request_id).state) == ("applied", "done")
    # Other CAs' lists change backwards with the lag: the tests before this one emptied them.
    told = AuditEvent.objects.filter(action="edge:list_changed_outside").values_list("details", flat=True)
    mine = request_by_id(request_id).ca.cloudflare_id
    assert mine not in {details["ca_cloudflare_id"] for details in told}, "what came late is ours"


def test_a_list_that_never_shows_diverges_when_the_time_a_lag_may_take_is_over(world: World) -> None:
    request_id = sent_but_not_shown(world)
    Plan.objects.update(verify_until=timezone.now() - timedelta(seconds=1))
    entry = run_next(world.zone())
    world.edge.switch(association_lag_s=0)
    plan = Plan.objects.get(zone=world.zone())
    assert (plan.state, request_by_id(request_id).state) == ("diverged", "failed")
    assert (entry.attempts, entry.parked_at) == (0, None)


def changed_outside(world: World, request_id: int) -> list[AuditEvent]:
    """Of this request's CA alone: the lag also shows what earlier tests emptied."""
    mine = request_by_id(request_id).ca.cloudflare_id
    told = AuditEvent.objects.filter(action="edge:list_changed_outside")
    return [event for event in told if event.details["ca_cloudflare_id"] == mine]


def test_a_list_that_shows_after_all_is_ours_and_what_changes_it_then_is_not(world: World) -> None:
    request_id = sent_but_not_shown(world)
    Plan.objects.update(verify_until=timezone.now() - timedelta(seconds=1))
    run_next(world.zone())
    world.edge.switch(association_lag_s=0)
    run_next(world.zone())
    assert changed_outside(world, request_id) == [], "what came later than anybody waits is ours"
    world.edge.edit("northwind.example", request_by_id(request_id).ca.cloudflare_id, [])
    run_next(world.zone())
    assert [event.details["removed"] for event in changed_outside(world, request_id)] == [[NAME]]


def test_a_zone_whose_edge_is_down_for_long_is_read_again_by_itself(world: World) -> None:
    zone = world.zone()
    world.edge.switch(down=True)
    for _ in range(MORE_THAN_PARKS):
        entry = run_next(zone)
        assert entry.parked_at is None
        assert entry.attempts < PARK_AFTER_ATTEMPTS
        assert entry.due_at > timezone.now()
    zone.refresh_from_db()
    assert zone.failing_since
    world.edge.switch(down=False)
    run_next(zone)
    zone.refresh_from_db()
    assert (zone.failing_since, zone.last_error) == (None, "")


def test_a_zone_that_its_worker_never_survives_is_parked(world: World) -> None:
    OutboxEntry.objects.filter(subject_id=world.zone().pk).update(attempts=2 * PARK_AFTER_ATTEMPTS)
    entry = run_next(world.zone())
    assert entry.parked_at
    assert "too often" in entry.parked_reason
    event = AuditEvent.objects.get(action="zone:parked")
    assert (event.subject_label, event.zone) == (world.zone().name, world.zone().name)
    assert event.details["why"] == entry.parked_reason
    mark_due(kind="account", subject_id=world.account.pk)
    OutboxEntry.objects.filter(subject_id=world.account.pk).update(attempts=2 * PARK_AFTER_ATTEMPTS)
    run_account(world.account.pk)
    event = AuditEvent.objects.get(action="account:parked")
    assert (event.subject_label, event.account, event.zone) == ("Northwind", str(world.account.pk), "")
