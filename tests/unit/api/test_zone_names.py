"""Two accounts may list a zone of the same name: its name alone never picks one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.identity.permissions import Role
from apps.inventory.holds import hold_on_zone
from apps.inventory.models import FreezeWindow, Stop, Zone
from tests.factories import make_account
from tests.unit.api.test_drift import Caller

pytestmark = pytest.mark.django_db
NAME = "both.example"


@pytest.fixture
def zones(settings: Any, tmp_path: Path) -> tuple[Zone, Zone]:
    """The zone of each account."""
    settings.STATIC_ROOT = tmp_path
    first, second = (make_account(zones=(NAME,)).zones.get() for _ in range(2))
    return first, second


def test_a_stop_by_a_name_that_two_accounts_have_names_both_and_stops_neither(zones: tuple[Zone, Zone]) -> None:
    engineer = Caller(Role.ENGINEER)
    body = {"scope": "zone", "reason": "Incident"}
    refused = engineer.send("POST", "/stops/", body | {"zone": NAME})
    assert refused.status_code == 400
    assert all(str(zone.pk) in refused.content.decode() for zone in zones)
    assert not Stop.objects.exists()
    for zone in zones:
        assert engineer.send("POST", "/stops/", body | {"zone": str(zone.pk)}).status_code == 201
        assert hold_on_zone(zone.pk)


def test_a_freeze_window_and_limits_are_for_the_zone_of_the_account_that_is_meant(zones: tuple[Zone, Zone]) -> None:
    admin = Caller(Role.ADMIN)
    window = {
        "name": "Quiet", "effect": "deny", "repeats": "weekly", "timezone": "UTC", "weekdays": [0], "opens": "22:00",
        "closes": "06:00", "zone": NAME,
    }  # fmt: skip
    for zone in zones:
        made = admin.send("POST", "/freeze-windows/", window | {"account": str(zone.account_id)})
        assert made.status_code == 201, made.content
        assert FreezeWindow.objects.filter(zone=zone).count() == 1
    limits = {"reason": "Small", "few": 1}
    assert admin.send("PUT", f"/zones/{NAME}/limits/", limits).status_code == 400
    assert admin.send("PUT", f"/zones/{zones[1].pk}/limits/", limits).status_code == 200
    assert [Zone.objects.get(pk=zone.pk).removal_limits for zone in zones] == [{}, {"few": 1}]
