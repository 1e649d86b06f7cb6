"""Two portals on one Redis database: each takes the other's messages, so each says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from apps.inventory.alarms import installation_name
from apps.inventory.models import Installation
from apps.inventory.neighbours import PORTALS, SEEN_FOR_S, notice_neighbours
from tests.valkey_process import ValkeyProcess

pytestmark = pytest.mark.django_db


@pytest.fixture
def server(tmp_path: Path, settings: Any) -> Iterator[redis.Redis]:
    with ValkeyProcess(tmp_path) as running, redis.Redis.from_url(running.url) as client:
        settings.BYOCA_BUDGET_REDIS_URL = running.url
        yield client


def test_a_portal_alone_has_no_neighbours(server: redis.Redis) -> None:
    with capture_logs() as said:
        assert notice_neighbours() == []
        assert notice_neighbours() == []
    assert said == []


def test_two_portals_find_each_other_and_the_log_says_so_once(server: redis.Redis) -> None:
    first = installation_name()
    notice_neighbours()
    Installation.objects.update(name="deadbeef")
    with capture_logs() as said:
        assert notice_neighbours() == [first]
        assert notice_neighbours() == [first]
    assert [(line["event"], line["log_level"], line["with_others"]) for line in said] == [
        ("redis_is_shared", "error", [first])
    ]


def test_a_portal_that_moved_away_is_forgotten(server: redis.Redis) -> None:
    server.zadd(PORTALS, {"deadbeef": int(server.time()[0]) - SEEN_FOR_S - 1})
    assert notice_neighbours() == []


@pytest.mark.parametrize("url", ["", "unix:///nowhere/valkey.sock"])
def test_without_a_redis_that_answers_nobody_is_noticed(settings: Any, url: str) -> None:
    settings.BYOCA_BUDGET_REDIS_URL = url
    assert notice_neighbours() == []
