"""One run for one receiver: lease it, deliver what is due one after the other, give it back."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from apps.notify.hooks import post
from apps.notify.mail import send_mail
from apps.notify.models import Notice
from apps.notify.outcome import Outcome, later
from apps.notify.selectors import MAIL
from apps.notify.services import begin_delivery, end_run, finish_delivery, take_receiver
from apps.outbox.doorbell import ring_on_commit
from apps.outbox.processes import this_process
from apps.outbox.selectors import entries_due

log = structlog.get_logger(__name__)
# A run ends after this long, so that another receiver has its turn.
RUN_S = 20.0


def run_receiver(receiver: UUID) -> None:
    """Deliver what is due, until nothing is, time is up, or the receiver does not answer. No transaction is open while
    something is sent."""
    lease = take_receiver(receiver=receiver, worker=this_process())
    if lease is None:
        return
    send: Callable[[list[Notice]], Outcome] = send_mail if receiver == MAIL else post
    until = time.monotonic() + RUN_S
    while time.monotonic() < until and (notices := begin_delivery(lease)):
        try:
            outcome = send(notices)
        except SoftTimeLimitExceeded:
            # A mail server that says a little now and then: each wait is short, and together they have no end.
            outcome = later("It was not taken within a minute.", receiver_down=True)
        finish_delivery(lease, notices, outcome)
        log.info("notice", channel=notices[0].channel, count=len(notices), outcome=outcome.verdict.value)
        if outcome.receiver_down:
            break
    end_run(lease)
    for entry in entries_due(1, kinds=["receiver"]):
        ring_on_commit("receiver", entry.subject_id)
