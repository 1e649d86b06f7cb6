"""A worker whose clock is wrong neither waits too short nor forgets: what processes compare is the database's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import time_machine
from django.db.models.functions import Now

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca
from apps.inventory.holds import stops_in_force
from apps.inventory.models import EdgeList
from apps.outbox.clock import database_now
from apps.outbox.models import OutboxEntry
from apps.reconcile.accounts import run_account
from apps.reconcile.models import Plan
from apps.reconcile.removals import recent_removals
from apps.reconcile.zones import run_zone
from tests.certs import make_ca
from tests.unit.reconcile.conftest import World

NAME = "clock.northwind.example"
DAY = timedelta(days=1)


def another_worker() -> time_machine.travel:
    """Takes over, and its clock is a day and an hour ahead."""
    return time_machine.travel(datetime.now(UTC) + DAY + timedelta(hours=1))


def test_the_clock_is_the_databases_own(db: None) -> None:
    began = datetime.now(UTC)
    with another_worker():
        assert abs(database_now() - began) < timedelta(hours=1)


def test_a_ca_whose_answer_was_lost_is_not_sent_again_too_early(world: World) -> None:
    world.edge.faults(
        {"match": {"method": "POST", "path": "/mtls_certificates$"}, "do": {"fault": "close", "applied": False}}
    )
    admit_ca(by=world.engineer, account=world.account, name="Once", data=make_ca("Once").pem, client_issuers="self")
    world.run()
    ca = CertificateAuthority.objects.get(name="Once")
    assert (ca.state, ca.write_attempts) == ("pushing", 1)
    with another_worker():
        OutboxEntry.objects.filter(subject_id=world.account.pk).update(due_at=Now())
        run_account(world.account.pk)
    ca.refresh_from_db()
    assert (ca.state, ca.write_attempts) == ("pushing", 1), "the list had no time to show it"


def test_a_lag_is_waited_for_whatever_the_time_is_here(world: World) -> None:
    ca = world.upload("Lag")
    world.edge.switch(association_lag_s=60)
    world.approve(world.ask(ca, NAME, mode="verify"))
    with another_worker():
        OutboxEntry.objects.filter(subject_id=world.zone().pk).update(due_at=Now())
        run_zone(world.zone().pk)
    world.edge.switch(association_lag_s=0)
    assert Plan.objects.get(zone=world.zone()).state == "verifying"


def test_what_shows_late_is_ours_whatever_the_clock_of_who_gave_it_up(world: World) -> None:
    ca = world.upload("Late")
    world.edge.switch(association_lag_s=600)
    world.approve(world.ask(ca, NAME, mode="verify"))
    Plan.objects.filter(state="verifying").update(verify_until=Now())
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=1)):
        OutboxEntry.objects.filter(subject_id=world.zone().pk).update(due_at=Now())
        run_zone(world.zone().pk)
    assert Plan.objects.get(zone=world.zone()).state == "diverged"
    world.edge.switch(association_lag_s=0)
    world.sweep()
    assert EdgeList.objects.get(zone=world.zone(), ca_cloudflare_id=ca.cloudflare_id).hostnames == [NAME]
    assert not AuditEvent.objects.filter(action="edge:list_changed_outside").exists()


def test_whoever_takes_ours_back_is_noticed_by_a_worker_whose_clock_is_ahead(world: World) -> None:
    ca = world.upload("Taken back")
    for number in range(3):
        assert not stops_in_force().exists()
        world.approve(world.ask(ca, f"back-{number}.northwind.example", mode="verify"))
        world.edge.edit("northwind.example", ca.cloudflare_id, [])
        with another_worker():
            OutboxEntry.objects.filter(subject_id=world.zone().pk).update(due_at=Now())
            run_zone(world.zone().pk)
    assert stops_in_force().get().zone == world.zone()


def test_a_removal_counts_for_its_whole_window_on_any_clock(world: World) -> None:
    ca = world.upload("Window")
    assert world.approve(world.ask(ca, NAME, f"b.{NAME}", mode="verify")).state == "done"
    assert world.approve(world.ask(ca, NAME, kind="uncover")).state == "done"
    with another_worker():
        found = recent_removals(world.zone(), window=DAY)
    assert [row.hostname for row in found.removals] == [NAME]
