"""Uploading and deleting one CA at the edge, each at most once per known effect.

A POST may have happened although its answer was lost, and no second one is sent before the account's list had the
time to show the first: one slot is burned, never two (INV-22, INV-23). What is known of the last write is kept with
the CA, so that a worker that takes over from a killed one waits too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import slots_of
from apps.authorities.services import begin_write, end_write, move_ca, store_empty_list, store_lists_missing
from apps.authorities.states import CaState
from apps.cloudflare.certificates import Certificate
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
from apps.coverage.uses import at_edge_under
from apps.errors import Conflict
from apps.inventory.budget.gate import BudgetExhausted
from apps.inventory.holds import hold_on_account
from apps.inventory.models import Account, EdgeList, Zone
from apps.inventory.services import store_ca_write_refusal
from apps.outbox.clock import database_now
from apps.outbox.services import Lease, renew
from apps.reconcile.edge import EdgeClient
from apps.reconcile.faults import LISTING_LAG, backoff_s
from apps.reconcile.observe import WORKER

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 2.0
PUSH_ATTEMPTS = 8
# After its last list is emptied Cloudflare may refuse a deletion for 90 s, and a deletion takes as long to spread.
DELETE_ATTEMPTS = 9
# Of those refusals only some make every list be read anew, to find who uses it: that may be hundreds of calls.
READ_ANEW_EVERY = 3
DELETION_SPREADS = timedelta(seconds=90)
# Of all deletions of a run: with the account's listing before it, and planning after it, a task's time is not passed.
READ_FOR_S = 30.0
# Reasons that concern the account or its token, not this CA: the whole run ends with them.
OF_THE_ACCOUNT = (Unauthorized, PermissionMissing)
# The call was not made, or certainly not obeyed: no attempt of this CA.
HELD_BACK = (BudgetExhausted, RateLimited)


@dataclass
class CaWriter:
    """Writes of one run under one lease. Each method returns seconds to wait, None when the CA is decided."""

    client: EdgeClient
    account: Account
    lease: Lease
    refused: list[CertificateAuthority] = field(default_factory=list)
    read_until_s: float = field(default_factory=lambda: time.monotonic() + READ_FOR_S)

    def upload(self, ca: CertificateAuthority) -> float | None:
        """Send one admitted CA. The account's list was read and matched just before."""
        ca.refresh_from_db()
        if ca.state not in {CaState.QUEUED, CaState.PUSHING}:
            return None
        if _may_still_show(ca, LISTING_LAG):
            return LOOK_AGAIN_S
        if ca.write_attempts >= PUSH_ATTEMPTS:
            words = f"Cloudflare gave no usable answer {ca.write_attempts} times, and its list does not show this CA."
            return self._fail(ca, f"{words} Retry when Cloudflare is well.")
        if not self._may_write():
            return LOOK_AGAIN_S
        self.client.gate.reserve(1)
        try:
            if ca.state == CaState.QUEUED:
                move_ca(by=WORKER, ca_id=ca.pk, target=CaState.PUSHING, action="ca:push_started")
            ca = begin_write(by=WORKER, ca_id=ca.pk)
        except Conflict:
            return None  # somebody took it back in this moment
        return self._post(ca)

    def _post(self, ca: CertificateAuthority) -> float | None:
        try:
            row = self.client.certificates.upload(self.account.cloudflare_id, name=ca.name, pem=ca.pem)
        except AlreadyExists:
            return self._exists(ca)
        except HELD_BACK as error:
            end_write(by=WORKER, ca_id=ca.pk, why=error.message, unknown=False, attempted=False, held_back=True)
            raise
        except OF_THE_ACCOUNT as error:
            self._token_refused(ca, error)
            raise
        except SlotsExhausted as error:
            end_write(by=WORKER, ca_id=ca.pk, why=error.message, unknown=False)
            self.refused.append(ca)
            return None
        except CloudflareError as error:
            return self._upload_failed(ca, error)
        return self._arrived(ca, row)

    def _exists(self, ca: CertificateAuthority) -> float | None:
        """1471: the account holds these very bytes, so the next listing is adopted by fingerprint."""
        if ca.write_attempts >= PUSH_ATTEMPTS:
            words = (
                "Cloudflare says that it holds this certificate already (1471), but does not list it as a CA of this "
                "account. Look it up in the dashboard and delete it there, then retry."
            )
            return self._fail(ca, words)
        words = "Cloudflare holds this certificate already (1471). The portal takes it over as soon as it is listed."
        end_write(by=WORKER, ca_id=ca.pk, why=words, unknown=True)
        return LOOK_AGAIN_S

    def _upload_failed(self, ca: CertificateAuthority, error: CloudflareError) -> float | None:
        unknown = error.outcome == "unknown"
        if not unknown and not error.retryable:
            return self._fail(ca, error.message)
        log.warning("ca_upload_unanswered", ca=str(ca.pk), error=error.message, unknown=unknown)
        end_write(by=WORKER, ca_id=ca.pk, why=error.message, unknown=unknown)
        return LOOK_AGAIN_S if unknown else backoff_s(ca.write_attempts)

    def _arrived(self, ca: CertificateAuthority, row: Certificate) -> None:
        ray = self.client.last_call.ray if self.client.last_call else ""
        if ca.fingerprint not in row.fingerprints:
            words = (
                "Cloudflare answered with another certificate than the one that was sent. Delete it there, then retry."
            )
            return self._fail(ca, words)
        move_ca(
            by=WORKER, ca_id=ca.pk, target=CaState.LIVE, action="ca:live", cloudflare_id=row.id, details={"ray": ray}
        )
        return None

    def tell_refused(self) -> None:
        """Close uploads that met a full account, with the holders that the account was just read to have (1489)."""
        slots = slots_of(self.account)
        ours = {ca.pk for ca in self.refused}
        others = [holder for holder in slots.holders if not (holder.ca and holder.ca.pk in ours)]
        names = ", ".join(h.label if h.ca else f"{h.label} (uploaded outside)" for h in others) or "nobody"
        for ca in self.refused:
            words = f"Cloudflare has no free CA slot in this account (1489). It holds {len(others)}: {names}. "
            if len(others) < slots.limit:
                words += (
                    f"The portal counts with {slots.limit} slots: other products share them, or the limit is lower. "
                    "An administrator corrects it under Accounts and zones. "
                )
            self._fail(ca, words + "Free a slot, then retry.")

    def _fail(self, ca: CertificateAuthority, why: str) -> None:
        move_ca(by=WORKER, ca_id=ca.pk, target=CaState.FAILED, action="ca:push_failed", why=why)

    def delete(self, ca: CertificateAuthority) -> float | None:
        """Delete one retired CA: every list read empty first, then DELETE, then wait until it is gone (F10)."""
        ca.refresh_from_db()
        if self._is_gone(ca):
            return self._deleted(ca)
        if _may_still_show(ca, DELETION_SPREADS):
            return LOOK_AGAIN_S
        if ca.write_attempts >= DELETE_ATTEMPTS:
            words = f"Cloudflare does not delete it, after {ca.write_attempts} tries. {ca.state_reason}"
            return _keep(ca, words.strip())
        left = self._still_named(ca)
        if left is None:
            return LOOK_AGAIN_S
        if left:
            return _keep(ca, left)
        if not self._may_write():
            return LOOK_AGAIN_S
        self.client.gate.reserve(1)
        return self._send_delete(begin_write(by=WORKER, ca_id=ca.pk))

    def _send_delete(self, ca: CertificateAuthority) -> float | None:
        try:
            self.client.certificates.delete(self.account.cloudflare_id, ca.cloudflare_id)
        except (AlreadyDeleted, NotFoundAtEdge):
            pass
        except HELD_BACK as error:
            end_write(by=WORKER, ca_id=ca.pk, why=error.message, unknown=False, attempted=False, held_back=True)
            raise
        except OF_THE_ACCOUNT as error:
            self._token_refused(ca, error)
            raise
        except CloudflareError as error:
            if error.outcome != "unknown" and not error.retryable:
                return _keep(ca, error.message)
            in_use, unknown = isinstance(error, StillInUse), error.outcome == "unknown"
            read_anew = in_use and ca.write_attempts % READ_ANEW_EVERY == 0
            end_write(by=WORKER, ca_id=ca.pk, why=error.message, unknown=unknown, read_anew=read_anew)
            return backoff_s(ca.write_attempts) if in_use else LOOK_AGAIN_S
        return self._deleted(ca) if self._is_gone(ca) else LOOK_AGAIN_S

    def _is_gone(self, ca: CertificateAuthority) -> bool:
        try:
            self.client.certificates.get(self.account.cloudflare_id, ca.cloudflare_id)
        except (NotFoundAtEdge, AlreadyDeleted):
            return True
        return False

    def _deleted(self, ca: CertificateAuthority) -> None:
        with transaction.atomic():
            EdgeList.objects.filter(zone__account=self.account, ca_cloudflare_id=ca.cloudflare_id).delete()
            move_ca(by=WORKER, ca_id=ca.pk, target=CaState.DELETED, action="ca:deleted")

    def _still_named(self, ca: CertificateAuthority) -> str | None:
        """What at the edge still uses the CA, as a sentence; empty when every zone's list is; None when time ran out.

        What was read is kept for the next run: neither the budget nor the time of one may do for a large account.
        """
        try:
            for zone in zones_to_read(ca):
                if time.monotonic() > self.read_until_s:
                    return None
                left = self.client.associations.read(zone.cloudflare_id, mtls_certificate_id=ca.cloudflare_id)
                if left:
                    return _named_words(zone, left)
                store_empty_list(ca, zone)
        finally:
            self._tell_missing(ca)
        return ""

    def _tell_missing(self, ca: CertificateAuthority) -> None:
        zones = Zone.objects.filter(account=self.account, vanished_at=None)
        if missing := zones.exclude(pk__in=ca.empty_in.values("pk")).count():
            count = zones.count()
            words = f"Its list is empty in {count - missing} of {count} zones; the others are read next."
            store_lists_missing(ca, f"{words} The portal goes on by itself.")

    def _token_refused(self, ca: CertificateAuthority, error: CloudflareError) -> None:
        """Not the CA's fault, so no attempt of it; and no other is sent with a token that may not write."""
        words = f"{error.message} The portal tries again with another token, or in an hour."
        with transaction.atomic():
            # First the CA, then its account: the order of whoever retires or retries it.
            CertificateAuthority.objects.select_for_update(no_key=True).get(pk=ca.pk)
            store_ca_write_refusal(account=self.account, at=timezone.now())
            end_write(by=WORKER, ca_id=ca.pk, why=words, unknown=False, attempted=False)

    def _may_write(self) -> bool:
        """The last question before each write: is the lease still ours, and is writing still allowed?

        The lease is renewed, not just asked for: what was worked out since the last answer may have taken long.
        """
        return renew(self.lease, lease_s=settings.BYOCA_LEASE_S) and hold_on_account(self.account.pk) is None


