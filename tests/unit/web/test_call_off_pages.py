"""Stopping an approved request from its page and by the API."""

from __future__ import annotations

import pytest

from apps.audit.models import AuditEvent
from apps.identity.permissions import Role
from tests.unit.api.test_drift import Caller
from tests.unit.coverage.test_requests import Desk
from tests.unit.inventory.test_hold_pages import page_for
from tests.unit.web.test_refused_forms import owner_of

pytestmark = pytest.mark.django_db


def test_an_approver_cancels_with_a_reason(desk: Desk) -> None:
    asked, page = desk.approved(), page_for(Role.ENGINEER)
    path = f"/requests/{asked.pk}/"
    assert f'action="{path}cancel/"' in page.get(path).content.decode()
    refused = page.post(f"{path}cancel/", {"cancel_reason": " "})
    assert refused.status_code == 400
    assert 'href="#cancel_reason"' in refused.content.decode()
    assert page.post(f"{path}cancel/", {"cancel_reason": "Wrong CA"}).status_code == 302
    html = page.get(path).content.decode()
    assert "Wrong CA" in html
    assert f'action="{path}cancel/"' not in html
    assert AuditEvent.objects.filter(action="request:cancelled").count() == 1


def test_the_requester_withdraws_and_others_see_no_button(desk: Desk) -> None:
    asked, mine = desk.approved(), owner_of(desk)
    path = f"/requests/{asked.pk}/"
    nobody = page_for(Role.AUDITOR).get(path).content.decode()
    assert "/cancel/" not in nobody and "/withdraw/" not in nobody
    html = mine.get(path).content.decode()
    assert f'action="{path}withdraw/"' in html and "/cancel/" not in html
    assert mine.post(f"{path}withdraw/").status_code == 302
    asked.refresh_from_db()
    assert asked.state == "withdrawn"


def test_a_program_cancels(desk: Desk) -> None:
    asked, caller = desk.approved(), Caller(Role.ENGINEER)
    path = f"/requests/{asked.pk}/cancel/"
    assert caller.send("POST", path, {}).status_code == 400
    answer = caller.send("POST", path, {"reason": "Wrong CA"})
    assert (answer.status_code, answer.json()["state"]) == (200, "withdrawn")
    assert caller.send("POST", path, {"reason": "Again"}).status_code == 409
