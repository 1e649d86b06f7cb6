"""Rings the bell for a worker once the transaction that made something due has committed.

A bell that is lost costs seconds: the sweep finds every due row. So ringing never blocks and never fails the
request that rang: one background thread per process sends, and drops what it cannot (fault 34).
"""

from __future__ import annotations

import os
import queue
import threading
from uuid import UUID

import structlog
from celery import current_app
from django.db import transaction

log = structlog.get_logger(__name__)

_bells: queue.Queue[tuple[str, str, str]] = queue.Queue(maxsize=1000)
_ringer: dict[int, threading.Thread] = {}
_lock = threading.Lock()


# Kind -> task and queue.
TASKS = {
    "account": ("reconcile.account", "push"),
    "zone": ("reconcile.zone", "push"),
    "probe": ("probing.probe", "probe"),
    "events": ("notify.read", "mail"),
    "receiver": ("notify.deliver", "mail"),
}


def queue_of(kind: str, *, urgent: bool) -> str:
    """The queue of a kind. Sweeps have one of their own, so that a flood of them delays nobody's change."""
    queue_name = TASKS[kind][1]
    return "observe" if queue_name == "push" and not urgent else queue_name


def ring_on_commit(kind: str, subject_id: UUID, *, urgent: bool = True) -> None:
    """Ask for the kind's task after the commit. Says nothing if the transaction rolls back."""
    transaction.on_commit(lambda: _ring(kind, str(subject_id), queue_of(kind, urgent=urgent)))


def _ring(kind: str, subject_id: str, queue_name: str) -> None:
    with _lock:
        # After a fork the parent's thread does not exist here: threads are looked up by process id.
        if not (thread := _ringer.get(os.getpid())) or not thread.is_alive():
            _ringer[os.getpid()] = thread = threading.Thread(target=_send_all, name="doorbell", daemon=True)
            thread.start()
    try:
        _bells.put_nowait((kind, subject_id, queue_name))
    except queue.Full:
        log.warning("doorbell_dropped", kind=kind, subject_id=subject_id)


def _send_all() -> None:
    while True:
        kind, subject_id, queue_name = _bells.get()
        try:
            current_app.send_task(TASKS[kind][0], args=[subject_id], queue=queue_name, ignore_result=True)
        except Exception as error:
            log.warning("doorbell_lost", kind=kind, subject_id=subject_id, error=type(error).__name__)
