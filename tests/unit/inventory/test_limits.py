"""Removal limits of a zone: what is set, what is refused, and what the guards count with."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from apps.audit.models import AuditEvent
from apps.errors import Forbidden, Invalid, NotFound
from apps.identity.permissions import Role
from apps.inventory.limits import limits_of, numbers_of, set_limits
from apps.inventory.models import Zone
from apps.planning.guards import Limits
from tests.factories import SETUP, actor, make_account

pytestmark = pytest.mark.django_db


def test_a_zones_limits_are_the_defaults_but_for_what_is_set() -> None:
    zone = Zone.objects.get(account=make_account(), name="pay.example")
    assert limits_of(zone) == Limits()
    admin = actor(Role.ADMIN)
    wanted = {"few": 3, "most_percent": 50, "window_hours": 48, "total": None}
    zone = set_limits(by=admin, zone_id=zone.pk, limits=wanted, reason="Small")
    assert limits_of(zone) == Limits(few=3, most_percent=50, window=timedelta(hours=48))
    event = AuditEvent.objects.get(action="zone:limits_set")
    assert (event.before["few"], event.after["few"], event.reason) == (10, 3, "Small")
    zone = set_limits(by=admin, zone_id=zone.pk, limits={}, reason="Back")
    assert (limits_of(zone), zone.removal_limits) == (Limits(), {})


def test_every_problem_is_named_and_nothing_is_stored() -> None:
    zone = Zone.objects.get(account=make_account(), name="pay.example")
    with pytest.raises(Invalid) as refused:
        set_limits(by=SETUP, zone_id=zone.pk, limits={"percent": 101, "most": 1, "few": 5}, reason=" ")
    assert set(refused.value.details) == {"percent", "most", "reason"}
    with pytest.raises(Forbidden):
        set_limits(by=actor(Role.ENGINEER), zone_id=zone.pk, limits={}, reason="x")
    with pytest.raises(NotFound):
        set_limits(by=SETUP, zone_id=uuid.uuid4(), limits={}, reason="x")
    zone.refresh_from_db()
    assert numbers_of(zone)["few"] == 10
