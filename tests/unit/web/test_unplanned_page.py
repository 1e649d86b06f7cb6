"""The page of a request that could not be planned: the reason, when it is tried again, and what to do."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.coverage.closing_services import withdraw_request
from apps.coverage.progress_services import put_off_planning
from apps.identity.permissions import Role
from tests.unit.api.test_drift import Caller
from tests.unit.coverage.test_requests import WORKER, Desk, nothing_left
from tests.unit.web.test_refused_forms import owner_of

pytestmark = pytest.mark.django_db
WHY = "Cloudflare refuses the token for pay.example."


def test_the_reason_is_on_the_page_and_in_the_api() -> None:
    desk = Desk()
    asked, page = desk.ask(), owner_of(desk)
    assert "Cloudflare has not answered" in page.get(f"/requests/{asked.pk}/").content.decode()
    at = timezone.now().replace(microsecond=0)
    put_off_planning(by=WORKER, request_id=asked.pk, why=WHY, next_at=at)
    html = page.get(f"/requests/{asked.pk}/").content.decode()
    assert WHY in html
    assert "Cloudflare has not answered" not in html
    assert f"{at:%Y-%m-%d %H:%M:%S} UTC" in html
    assert f'action="/requests/{asked.pk}/rebuild/"' in html
    told = Caller(Role.AUDITOR).send("GET", f"/requests/{asked.pk}/").json()
    assert (told["state_reason"], bool(told["plan_next_at"])) == (WHY, True)
    withdraw_request(by=desk.owner, request_id=asked.pk, has_left=nothing_left)
    assert "No plan yet" not in page.get(f"/requests/{asked.pk}/").content.decode()
