"""One run for one account: list its zones and certificates, upload what was admitted, delete what was retired.

Uploading and deleting one CA is in `certificates.py`; here is what the account says it holds and what that means for
our records.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import move_ca, record_expiry
from apps.authorities.states import CaState
from apps.cloudflare.certificates import Certificate
from apps.cloudflare.client import Client
from apps.cloudflare.errors import NotFoundAtEdge, Unauthorized
from apps.cloudflare.records import PER_PAGE
from apps.cloudflare.zones import Zone as ZoneRecord
from apps.errors import PortalError
from apps.inventory.budget.gate import BudgetExhausted, NotAnswering, Purpose, budget_of
from apps.inventory.credentials import CredentialUnreadable
from apps.inventory.holds import hold_on_account
from apps.inventory.models import Account, TokenKind, Zone
from apps.inventory.services import store_account_failure, store_account_read, store_ca_write_refusal
from apps.inventory.token_check import CALLS as TOKEN_CHECK_CALLS
from apps.inventory.token_check import TOKEN, TOO_FEW_CALLS, ScopeResult, check_token, store_scope_check
from apps.inventory.watermark import check_history
from apps.outbox.processes import this_process
from apps.outbox.services import Lease, claim, mark_due, park, postpone, settle
from apps.reconcile.certificates import CaWriter, zones_to_read
from apps.reconcile.edge import EdgeClient, client_for, next_run_in_s, with_token, writer_from
from apps.reconcile.faults import LISTING_LAG, PARK_AFTER_ATTEMPTS, handling, held_back_s, try_again
from apps.reconcile.observe import WORKER
from apps.reconcile.parking import park_cut_off
from apps.reconcile.restored import park_cas_from_before_restore
from apps.reconcile.troubles import store_trouble
from apps.reconcile.vanished import end_vanished
from apps.reconcile.write_refusals import TRY_TOKEN_EVERY

log = structlog.get_logger(__name__)

# Of the portal's share of calls, reserved for deletions: what sweeps leave alone is three times as much.
DELETION_PART = 20
CHECK_TOKEN_EVERY = timedelta(days=1)


def run_account(account_id: UUID) -> None:
    """Take the account's lease and bring it up to date. Does nothing when it is not due or somebody else has it."""
    lease = claim(kind="account", subject_id=account_id, worker=this_process(), lease_s=settings.BYOCA_LEASE_S)
    if lease is None:
        return
    account = Account.objects.filter(pk=account_id).first()
    if account is None:
        park(lease, reason="There is no such account any more.")
        return
    if lease.attempts > PARK_AFTER_ATTEMPTS * 2:
        park_cut_off(lease, account)
        return
    # A CA comes nearer to its end whether Cloudflare answers or not.
    record_expiry(by=WORKER, account=account, now=timezone.now())
    try:
        writes = bool(_waiting(account)) and not _is_held(account)
        with client_for(account, writes=writes, lease=lease, purpose=_purpose(account)) as client:
            again_in_s = _bring_up_to_date(client, account, lease)
    except PortalError as error:
        if (seconds := held_back_s(error)) is None:
            _handle(account, lease, error)
        else:
            log.info("account_run_postponed", account=account.name, why=error.message)
            if isinstance(error, NotAnswering) and not account.failing_since:
                store_account_failure(account=account, error=error.message, refused=None)
            postpone(lease, delay_s=seconds, why=error.message)
        return
    # Waiting for the edge is no failure: the next look is soon, and attempts are not counted.
    if again_in_s is None:
        again_in_s = next_run_in_s(account, hold_on_account(account.pk))
    settle(lease, next_in_s=again_in_s)


def _handle(account: Account, lease: Lease, error: PortalError) -> None:
    how = handling(error, lease.attempts)
    log.warning("account_run_failed", account=account.name, error=error.message, kind=type(error).__name__)
    if not store_trouble(account, error, how):
        store_account_failure(account=account, error=error.message, refused=None)
    try_again(lease, how, error)


