"""A CA that expires between asking and sending: it is not approved any more, and puts no hostname into block."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.models import CertificateAuthority
from apps.coverage.selectors import request_by_id
from apps.errors import Conflict
from apps.inventory.stops import lift_stop, stop_writes
from apps.reconcile.services import retry_zone
from tests.factories import SETUP
from tests.unit.reconcile.conftest import World

ZONE, NAME = "northwind.example", "expiring.northwind.example"


def expire(ca: CertificateAuthority) -> None:
    CertificateAuthority.objects.filter(pk=ca.pk).update(not_after=timezone.now() - timedelta(minutes=1))


def is_blocked(world: World) -> bool:
    ours = [rule for rule in world.edge.rules(ZONE) if rule["ref"].startswith("byoca-") and rule["action"] == "block"]
    return any(f'"{NAME}"' in rule["expression"] for rule in ours)


@pytest.mark.parametrize(("days", "code"), [((-2, -1), "ca_expired"), ((1, 2), "ca_not_yet_valid")])
def test_cover_is_not_approved_with_a_ca_that_is_not_valid(world: World, days: tuple[int, int], code: str) -> None:
    ca = world.upload("Expiring")
    request = world.ask(ca, NAME, mode="verify")
    start, end = (timezone.now() + timedelta(days=number) for number in days)
    CertificateAuthority.objects.filter(pk=ca.pk).update(not_before=start, not_after=end)
    with pytest.raises(Conflict, match="ask again with another CA") as refused:
        world.approve(request)
    assert (refused.value.code, request_by_id(request.pk).state) == (code, "waiting")


def test_a_removal_from_an_expired_ca_is_approved(world: World) -> None:
    ca = world.upload("Expiring")
    assert world.approve(world.ask(ca, NAME)).state == "done"
    expire(ca)
    assert world.approve(world.ask(ca, NAME, kind="uncover", mode="verify")).state == "done"
    assert not is_blocked(world)


def test_what_was_approved_in_time_waits_with_the_reason_and_goes_with_a_valid_ca(world: World) -> None:
    ca, valid = world.upload("Expiring"), world.upload("Valid")
    stop = stop_writes(by=SETUP, reason="Incident", zone_id=world.zone().pk)
    request = world.approve(world.ask(ca, NAME))
    expire(ca)
    lift_stop(by=SETUP, stop_id=stop.pk, reason="Over")
    world.run()
    waiting = request_by_id(request.pk)
    assert waiting.state in {"approved", "applying"}
    assert f"{NAME} would refuse every client: Expiring is approved for it, and not valid" in waiting.state_reason
    assert not is_blocked(world)
    world.sweep()
    assert AuditEvent.objects.filter(action="request:waits_for_ca").count() == 1
    assert world.approve(world.ask(valid, NAME)).state == "done"
    assert (request_by_id(request.pk).state, request_by_id(request.pk).state_reason) == ("done", "")
    assert is_blocked(world)


def test_a_retry_does_not_put_it_into_block(world: World) -> None:
    ca = world.upload("Expiring")
    request = world.ask(ca, NAME)
    world.edge.fault("status", {"method": "PUT"}, status=400, code=1400, message="bad list")
    assert world.approve(request).state == "failed"
    world.edge.clear_faults()
    expire(ca)
    retry_zone(by=world.engineer, zone_id=world.zone().pk)
    world.run()
    assert "not valid at this time" in request_by_id(request.pk).state_reason
    assert not is_blocked(world)
