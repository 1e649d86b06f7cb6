"""Every setting of Celery that is not its default, and the queues' order: docs/celery.md gives each reason."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db.models.functions import Now
from kombu import Connection

from apps.inventory.budget.redis_counter import RedisCounter
from apps.inventory.budget.window import Told
from apps.outbox import doorbell
from apps.outbox.models import Heartbeat
from apps.outbox.services import mark_due
from apps.reconcile import tasks
from byoca_portal.celery import BROKER_OPTIONS, QUEUES, TICK_S, app
from tests.valkey_process import ValkeyProcess

ROOT = Path(__file__).resolve().parents[2]
TABLE: dict[str, Any] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_acks_on_failure_or_timeout": True,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": False,
    "worker_eta_task_limit": 100,
    "task_soft_time_limit": 90,
    "task_time_limit": 120,
    "worker_max_tasks_per_child": 500,
    "worker_max_memory_per_child": 262144,
    "worker_soft_shutdown_timeout": 30.0,
    "worker_enable_soft_shutdown_on_idle": False,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "task_publish_retry": True,
    "task_publish_retry_policy": {
        "max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2,
    },
    "task_ignore_result": True,
    "result_backend": None,
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "task_default_queue": "push",
    "task_create_missing_queues": False,
    "task_default_rate_limit": None,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "task_send_sent_event": False,
    "worker_hijack_root_logger": False,
    "enable_utc": True,
    "timezone": "UTC",
    "beat_cron_starting_deadline": 300,
    "task_always_eager": False,
    "task_track_started": False,
    "worker_deduplicate_successful_tasks": False,
    "worker_pool": "prefork",
}  # fmt: skip
BROKER = {
    "visibility_timeout": 300,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "max_retries": 2,
    "queue_order_strategy": "priority",
}
SECURE = """
import json
from byoca_portal.celery import app
link = app.connection_for_write()
said = {key: str(value) for key, value in dict(link.ssl or {}).items()}
print(json.dumps([link.hostname, link.port, link.userid, link.password, link.virtual_host, said, link.as_uri()]))
"""


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    assert app.conf[name] == TABLE[name]


def test_the_brokers_options() -> None:
    assert BROKER_OPTIONS == BROKER
    in_use = app.conf.broker_transport_options
    assert in_use["visibility_timeout"] == 300 > app.conf.task_time_limit > app.conf.task_soft_time_limit
    assert in_use["queue_order_strategy"] == "priority"


def test_messages_of_beat_pile_up_for_a_minute_at_most_and_do_not_need_clocks_that_agree() -> None:
    for name, entry in app.conf.beat_schedule.items():
        assert entry["options"]["expires"] == 60, name
    assert app.conf.beat_schedule["tick"]["schedule"] == TICK_S


def test_queues_have_keys_of_their_own_and_every_start_takes_from_them_in_the_same_order() -> None:
    found = [(queue.name, queue.routing_key, queue.exchange.name) for queue in app.conf.task_queues]
    assert found == [(name, name, name) for name in QUEUES]
    assert QUEUES == ("maintenance", "push", "mail", "probe", "observe")
    for path in ("byoca_portal/supervisor/up.py", "docker-compose.yml", "docs/deployment.md", "docs/celery.md"):
        assert ",".join(QUEUES) in (ROOT / path).read_text(encoding="utf-8"), path


@pytest.mark.parametrize(("urgent", "queue"), [(True, "push"), (False, "observe")])
@pytest.mark.parametrize("kind", ["account", "zone"])
@pytest.mark.django_db(transaction=True)
def test_what_somebody_waits_for_goes_to_push_and_sweeps_to_observe(
    kind: str, urgent: bool, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(doorbell, "_ring", lambda _kind, _subject, queue: rung.append(queue))
    sent: list[str] = []
    for task in (tasks.reconcile_account, tasks.reconcile_zone):
        monkeypatch.setattr(task, "apply_async", lambda queue, **_rest: sent.append(queue))
    mark_due(kind=kind, subject_id=uuid.uuid4(), urgent=urgent)
    tasks.tick()
    assert (rung, sent) == ([queue], [queue])


@pytest.mark.django_db(transaction=True)
def test_ticks_that_piled_up_ring_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(tasks.reconcile_zone, "apply_async", lambda queue, **_rest: sent.append(queue))
    mark_due(kind="zone", subject_id=uuid.uuid4(), urgent=False)
    for _ in range(30):
        tasks.tick()
    assert sent == ["observe"]
    Heartbeat.objects.update(at=Now() - timedelta(seconds=tasks.SAME_TICK_S))
    tasks.tick()
    assert sent == ["observe", "observe"]


@pytest.mark.django_db(transaction=True)
def test_a_sweep_of_what_somebody_waits_for_stays_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(doorbell, "_ring", lambda _kind, _subject, queue: rung.append(queue))
    zone = uuid.uuid4()
    for urgent in (False, True, False):
        mark_due(kind="zone", subject_id=zone, urgent=urgent)
    assert rung == ["observe", "push", "push"]


@pytest.mark.parametrize("kind", ["probe", "events", "receiver"])
def test_other_kinds_keep_their_queue(kind: str) -> None:
    assert doorbell.queue_of(kind, urgent=True) == doorbell.queue_of(kind, urgent=False) in {"probe", "mail"}


def test_a_broker_behind_tls_is_checked_and_its_password_is_nowhere_shown() -> None:
    url = "rediss://portal:p%40ss@redis.example:6380/2"
    said = subprocess.run(
        [sys.executable, "-c", SECURE], cwd=ROOT, env={**os.environ, "REDIS_URL": url},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    host, port, user, password, database, ssl, shown = json.loads(said.stdout)
    assert (host, port, user, password, database) == ("redis.example", 6380, "portal", "p@ss", "2")
    assert ssl == {"ssl_cert_reqs": "2", "ssl_check_hostname": "True"}
    assert "p@ss" not in shown and "p%40ss" not in shown
    assert "insecure" not in said.stderr


@pytest.mark.parametrize("path", ["byoca_portal/supervisor/up.py", "docker-compose.yml"])
def test_the_broker_drops_no_message_for_room_and_keeps_them_on_disk(path: str) -> None:
    words = re.sub(r"[\s\",]+", " ", (ROOT / path).read_text(encoding="utf-8"))
    for option in ("--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction"):
        assert option in words


def test_no_message_waits_in_a_worker_and_none_is_tried_again_by_celery() -> None:
    """When something is due is in the database (`due_at`), and so is how often it was tried."""
    product = [path for folder in ("apps", "byoca_portal") for path in (ROOT / folder).rglob("*.py")]
    waits = re.compile(r"\b(countdown|eta|autoretry_for|retry_backoff)=|\.retry\(|\.(delay|apply)\(")
    assert [str(path) for path in product if waits.search(path.read_text(encoding="utf-8"))] == []
    ours = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    assert {task.rate_limit for task in ours.values()} == {None}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """A server with the user of docker-compose.yml."""
    (line,) = re.findall(r"user portal .*?-@dangerous", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    acl = tmp_path / "acl"
    acl.write_text(f"user default off\n{line.replace('%s', 'pass1')}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ValkeyProcess(tmp_path, "--aclfile", str(acl), "--port", str(port)):
        yield f"redis://portal:pass1@127.0.0.1:{port}/0"


def test_the_user_of_the_deployment_may_carry_messages_and_no_more(guarded: str) -> None:
    with Connection(guarded, transport_options=dict(BROKER_OPTIONS)) as link:
        queue = link.SimpleQueue("push")
        queue.put({"id": "1"})
        message = queue.get(timeout=5)
        assert message.payload == {"id": "1"}
        message.ack()
        queue.close()
    RedisCounter(guarded).note("token", Told(left=100, reset_s=60, quota=1200, span_s=300))
    client = redis.Redis.from_url(guarded)
    assert client.eval("return redis.call('TIME')", 0)
    for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("SHUTDOWN",)):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis.from_url(re.sub("portal:pass1@", "", guarded)).ping()
