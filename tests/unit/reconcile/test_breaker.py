"""An account whose Cloudflare is down: its runs wait, one call tries, and everything goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client

from apps.coverage.selectors import request_by_id
from apps.errors import PortalError
from apps.inventory.models import Account, CallBudget, Zone
from apps.outbox.models import OutboxEntry
from apps.reconcile.services import plan_waiting_requests, rebuild_plan
from apps.reconcile.zones import run_zone
from tests.unit.reconcile.conftest import World


@pytest.fixture
def world(world: World, settings: Any) -> Iterator[World]:
    settings.BYOCA_BREAKER_FAULTS = 3
    yield world
    world.edge.switch(down=False)
    world.edge.clear_faults()


def last_seq(world: World) -> int:
    return world.edge.last_seq()


def open_breaker(world: World) -> None:
    world.edge.switch(down=True)
    world.sweep()
    assert CallBudget.objects.get().open_since


def due_again(world: World) -> None:
    """What is postponed comes now."""
    OutboxEntry.objects.update(due_at=Now())
    world.run()


def test_while_cloudflare_is_down_runs_wait_and_count_no_attempt(world: World) -> None:
    open_breaker(world)
    attempts = dict(OutboxEntry.objects.values_list("pk", "attempts"))
    since = last_seq(world)
    due_again(world)
    assert last_seq(world) == since, "no call at all"
    assert dict(OutboxEntry.objects.values_list("pk", "attempts")) == attempts
    assert all(
        "Cloudflare does not answer" in words for words in OutboxEntry.objects.values_list("last_error", flat=True)
    )


def test_what_was_not_even_asked_meanwhile_is_said_to_fail_too(world: World) -> None:
    open_breaker(world)
    Zone.objects.update(failing_since=None, last_error="")
    Account.objects.update(failing_since=None, last_error="")
    due_again(world)
    for row in (Account.objects.get(), *Zone.objects.all()):
        assert row.failing_since, row.name
        assert "Cloudflare does not answer" in row.last_error
    first = {row.pk: row.failing_since for row in Zone.objects.all()}
    due_again(world)
    assert {row.pk: row.failing_since for row in Zone.objects.all()} == first, "since then, and not since the last look"
    world.edge.switch(down=False)
    CallBudget.objects.update(paused_until=Now() - timedelta(seconds=1))
    due_again(world)
    due_again(world)
    assert Account.objects.get().failing_since is None
    assert not Zone.objects.exclude(failing_since=None).exists()


def test_one_call_tries_and_an_answer_lets_everything_go_on(world: World) -> None:
    ca = world.upload("After the outage")
    request = world.ask(ca, "back.northwind.example", mode="verify")
    open_breaker(world)
    since = last_seq(world)
    CallBudget.objects.update(paused_until=Now() - timedelta(seconds=1))
    due_again(world)
    assert len(world.edge.requests(since)) == 1
    row = CallBudget.objects.get()
    assert (row.failed_trials, row.trial_until) == (1, None)
    world.edge.switch(down=False)
    CallBudget.objects.update(paused_until=Now() - timedelta(seconds=1))
    due_again(world)
    assert CallBudget.objects.get().open_since is None
    assert not Zone.objects.exclude(failing_since=None).exists()
    assert world.approve(request_by_id(request.pk)).state == "done"


def test_one_failing_zone_holds_nobody_up(world: World) -> None:
    failing = world.zone()
    match = {"zone": failing.name, "times": None}
    for fault in ({"status": 500}, {"status": 403, "code": 9109}, {"status": 404, "code": 7003}):
        world.edge.clear_faults()
        world.edge.fault("status", match, **fault)
        for _ in range(4):
            OutboxEntry.objects.filter(subject_id=failing.pk).update(due_at=Now())
            run_zone(failing.pk)
        assert CallBudget.objects.get().open_since is None
        Account.objects.update(token_state="working")


def test_a_person_who_asks_meanwhile_is_told_and_keeps_the_request(world: World, settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    ca = world.upload("Asked meanwhile")
    planned = world.ask(ca, "earlier.northwind.example", mode="verify")
    open_breaker(world)
    since = last_seq(world)
    request = world.ask(ca, "asked.northwind.example", mode="verify")
    assert request.state == "planning"
    with pytest.raises(PortalError, match=r"Cloudflare does not answer \(since .* goes on by itself after"):
        rebuild_plan(by=world.owner, request_id=planned.pk)
    assert last_seq(world) == since
    assert world.engineer.person
    page = Client()
    page.force_login(world.engineer.person)
    assert "Cloudflare does not answer" in page.get("/accounts/").content.decode()
    world.edge.switch(down=False)
    CallBudget.objects.update(paused_until=Now() - timedelta(seconds=1))
    due_again(world)
    plan_waiting_requests(world.account.pk)
    assert request_by_id(request.pk).state == "waiting"
    assert "Cloudflare does not answer" not in page.get("/accounts/").content.decode()