def _purpose(account: Account) -> Purpose:
    """People before sweeps; a deletion leaves something to changes of hostnames."""
    if _in_state(account, CaState.DELETING):
        return Purpose.CA_DELETION
    return Purpose.CHANGE if _in_state(account, CaState.QUEUED, CaState.PUSHING) else Purpose.SWEEP


def _bring_up_to_date(client: EdgeClient, account: Account, lease: Lease) -> float | None:
    """Returns the seconds until another run is wanted, or None when nothing is left to do."""
    for kind in account.token_kinds:
        _check_token(client, account, kind)
    client.gate.reserve(_calls_of_listing(account) + _calls_of_deletions(account))
    zones = client.zones.list(account.cloudflare_id)
    match(account, read_account(client, account, zones))
    park_cas_from_before_restore(account)
    hold = hold_on_account(account.pk)
    if hold or _refused_of_late(account) or not check_history() or not _waiting(account):
        # Not asked for again: a window that ends between two answers would be waited for until the next sweep.
        return next_run_in_s(account, hold)
    with writer_from(client) as writer:
        return _write_cas(writer, account, lease, zones)


def _calls_of_listing(account: Account) -> int:
    """Every page of zones as far as they are known, a last one that may be empty, and the certificates."""
    return account.zones.filter(vanished_at=None).count() // PER_PAGE + 2


