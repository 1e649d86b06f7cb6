"""One run for one account: list its zones and certificates, upload what was admitted, delete what was retired."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import move_ca
from apps.authorities.states import CaState
from apps.cloudflare.certificates import Certificate
from apps.cloudflare.client import Client
from apps.cloudflare.errors import (
    AlreadyDeleted,
    AlreadyExists,
    CloudflareError,
    NotFoundAtEdge,
    PermissionMissing,
    RateLimited,
    SlotsExhausted,
    StillInUse,
    Unauthorized,
)
from apps.errors import PortalError
from apps.inventory.models import Account, EdgeList, Zone
from apps.inventory.services import store_account_failure, store_account_read
from apps.outbox.processes import this_process
from apps.outbox.services import Lease, claim, defer, holds, mark_due, park, settle
from apps.reconcile.edge import client_for
from apps.reconcile.faults import PARK_AFTER_ATTEMPTS, backoff_s, handling
from apps.reconcile.observe import WORKER

log = structlog.get_logger(__name__)

# A listing may lack a certificate for some seconds after its upload (docs/cloudflare.md).
LISTING_LAG = timedelta(seconds=15)
DELETE_ATTEMPTS = 10


def run_account(account_id: UUID) -> None:
    """Take the account's lease and bring it up to date. Does nothing when it is not due or somebody else has it."""
    lease = claim(kind="account", subject_id=account_id, worker=this_process(), lease_s=settings.BYOCA_LEASE_S)
    if lease is None:
        return
    account = Account.objects.filter(pk=account_id).first()
    if account is None or lease.attempts > PARK_AFTER_ATTEMPTS * 2:
        park(lease, reason="The worker stopped in the middle of this account too often. Read the log, then retry.")
        return
    try:
        with client_for(account, lease=lease) as client:
            again_in_s = _bring_up_to_date(client, account, lease)
    except PortalError as error:
        how = handling(error, lease.attempts)
        log.warning("account_run_failed", account=account.name, error=error.message, kind=type(error).__name__)
        store_account_failure(account=account, error=error.message, token_broken=how.token_broken)
        defer(lease, delay_s=how.delay_s or settings.BYOCA_SWEEP_INTERVAL_S, error=error.message)
        return
    if again_in_s is None:
        settle(lease, next_in_s=settings.BYOCA_SWEEP_INTERVAL_S)
    else:
        defer(lease, delay_s=again_in_s, error="Waiting for the edge.")


def _bring_up_to_date(client: Client, account: Account, lease: Lease) -> float | None:
    """Returns the seconds until another run is wanted, or None when nothing is left to do."""
    certificates = _read(client, account)
    _match(account, certificates)
    if account.mode != Account.Mode.READ_WRITE:
        return None
    waits = [_upload(client, account, lease, ca) for ca in _in_state(account, CaState.QUEUED, CaState.PUSHING)]
    waits += [_delete(client, account, lease, ca) for ca in _in_state(account, CaState.DELETING)]
    if waits:
        _match(account, _read(client, account))
    return min((wait for wait in waits if wait is not None), default=None)


def _in_state(account: Account, *states: CaState) -> list[CertificateAuthority]:
    return list(CertificateAuthority.objects.filter(account=account, state__in=states).order_by("created_at"))


def _read(client: Client, account: Account) -> tuple[Certificate, ...]:
    zones = client.zones.list(account.cloudflare_id)
    certificates = client.certificates.list(account.cloudflare_id)
    with transaction.atomic():
        known = set(account.edge_certificates.values_list("cloudflare_id", flat=True))
        fresh = store_account_read(by=WORKER, account=account, zones=zones, certificates=certificates)
        # A CA that came or went changes which lists every zone has to be read for.
        changed = known != {row.id for row in certificates}
        for zone in Zone.objects.filter(account=account, vanished_at=None) if changed else fresh:
            mark_due(kind="zone", subject_id=zone.pk, urgent=False)
    return certificates


