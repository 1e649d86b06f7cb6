"""When a part was last known to work."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apps.outbox.models import Heartbeat
from apps.outbox.selectors import is_alive
from apps.outbox.services import beat

pytestmark = pytest.mark.django_db


def test_a_beat_is_alive_for_a_while() -> None:
    assert not is_alive("tick", within_s=60)
    beat("tick")
    beat("tick")
    assert is_alive("tick", within_s=60)
    Heartbeat.objects.update(at=timezone.now() - timedelta(seconds=61))
    assert not is_alive("tick", within_s=60)


def test_readiness_says_when_the_workers_stand_still(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content.decode()) == (503, "workers: no tick for 60 s\n")
    beat("tick")
    assert client.get("/readyz").status_code == 200
