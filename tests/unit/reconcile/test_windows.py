"""Freeze windows that allow: what waits goes as soon as one opens, and not with the next sweep only."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import CoverageRequest
from apps.coverage.selectors import request_by_id
from apps.inventory.freezes import add_freeze_window
from apps.inventory.holds import Hold
from apps.outbox.clock import database_now
from apps.outbox.models import OutboxEntry
from apps.outbox.services import mark_due
from apps.reconcile import accounts, zones
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

ZONE, NAME = "northwind.example", "waits.northwind.example"


@pytest.fixture(autouse=True)
def _sweeps_are_far(settings: Any) -> None:
    settings.BYOCA_SWEEP_INTERVAL_S = 1000.0


def window(world: World, *, begins_s: float, ends_s: float, effect: str = "allow", **more: Any) -> None:
    """From and to so many seconds from now."""
    now = timezone.now()
    add_freeze_window(
        by=SETUP, account_id=world.account.pk, name="Nightly", effect=effect, repeats="once", timezone="UTC",
        starts_at=now + timedelta(seconds=begins_s), ends_at=now + timedelta(seconds=ends_s), **more,
    )  # fmt: skip


def waiting(world: World) -> tuple[CertificateAuthority, CoverageRequest]:
    """An approved request, and a window for it that opens tomorrow only."""
    ca = world.upload("Waits for a window")
    window(world, begins_s=86_400, ends_s=90_000)
    request = world.approve(world.ask(ca, NAME, mode="verify"))
    assert request.state == "approved"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == []
    return ca, request


@pytest.mark.parametrize("of", ["zone", "account"])
def test_what_waits_goes_at_once_through_a_new_window_that_is_open(world: World, of: str) -> None:
    ca, request = waiting(world)
    window(world, begins_s=-60, ends_s=3600, zone_id=world.zone().pk if of == "zone" else None)
    world.run()
    assert request_by_id(request.pk).state == "done"
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == [NAME]


def test_what_waits_goes_when_a_new_window_opens_before_those_known_until_then(world: World) -> None:
    ca, request = waiting(world)
    window(world, begins_s=1.5, ends_s=3600)
    world.run()
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == []
    until = time.monotonic() + 20
    while request_by_id(request.pk).state != "done" and time.monotonic() < until:
        time.sleep(0.1)
        world.run()
    assert world.edge.hostnames(ZONE, ca.cloudflare_id) == [NAME]


def test_a_window_that_denies_wakes_nothing(world: World) -> None:
    """It holds back, and is asked for right before each write."""
    before = world.edge.last_seq()
    window(world, begins_s=-60, ends_s=3600, effect="deny")
    world.run()
    assert world.edge.last_seq() == before


@pytest.mark.parametrize(("module", "ask", "nth"), [(zones, "hold_on_zone", 2), (accounts, "hold_on_account", 1)])
def test_a_window_that_opens_right_after_it_was_asked_for_is_not_missed(
    world: World, monkeypatch: pytest.MonkeyPatch, module: Any, ask: str, nth: int
) -> None:
    asked, answers = getattr(module, ask), []
    window(world, begins_s=1800, ends_s=86_400)
    OutboxEntry.objects.update(due_at=database_now() + timedelta(hours=1))
    kind, subject = ("zone", world.zone().pk) if module is zones else ("account", world.account.pk)

    with time_machine.travel(timezone.now(), tick=True) as clock:

        def then_it_opens(subject_id: UUID) -> Hold | None:
            answers.append(asked(subject_id))
            if len(answers) == nth:
                clock.shift(timedelta(hours=1))
            return answers[-1]

        monkeypatch.setattr(module, ask, then_it_opens)
        mark_due(kind=kind, subject_id=subject)
        (accounts.run_account if module is accounts else zones.run_zone)(subject)
    assert answers[nth - 1].kind == "frozen"
    assert OutboxEntry.objects.get(subject_id=subject).due_at < database_now() + timedelta(seconds=60)