def zones_to_read(ca: CertificateAuthority) -> list[Zone]:
    """Whose list of the CA its deletion has still to read, likely uses first.

    One that was read empty for it is read again only when a sweep found something there.
    """
    named = {zone_id for zone_id, _ in at_edge_under(ca)}
    read = ca.empty_in.exclude(pk__in=named).values("pk")
    zones = Zone.objects.filter(account_id=ca.account_id, vanished_at=None).exclude(pk__in=read)
    return sorted(zones, key=lambda zone: zone.pk not in named)


def _may_still_show(ca: CertificateAuthority, within: timedelta) -> bool:
    """Whether a write, perhaps another worker's, left so short a time ago that reading on says more than writing."""
    return ca.write_sent_at is not None and database_now() - ca.write_sent_at < within


def _named_words(zone: Zone, left: frozenset[str]) -> str:
    names, one = ", ".join(sorted(left)[:5]), len(left) == 1
    what = "1 hostname" if one else f"{len(left)} hostnames"
    return (
        f"{what} in {zone.name} still {'uses' if one else 'use'} it at the edge: {names}. "
        f"Remove {'it' if one else 'them'} first."
    )


def _keep(ca: CertificateAuthority, why: str) -> None:
    move_ca(by=WORKER, ca_id=ca.pk, target=CaState.LIVE, action="ca:deletion_parked", why=why)
