"""Pages about what stands in no one's way any more, and what does: a vanished zone, and names that nobody approved."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.identity.permissions import Role
from apps.inventory.models import Zone
from tests.factories import at_edge
from tests.unit.coverage.test_requests import Desk
from tests.unit.inventory.test_hold_pages import page_for

pytestmark = pytest.mark.django_db


def test_the_page_of_a_hostname_says_that_its_zone_is_gone() -> None:
    desk = Desk()
    desk.live()
    page = page_for(Role.ENGINEER)
    assert "Request removal" in page.get("/hostnames/api.pay.example/").content.decode()
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    html = page.get("/hostnames/api.pay.example/").content.decode()
    assert "The zone is gone" in html
    assert "Zone gone" in html
    assert "Request removal" not in html
    assert "no longer lists pay.example" in page.get("/hostnames/").content.decode()
    assert "Zone gone" in page.get("/associations/").content.decode()


def test_the_page_of_a_ca_names_what_nobody_approved() -> None:
    desk = Desk()
    page = page_for(Role.ENGINEER)
    path = f"/cas/{desk.ca.pk}/"
    assert f'action="{path}delete/"' in page.get(path).content.decode()
    at_edge(desk.ca, desk.zone, "legacy.pay.example")
    html = page.get(path).content.decode()
    assert f'action="{path}delete/"' not in html
    assert "Nobody approved legacy.pay.example" in html
    assert f"kind=adopt&amp;ca={desk.ca.pk}" in html
    assert page.post(f"{path}delete/", {"reason": "Old", "confirm": desk.ca.name}).status_code == 409