def _match(account: Account, certificates: tuple[Certificate, ...]) -> None:
    """Tie our records to the listing by the certificate's own bytes, never by name."""
    listed = {print_: row for row in certificates if row.counts_as_slot for print_ in row.fingerprints}
    for ca in _in_state(account, CaState.QUEUED, CaState.PUSHING, CaState.GONE):
        if row := listed.get(ca.fingerprint):
            move_ca(by=WORKER, ca_id=ca.pk, target=CaState.LIVE, action="ca:live", cloudflare_id=row.id)
    ids = {row.id for row in certificates}
    for ca in _in_state(account, CaState.LIVE):
        settled = ca.live_at is None or timezone.now() - ca.live_at > LISTING_LAG
        if ca.cloudflare_id not in ids and settled:
            why = "Cloudflare no longer lists this CA. Somebody deleted it outside the portal."
            move_ca(by=WORKER, ca_id=ca.pk, target=CaState.GONE, action="ca:gone", why=why)


def _upload(client: Client, account: Account, lease: Lease, ca: CertificateAuthority) -> float | None:
    """Upload one admitted CA. Returns seconds to wait before looking again, None when it is decided.

    The listing was read and matched just before, so a repeat after a lost answer cannot burn a second slot; should
    the listing lag, Cloudflare answers 1471 for the same bytes.
    """
    ca.refresh_from_db()
    if ca.state not in {CaState.QUEUED, CaState.PUSHING} or not holds(lease, for_s=settings.BYOCA_EDGE_DEADLINE_S):
        return None
    if ca.state == CaState.QUEUED:
        move_ca(by=WORKER, ca_id=ca.pk, target=CaState.PUSHING, action="ca:push_started")
    try:
        row = client.certificates.upload(account.cloudflare_id, name=ca.name, pem=ca.pem)
    except AlreadyExists:
        return 2.0
    except (Unauthorized, PermissionMissing, RateLimited):
        raise
    except SlotsExhausted as error:
        _fail(ca, f"Cloudflare has no free CA slot in this account (1489). {error.message} Free a slot, then retry.")
        return None
    except CloudflareError as error:
        if error.retryable or error.outcome == "unknown":
            log.warning("ca_upload_unknown", ca=str(ca.pk), error=error.message)
            return backoff_s(lease.attempts)
        _fail(ca, error.message)
        return None
    ray = client.last_call.ray if client.last_call else ""
    if ca.fingerprint not in row.fingerprints:
        _fail(
            ca, "Cloudflare answered with another certificate than the one that was sent. Delete it there, then retry."
        )
        return None
    move_ca(by=WORKER, ca_id=ca.pk, target=CaState.LIVE, action="ca:live", cloudflare_id=row.id, details={"ray": ray})
    return None


def _fail(ca: CertificateAuthority, why: str) -> None:
    move_ca(by=WORKER, ca_id=ca.pk, target=CaState.FAILED, action="ca:push_failed", why=why)


def _delete(client: Client, account: Account, lease: Lease, ca: CertificateAuthority) -> float | None:
    """Delete one retired CA: every list read empty first, then DELETE, then wait until it is gone (F10)."""
    for zone in Zone.objects.filter(account=account, vanished_at=None):
        left = client.associations.read(zone.cloudflare_id, mtls_certificate_id=ca.cloudflare_id)
        if left:
            names = ", ".join(sorted(left)[:5])
            return _keep(
                ca, f"{len(left)} hostnames in {zone.name} still use it at the edge: {names}. Remove them first."
            )
    if not holds(lease, for_s=settings.BYOCA_EDGE_DEADLINE_S):
        return 1.0
    try:
        client.certificates.delete(account.cloudflare_id, ca.cloudflare_id)
    except (AlreadyDeleted, NotFoundAtEdge):
        pass
    except StillInUse as error:
        if lease.attempts >= DELETE_ATTEMPTS:
            return _keep(ca, f"Cloudflare still refuses to delete it after {lease.attempts} tries. {error.message}")
        return backoff_s(lease.attempts)
    return _wait_until_gone(client, account, ca)


def _wait_until_gone(client: Client, account: Account, ca: CertificateAuthority) -> float | None:
    try:
        client.certificates.get(account.cloudflare_id, ca.cloudflare_id)
    except (NotFoundAtEdge, AlreadyDeleted):
        with transaction.atomic():
            EdgeList.objects.filter(zone__account=account, ca_cloudflare_id=ca.cloudflare_id).delete()
            move_ca(by=WORKER, ca_id=ca.pk, target=CaState.DELETED, action="ca:deleted")
        return None
    return 2.0


def _keep(ca: CertificateAuthority, why: str) -> None:
    move_ca(by=WORKER, ca_id=ca.pk, target=CaState.LIVE, action="ca:deletion_parked", why=why)
