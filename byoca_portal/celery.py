"""The Celery application.

Principle: the database row is the job, the message is a doorbell (docs/architecture.md). Every value that is not
Celery's default is here because a measurement or a documented trap asked for it; docs/celery.md gives each reason.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, worker_ready
from kombu import Exchange, Queue

from byoca_portal import env as environment
from byoca_portal.env import env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byoca_portal.settings")

app = Celery("byoca_portal")

# How often beat looks for what is due. A doorbell is faster; this is what finds a row whose bell was lost.
TICK_S = env.float("BYOCA_TICK_S", default=2.0)
# A message's age is the difference of two hosts' clocks. One that expired before the next tick was thrown away unread,
# each and every one, by a worker whose clock is two seconds ahead of beat's.
TICK_EXPIRES_S = 60.0

# In the order in which a worker takes from them. Ticks are short and keep everything else alive, so no flood of
# changes may starve them; changes that people wait for go before notices and probes, and sweeps come last.
QUEUES = ("maintenance", "push", "mail", "probe", "observe")

VISIBILITY_TIMEOUT_S = 300
BROKER_OPTIONS: dict[str, object] = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "max_retries": 2,
    "queue_order_strategy": "priority",
}


def broker() -> dict[str, object]:
    """Redis by URL; the embedded Valkey by its unix socket; kombu's filesystem transport where no wheel exists."""
    folder = environment.data_dir() / "broker"
    if url := env.str("REDIS_URL", default=""):
        # Left to itself, kombu takes any certificate of a rediss:// server.
        verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
        use_ssl = {"broker_use_ssl": verified} if url.startswith("rediss://") else {}
        return {"broker_url": url, "broker_transport_options": BROKER_OPTIONS, **use_ssl}
    if os.environ.get("BYOCA_BROKER") == "filesystem":
        queue = folder / "queue"
        paths = {"data_folder_in": queue, "data_folder_out": queue, "control_folder": folder / "control"}
        for path in paths.values():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        options: dict[str, object] = {name: str(path) for name, path in paths.items()}
        return {"broker_url": "filesystem://", "broker_transport_options": options}
    # TCP keep-alive does not exist on a unix socket.
    options = {key: value for key, value in BROKER_OPTIONS.items() if key != "socket_keepalive"}
    path = env.str("BYOCA_BROKER_SOCKET", default=str(folder / "valkey.sock"))
    return {"broker_url": f"redis+socket://{path}", "broker_transport_options": options}


app.conf.update(
    **broker(),
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_eta_task_limit=100,
    task_soft_time_limit=90,
    task_time_limit=120,
    worker_max_tasks_per_child=500,
    worker_max_memory_per_child=262144,
    worker_soft_shutdown_timeout=30.0,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_publish_retry=True,
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2},
    task_ignore_result=True,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    # Each with its own key: without one both would be bound to the default and get each other's messages.
    task_queues=[Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
    task_default_queue="push",
    task_default_exchange="push",
    task_default_routing_key="push",
    task_create_missing_queues=False,
    task_routes={
        **{
            name: {"queue": "maintenance", "routing_key": "maintenance"}
            for name in ("reconcile.tick", "reconcile.check_tokens", "probing.tick")
        },
        # A heartbeat of its own queue: it stops when no worker takes that queue.
        "notify.tick": {"queue": "mail", "routing_key": "mail"},
    },
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    enable_utc=True,
    timezone="UTC",
    beat_cron_starting_deadline=300,
    beat_schedule={
        "tick": {
            "task": "reconcile.tick",
            "schedule": TICK_S,
            "options": {"expires": TICK_EXPIRES_S},
        },
        "probing-tick": {
            "task": "probing.tick",
            "schedule": TICK_S,
            "options": {"expires": TICK_EXPIRES_S},
        },
        "notify-tick": {
            "task": "notify.tick",
            "schedule": TICK_S * 2,
            "options": {"expires": TICK_EXPIRES_S},
        },
    },
)
app.autodiscover_tasks(["apps.notify", "apps.probing", "apps.reconcile"])


@celeryd_init.connect
def _stop_although_nobody_reads(**_signal: object) -> None:
    """A worker that is asked to stop first writes a line, and takes note of the request only then. Where nobody reads
    its output any more (its supervisor was killed, a collector of logs ended) that line raised BrokenPipeError, which
    the worker took for a lost broker: it connected anew and worked on for ever.
    """
    from celery.apps import worker

    say = worker.safe_say

    def say_if_anybody_reads(*line: Any) -> None:
        with contextlib.suppress(OSError):
            say(*line)

    worker.safe_say = say_if_anybody_reads


@worker_ready.connect
def _check_tokens(**_signal: object) -> None:
    """A worker that starts has tokens looked at: a permission that was taken away shows before somebody needs it."""
    app.send_task("reconcile.check_tokens", queue="maintenance", expires=300)
