"""Writing accounts, and storing what a read of the edge showed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.cloudflare.certificates import Certificate
from apps.cloudflare.zones import Zone as ZoneRecord
from apps.errors import Invalid
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.credentials import encrypt
from apps.inventory.models import Account, EdgeCertificate, TokenKind, Zone
from apps.inventory.selectors import token_row
from apps.inventory.tokens import is_token
from apps.outbox.services import mark_due
from apps.pki.free_text import free_text, text_fault

ACCOUNT_ID = re.compile(r"[0-9a-f]{32}\Z")
SLOT_LIMIT_MAX = 1000


def require_manager(by: Actor) -> None:
    """Administrators, and the command line of whoever runs the portal. Raises Forbidden."""
    if by.via != "cli":
        by.require(Permission.ACCOUNT_MANAGE)


@transaction.atomic
def add_account(*, by: Actor, name: str, cloudflare_id: str, token: str, mode: str = "read_only") -> Account:
    """Add an account with its token. It is read at once; writes wait for `read_write` mode.

    Raises Invalid for a malformed id, a missing token, or an account that exists already.
    """
    require_manager(by)
    problems: dict[str, list[str]] = {}
    if fault := text_fault(name, "Give the account a name that people here know."):
        problems["name"] = [fault]
    if not ACCOUNT_ID.match(cloudflare_id.strip()):
        problems["cloudflare_id"] = ["An account id has 32 hexadecimal digits. Copy it from the dashboard's address."]
    elif Account.objects.filter(cloudflare_id=cloudflare_id.strip()).exists():
        problems["cloudflare_id"] = ["This account is here already."]
    if fault := text_fault(token, "Paste an API token of this account."):
        problems["token"] = [fault]
    if mode not in Account.Mode.values:
        problems["mode"] = ["Use read_only or read_write."]
    if problems:
        raise Invalid("The account was not added.", details=problems)
    account = Account(name=name.strip(), cloudflare_id=cloudflare_id.strip(), mode=mode)
    account.token_encrypted = encrypt(token.strip(), bound_to=token_row(account))
    account.save()
    after = {"name": account.name, "cloudflare_id": account.cloudflare_id, "mode": mode}
    record(
        by=by, action="account:added", subject=("account", account.pk, account.name), account=account.pk, after=after
    )
    make_all_due(account)
    return account


@transaction.atomic
def replace_token(*, by: Actor, account_id: UUID, token: str) -> Account:
    """Store another token and try everything again with it. The old one is not readable afterwards.

    Raises Invalid for an empty one and for the account's read token.
    """
    require_manager(by)
    token = free_text(token, "token", "Paste an API token of this account.")
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    if is_token(account, TokenKind.READ, token):
        raise Invalid("This is the read token, and writing needs another one.", field="token")
    account.token_encrypted = encrypt(token, bound_to=token_row(account))
    account.token_state = Account.TokenState.UNKNOWN
    account.scope_checked_at = account.ca_writes_refused_at = None
    account.save(update_fields=["token_encrypted", "token_state", "scope_checked_at", "ca_writes_refused_at"])
    account.zones.exclude(writes_refused_at=None).update(writes_refused_at=None)
    subject = ("account", account.pk, account.name)
    record(by=by, action="account:token_replaced", subject=subject, account=account.pk)
    make_all_due(account)
    return account


@transaction.atomic
def set_mode(*, by: Actor, account_id: UUID, mode: str) -> Account:
    """Open or close an account for writes. Closing acts before the next call to Cloudflare."""
    require_manager(by)
    if mode not in Account.Mode.values:
        raise Invalid("Use read_only or read_write.", field="mode")
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    before = {"mode": account.mode}
    account.mode = mode
    account.save(update_fields=["mode"])
    subject = ("account", account.pk, account.name)
    record(by=by, action="account:mode_set", subject=subject, account=account.pk, before=before, after={"mode": mode})
    make_all_due(account)
    return account


@transaction.atomic
def set_budget(*, by: Actor, account_id: UUID, call_limit: int | None, call_share_percent: int) -> Account:
    """How many calls Cloudflare allows this account's tokens in five minutes (None: the installation's default), and
    which part of them the portal may make. Raises Invalid."""
    require_manager(by)
    problems: dict[str, list[str]] = {}
    if call_limit is not None and not 20 <= call_limit <= 1_000_000:
        problems["call_limit"] = [
            "Give the calls per five minutes that Cloudflare allows, 20 or more, or leave it empty."
        ]
    if not 1 <= call_share_percent <= 100:
        problems["call_share_percent"] = ["Give a share from 1 to 100 percent."]
    if problems:
        raise Invalid("The budget was not changed.", details=problems)
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    before = {"call_limit": account.call_limit, "call_share_percent": account.call_share_percent}
    account.call_limit, account.call_share_percent = call_limit, call_share_percent
    account.save(update_fields=["call_limit", "call_share_percent"])
    after = {"call_limit": call_limit, "call_share_percent": call_share_percent}
    subject = ("account", account.pk, account.name)
    record(by=by, action="account:budget_set", subject=subject, account=account.pk, before=before, after=after)
    return account


@transaction.atomic
def set_slot_limit(*, by: Actor, account_id: UUID, slot_limit: int, reason: str) -> Account:
    """Say how many CA slots Cloudflare gives the account: five by default, more through its account team.

    The portal only counts with it. A limit below what is used stops uploads and takes nothing away.
    Raises Invalid with every problem at once.
    """
    require_manager(by)
    problems: dict[str, list[str]] = {}
    if not 0 <= slot_limit <= SLOT_LIMIT_MAX:
        problems["slot_limit"] = [f"Use a number from 0 to {SLOT_LIMIT_MAX}."]
    if fault := text_fault(reason, "Say why. Auditors read this."):
        problems["reason"] = [fault]
    if problems:
        raise Invalid("The slot limit was not changed.", details=problems)
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    before = {"slot_limit": account.slot_limit}
    account.slot_limit = slot_limit
    account.save(update_fields=["slot_limit"])
    record(
        by=by, action="account:slot_limit_set", subject=("account", account.pk, account.name), account=account.pk,
        reason=reason.strip(), before=before, after={"slot_limit": slot_limit},
    )  # fmt: skip
    return account


@transaction.atomic
def set_healing(*, by: Actor, account_id: UUID, enabled: bool, reason: str) -> Account:
    """Whether sweeps put back approved hostnames that somebody took off a list. Off until an administrator decides."""
    require_manager(by)
    reason = free_text(reason, "reason", "Say why. Auditors read this.")
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    before = {"heal_missing": account.heal_missing}
    account.heal_missing = enabled
    account.save(update_fields=["heal_missing"])
    record(
        by=by, action="account:healing_set", subject=("account", account.pk, account.name), account=account.pk,
        reason=reason, before=before, after={"heal_missing": enabled},
    )  # fmt: skip
    make_all_due(account)
    return account


def make_all_due(account: Account) -> None:
    """Everything of an account is looked at again, as soon as a worker is free."""
    mark_due(kind="account", subject_id=account.pk)
    for zone in account.zones.filter(vanished_at=None):
        mark_due(kind="zone", subject_id=zone.pk)


@transaction.atomic
def store_account_read(
    *,
    by: Actor,
    account: Account,
    zones: Iterable[ZoneRecord],
    certificates: Iterable[Certificate],
    kind: TokenKind = TokenKind.WRITE,
) -> list[Zone]:
    """Keep one complete listing of an account. Returns the zones that are new or came back. `kind` read it.

    A zone or certificate missing from a complete listing is marked, never deleted with its history.
    """
    now = timezone.now()
    # Where another token reads, the one that writes may be for fewer zones: what it does not list is not gone.
    fresh = _store_zones(by, account, list(zones), now, all_seen=kind is account.token_kinds[-1])
    _store_certificates(account, list(certificates))
    account.read_at, account.failing_since, account.last_error = now, None, ""
    account.save(update_fields=["read_at", "failing_since", "last_error"])
    store_token_state(account=account, kind=kind, works=True)
    return fresh


def _store_zones(by: Actor, account: Account, listed: list[ZoneRecord], now: datetime, *, all_seen: bool) -> list[Zone]:
    known = {zone.cloudflare_id: zone for zone in account.zones.all()}
    fresh: list[Zone] = []
    for row in listed:
        zone = known.get(row.id) or Zone(account=account, cloudflare_id=row.id)
        if zone._state.adding or zone.vanished_at:
            fresh.append(zone)
        before = (zone.name, zone.status, zone.paused, zone.cloudflare_plan, zone.vanished_at)
        after = (row.name, row.status, row.paused, row.plan[:120], None)
        zone.name, zone.status, zone.paused, zone.cloudflare_plan, zone.vanished_at = after
        if zone._state.adding or before != after:
            zone.save()
    # A token without Zone Read is answered with an empty list: that proves of no zone that it is gone.
    gone = [zone for key, zone in known.items() if key not in {row.id for row in listed} and not zone.vanished_at]
    for zone in gone if listed and all_seen else ():
        zone.vanished_at = now
        zone.save(update_fields=["vanished_at"])
        subject = ("zone", zone.pk, zone.name)
        record(by=by, action="zone:vanished", subject=subject, account=account.pk, zone=zone.name)
    return fresh


def _store_certificates(account: Account, listed: list[Certificate]) -> None:
    kept: list[str] = []
    for row in listed:
        kept.append(row.id)
        values = {
            "name": (row.name or "")[:255],
            "kind": row.type,
            "is_ca": row.ca,
            "fingerprint": row.fingerprints[0] if row.fingerprints else "",
            "pem": row.pem,
            "expires_at": row.expires_on,
            "uploaded_at": row.uploaded_on,
        }
        EdgeCertificate.objects.update_or_create(account=account, cloudflare_id=row.id, defaults=values)
    account.edge_certificates.exclude(cloudflare_id__in=kept).delete()


@transaction.atomic
def store_account_failure(*, account: Account, error: str, refused: TokenKind | None) -> None:
    """Keep that a run failed, and which token was `refused`. What was read before stays, with its age.

    Reading does not fail for a token that writes where another one reads.
    """
    if refused is not TokenKind.WRITE or not account.read_token_encrypted:
        account.failing_since = account.failing_since or timezone.now()
        account.last_error = error
        account.save(update_fields=["failing_since", "last_error"])
    if refused:
        store_token_state(account=account, kind=refused, works=False)


def store_token_state(*, account: Account, kind: TokenKind, works: bool) -> None:
    """Keep whether Cloudflare takes a token.

    `account` as the call was made with: of a token that was replaced meanwhile it says nothing.
    """
    # That it reads says nothing of a token that was refused when it had to write.
    refused = not works or (kind is TokenKind.WRITE and _may_not_write(account))
    state = Account.TokenState.BROKEN if refused else Account.TokenState.WORKING
    encrypted, field = kind.field("token_encrypted"), kind.field("token_state")
    if Account.objects.filter(pk=account.pk, **{encrypted: getattr(account, encrypted)}).update(**{field: state}):
        setattr(account, field, state)


def _may_not_write(account: Account) -> bool:
    listed = account.zones.filter(vanished_at=None)
    return account.ca_writes_refused_at is not None or listed.exclude(writes_refused_at=None).exists()


@transaction.atomic
def store_ca_write_refusal(*, account: Account, at: datetime | None) -> None:
    """Keep when Cloudflare refused the token as it had to upload or delete a CA; None once it may.

    `account` as the call was made with: of a token that was replaced meanwhile it says nothing.
    """
    same_token = Account.objects.filter(pk=account.pk, token_encrypted=account.token_encrypted)
    if same_token.update(ca_writes_refused_at=at):
        account.ca_writes_refused_at = at


@transaction.atomic
def store_zone_write_refusal(*, zone: Zone, at: datetime | None) -> None:
    """Keep when Cloudflare refused the token as it had to write in the zone; None once it may, or need not.

    `zone.account` as the call was made with: of a token that was replaced meanwhile it says nothing.
    """
    same_token = Zone.objects.filter(pk=zone.pk, account__token_encrypted=zone.account.token_encrypted)
    if same_token.update(writes_refused_at=at):
        zone.writes_refused_at = at


@transaction.atomic
def store_zone_failure(*, zone: Zone, error: str) -> None:
    """Keep that a read or write of the zone failed. A failed read is never an empty list."""
    Zone.objects.filter(pk=zone.pk).update(last_error=error)
    Zone.objects.filter(pk=zone.pk, failing_since=None).update(failing_since=timezone.now())
