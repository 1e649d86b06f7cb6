"""One probe of one hostname: lease, look whether it may be contacted, visit, keep what was seen."""

from __future__ import annotations

import ipaddress
import socket
from os import getpid
from uuid import UUID

import structlog
from django.conf import settings

from apps.inventory.models import Account
from apps.outbound.addresses import Policy
from apps.outbox.doorbell import ring_on_commit
from apps.outbox.selectors import entries_due
from apps.outbox.services import park
from apps.probing.selectors import setting_of
from apps.probing.services import KIND, may_contact, skip_probe, store_probe, take_probe
from apps.probing.visit import visit

log = structlog.get_logger(__name__)

PARK_AFTER_ATTEMPTS = 5


def run_probe(target_id: UUID) -> None:
    """Probe one hostname, if it is due and may be contacted. No transaction is open during the visit."""
    taken = take_probe(target_id=target_id, worker=f"{socket.gethostname()}:{getpid()}")
    if taken is None:
        return
    lease, target = taken
    if lease.attempts > PARK_AFTER_ATTEMPTS:
        park(lease, reason="The worker stopped in the middle of this probe too often. Read the log, then probe again.")
    elif not may_contact(target):
        skip_probe(lease=lease)
    else:
        seen = visit(
            target.hostname,
            policy=policy_of(target.zone.account),
            deadline_s=settings.BYOCA_PROBE_DEADLINE_S,
        )
        probe = store_probe(lease=lease, target=target, visit=seen)
        log.info("probed", hostname=target.hostname, stored=probe is not None, took_ms=seen.took_ms)
    _ring_next()


def policy_of(account: Account) -> Policy:
    """The addresses that may be connected to for this account."""
    return Policy(
        test_ranges=tuple(ipaddress.ip_network(text) for text in setting_of(account).test_ranges),
        own_ranges=tuple(ipaddress.ip_network(text) for text in settings.BYOCA_PROBE_OWN_RANGES),
        test_port=settings.BYOCA_PROBE_TEST_PORT,
    )


def _ring_next() -> None:
    """Go on with the next due probe at once; the tick would find it too, later."""
    for entry in entries_due(1, kinds=[KIND]):
        ring_on_commit(KIND, entry.subject_id)
