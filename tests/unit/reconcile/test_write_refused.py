"""A token that reads and may not write in a zone: one try an hour, and everybody can see what waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.audit.models import AuditEvent
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import confirmation_of, current_plan, request_by_id
from apps.coverage.services import approve_request
from apps.inventory.models import Account, Zone
from apps.inventory.services import replace_token
from apps.outbox.models import OutboxEntry
from apps.reconcile.models import Plan
from apps.reconcile.services import withdraw
from apps.reconcile.zones import run_zone
from apps.sandbox.tokens import ALL_PERMISSIONS, Permission
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

ZONE, NAME = "northwind.example", "api.northwind.example"
OTHER_ZONE, OTHER = "northwind-pay.example", "api.northwind-pay.example"
WAITS = f"Waits for a token that may write in {ZONE}. Cloudflare refused the one it has."
LACKING = {
    "no list": (Permission.ZONE_SSL_WRITE, "verify"),
    "no rule": (Permission.ZONE_WAF_WRITE, "log"),
}


@pytest.fixture(autouse=True)
def _token_as_before(world: World) -> Iterator[None]:
    yield
    may(world)


def may(world: World, *without: Permission) -> None:
    world.edge.change_token(permissions=[name for name in ALL_PERMISSIONS if name not in without])


def approved(world: World, request: CoverageRequest) -> CoverageRequest:
    """Approved, and no worker ran yet."""
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    approve_request(by=world.engineer, request_id=request.pk, digest=plan.digest, confirm=confirmation_of(plan))
    return request


def run_often(world: World, times: int, zone: str = ZONE) -> None:
    """Runs, one after the other, as if the time of each were there."""
    for _ in range(times):
        OutboxEntry.objects.filter(subject_id=world.zone(zone).pk).update(due_at=Now())
        run_zone(world.zone(zone).pk)


def an_hour_passes() -> None:
    for zone in Zone.objects.exclude(writes_refused_at=None):
        zone.writes_refused_at -= timedelta(hours=1)
        zone.save()


def writes(world: World) -> int:
    calls = world.edge.requests(world.began_after)
    return sum(row["method"] != "GET" and "dry_run" not in row["query"] and "/zones/" in row["path"] for row in calls)


def token_state() -> str:
    return Account.objects.get().token_state


@pytest.mark.parametrize("how", LACKING)
def test_a_write_that_the_token_may_not_make_is_tried_once_an_hour(world: World, how: str) -> None:
    missing, mode = LACKING[how]
    ca = world.upload("Refused")
    request = world.ask(ca, NAME, mode=mode)
    may(world, missing)
    approved(world, request)
    run_often(world, 1)
    since, changes = writes(world), Plan.objects.count()
    run_often(world, 12)
    world.run_account()
    assert (writes(world), Plan.objects.count()) == (since, changes)
    waiting = request_by_id(request.pk)
    assert waiting.state in {"approved", "applying"}, "the approval is not lost"
    assert waiting.state_reason.startswith(WAITS)
    assert AuditEvent.objects.filter(action="request:waits_for_token").count() == 1
    assert token_state() == "broken", "although it reads"
    assert world.zone().failing_since is None, "reading goes on"
    an_hour_passes()
    run_often(world, 3)
    assert Plan.objects.count() == changes + 1
    may(world)
    an_hour_passes()
    run_often(world, 2)
    done = request_by_id(request.pk)
    assert (done.state, done.state_reason, token_state()) == ("done", "", "working")


def test_another_token_is_tried_at_once(world: World) -> None:
    ca = world.upload("Replaced")
    request = world.ask(ca, NAME, mode="verify")
    may(world, Permission.ZONE_SSL_WRITE)
    approved(world, request)
    run_often(world, 3)
    replace_token(by=SETUP, account_id=world.account.pk, token=world.edge.make_token("Other"))
    world.run()
    assert (request_by_id(request.pk).state, token_state()) == ("done", "working")


def test_a_request_that_has_more_to_do_elsewhere_no_longer_waits_for_the_token(world: World) -> None:
    ca = world.upload("Two zones")
    request = world.ask(ca, NAME, OTHER, mode="verify")
    may(world, Permission.ZONE_SSL_WRITE)
    approved(world, request)
    run_often(world, 2)
    assert request_by_id(request.pk).state_reason.startswith(WAITS)
    run_often(world, 2, OTHER_ZONE)
    assert request_by_id(request.pk).state_reason.startswith(WAITS), "what it waits for is said once, the first first"
    may(world)
    an_hour_passes()
    run_often(world, 1)
    assert request_by_id(request.pk).state_reason == ""
    assert token_state() == "broken", "nobody tried it in the other zone yet"
    run_often(world, 1, OTHER_ZONE)
    assert (request_by_id(request.pk).state, token_state()) == ("done", "working")


def test_the_refusal_is_forgotten_with_what_it_held_up(world: World) -> None:
    ca = world.upload("Withdrawn")
    request = world.ask(ca, NAME, mode="verify")
    may(world, Permission.ZONE_SSL_WRITE)
    approved(world, request)
    run_often(world, 2)
    withdraw(by=world.owner, request_id=request.pk)
    run_often(world, 1)
    world.run_account()
    assert (world.zone().writes_refused_at, token_state()) == (None, "working")