def _calls_of_deletions(account: Account) -> int:
    """So many that a run which is cut off has read some lists: otherwise it would list the account for nothing."""
    leaving = _in_state(account, CaState.DELETING)
    if not leaving or _is_held(account):
        return 0
    lists = sum(len(zones_to_read(ca)) for ca in leaving)
    return min(lists, budget_of(account).allowed // DELETION_PART) + 2 * len(leaving)


def _write_cas(client: EdgeClient, account: Account, lease: Lease, zones: tuple[ZoneRecord, ...]) -> float | None:
    writer = CaWriter(client, account, lease)
    waits = [writer.upload(ca) for ca in _in_state(account, CaState.QUEUED, CaState.PUSHING)]
    waits += [writer.delete(ca) for ca in _in_state(account, CaState.DELETING)]
    if waits:
        if account.ca_writes_refused_at:
            store_ca_write_refusal(account=account, at=None)
        try:
            # What was written, and what a full account holds instead (1489), is read again at once.
            match(account, read_account(client, account, zones))
        finally:
            writer.tell_refused()
    return min((wait for wait in waits if wait is not None), default=None)


def _is_held(account: Account) -> bool:
    return hold_on_account(account.pk) is not None or _refused_of_late(account)


def _waiting(account: Account) -> list[CertificateAuthority]:
    """What is to be sent or deleted."""
    return _in_state(account, CaState.QUEUED, CaState.PUSHING, CaState.DELETING)


def _refused_of_late(account: Account) -> bool:
    """Whether the token was refused when it had to write a CA: another try each hour, and at once with another one."""
    refused_at = account.ca_writes_refused_at
    return refused_at is not None and timezone.now() - refused_at < TRY_TOKEN_EVERY


def _in_state(account: Account, *states: CaState) -> list[CertificateAuthority]:
    return list(CertificateAuthority.objects.filter(account=account, state__in=states).order_by("created_at"))


def read_account(client: EdgeClient, account: Account, zones: tuple[ZoneRecord, ...]) -> tuple[Certificate, ...]:
    """Read what the account holds and store it with its zones. Zones that must be read because of it become due."""
    certificates = _completed(client, account, client.certificates.list(account.cloudflare_id))
    with transaction.atomic():
        known = set(account.edge_certificates.values_list("cloudflare_id", flat=True))
        fresh = store_account_read(by=WORKER, account=account, zones=zones, certificates=certificates, kind=client.kind)
        # A CA that came or went changes which lists every zone has to be read for.
        changed = known != {row.id for row in certificates}
        for zone in Zone.objects.filter(account=account, vanished_at=None) if changed else fresh:
            mark_due(kind="zone", subject_id=zone.pk, urgent=False)
    end_vanished(account)
    return certificates


def _completed(client: Client, account: Account, listed: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """The listing without its lag: it may lack a CA that just arrived, and name one that is deleted.

    A CA of ours that the list lacks is asked for by its id, so that an incomplete list never makes one vanish. What
    we deleted is dropped: an id is never given twice.
    """
    deleted = set(
        CertificateAuthority.objects.filter(account=account, state=CaState.DELETED).values_list(
            "cloudflare_id", flat=True
        )
    )
    rows = [row for row in listed if row.id not in deleted]
    ids = {row.id for row in rows}
    missing = [ca for ca in _in_state(account, CaState.LIVE, CaState.DELETING) if ca.cloudflare_id not in ids]
    found = [_one(client, account, ca) for ca in missing]
    return (*rows, *(row for row in found if row is not None))


def _one(client: Client, account: Account, ca: CertificateAuthority) -> Certificate | None:
    try:
        return client.certificates.get(account.cloudflare_id, ca.cloudflare_id)
    except NotFoundAtEdge:
        return None


def match(account: Account, certificates: tuple[Certificate, ...]) -> None:
    """Tie our records to the listing by the certificate's own bytes, never by name (INV-23)."""
    listed: dict[str, Certificate] = {}
    # A slot of several certificates is the last one to be taken for one of them.
    for row in sorted(certificates, key=lambda row: len(row.fingerprints)):
        for fingerprint in row.fingerprints if row.counts_as_slot else ():
            listed.setdefault(fingerprint, row)
    for ca in _in_state(account, CaState.QUEUED, CaState.PUSHING, CaState.FAILED, CaState.GONE):
        if row := listed.get(ca.fingerprint):
            move_ca(by=WORKER, ca_id=ca.pk, target=CaState.LIVE, action="ca:live", cloudflare_id=row.id)
    ids = {row.id for row in certificates}
    for ca in _in_state(account, CaState.LIVE):
        settled = ca.live_at is None or timezone.now() - ca.live_at > LISTING_LAG
        if ca.cloudflare_id not in ids and settled:
            why = "Cloudflare no longer has this CA. Somebody deleted it outside the portal, or in another product."
            move_ca(by=WORKER, ca_id=ca.pk, target=CaState.GONE, action="ca:gone", why=why)


def _check_token(client: EdgeClient, account: Account, kind: TokenKind) -> None:
    """Once a day, and after a token was stored: find out what it may do, before anything needs it."""
    checked_at = getattr(account, kind.field("scope_checked_at"))
    if checked_at and timezone.now() - checked_at < CHECK_TOKEN_EVERY:
        return
    enough = True
    try:
        with with_token(client, kind) as own:
            # It lists every page of zones, too.
            enough = own.gate.reserve(TOKEN_CHECK_CALLS + _calls_of_listing(account))
            results = check_token(own, account, kind, excess=enough)
    except BudgetExhausted as error:
        if enough or isinstance(error, NotAnswering):
            raise
        # It would be begun anew for ever, and nothing would be left to list the account and to read its zones.
        results = [ScopeResult(TOKEN, "unknown", TOO_FEW_CALLS)]
    except (CredentialUnreadable, Unauthorized) as error:
        # The other token may read or write as well as ever.
        results = [ScopeResult(TOKEN, "failed", error.message)]
    store_scope_check(by=WORKER, account=account, results=results, kind=kind)


def ask_for_token_checks() -> None:
    """Check every token anew, as a worker does when it starts; those checked within the hour stand."""
    recent = timezone.now() - timedelta(hours=1)
    for account in Account.objects.all():
        fields = [kind.field("scope_checked_at") for kind in account.token_kinds]
        old = {field: None for field in fields if (getattr(account, field) or recent) <= recent}
        if not old:
            continue
        with transaction.atomic():
            Account.objects.filter(pk=account.pk).update(**old)
            mark_due(kind="account", subject_id=account.pk, urgent=False)
