"""The stop switch: nothing is written any more, everywhere, in one account or in one zone. Reading goes on.

Workers ask right before each write (`holds.py`), so a stop acts within the call that is on its way. It is a row, so
it survives restarts. Whoever is on duty may stop; only an administrator lets go again.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.errors import Conflict, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.holds import stops_in_force
from apps.inventory.models import Account, Stop, Zone
from apps.inventory.services import make_all_due, require_manager
from apps.outbox.services import mark_due
from apps.pki.free_text import free_text


@transaction.atomic
def stop_writes(*, by: Actor, reason: str, account_id: UUID | None = None, zone_id: UUID | None = None) -> Stop:
    """Stop writes in one zone, in one account, or everywhere when neither is named.

    Raises Invalid without a reason or with both, NotFound, Conflict when exactly this is stopped already.
    """
    if by.via != "cli":
        by.require(Permission.WRITES_STOP)
    reason = free_text(reason, "reason", "Say why, so that whoever finds it stopped knows.")
    if account_id and zone_id:
        raise Invalid("Name an account or a zone, not both.", field="zone")
    account, zone = _account(account_id), _zone(zone_id)
    scope = Stop.Scope.ZONE if zone else Stop.Scope.ACCOUNT if account else Stop.Scope.EVERYTHING
    # Whoever stops the same thing at the same moment waits here, and then finds it stopped.
    list(Account.objects.select_for_update(no_key=True).order_by("pk"))
    if found := stops_in_force().filter(scope=scope, account=account, zone=zone).first():
        raise Conflict(f"{found} already, by {found.stopped_by_label}.", code="stopped")
    stop = Stop.objects.create(scope=scope, account=account, zone=zone, reason=reason, stopped_by_label=by.label)
    record_stop(by, "writes:stopped", stop, reason=stop.reason)
    return stop


@transaction.atomic
def lift_stop(*, by: Actor, stop_id: int, reason: str) -> Stop:
    """Let writes go again. What was approved meanwhile is planned from a fresh read and sent.

    Raises Forbidden for anybody but an administrator, NotFound, Conflict when it is lifted already.
    """
    require_manager(by)
    reason = free_text(reason, "reason", "Say why it is safe to go on.")
    stop = Stop.objects.select_for_update(of=("self",)).filter(pk=stop_id).first()
    if stop is None:
        raise NotFound("No such stop.")
    if stop.lifted_at:
        raise Conflict(f"{stop.lifted_by_label} lifted this stop already.", code="lifted")
    stop.lifted_at, stop.lifted_by_label = timezone.now(), by.label
    stop.save(update_fields=["lifted_at", "lifted_by_label"])
    record_stop(by, "writes:resumed", stop, reason=reason)
    if stop.zone:
        mark_due(kind="zone", subject_id=stop.zone.pk)
        return stop
    for account in [stop.account] if stop.account else Account.objects.all():
        make_all_due(account)
    return stop


def record_stop(by: Actor, action: str, stop: Stop, *, reason: str) -> None:
    """The audit event of a stop that was set or lifted. Part of the caller's transaction."""
    account = stop.account or (stop.zone.account if stop.zone else None)
    record(
        by=by,
        action=action,
        subject=("stop", stop.pk, stop.where),
        account=account.pk if account else "",
        zone=stop.zone.name if stop.zone else "",
        reason=reason,
        after={"scope": stop.scope, "where": stop.where},
    )


def _account(account_id: UUID | None) -> Account | None:
    if account_id is None:
        return None
    account = Account.objects.filter(pk=account_id).first()
    if account is None:
        raise NotFound("No such account.", field="account")
    return account


def _zone(zone_id: UUID | None) -> Zone | None:
    if zone_id is None:
        return None
    zone = Zone.objects.filter(pk=zone_id, vanished_at=None).select_related("account").first()
    if zone is None:
        raise NotFound("No such zone.", field="zone")
    return zone
