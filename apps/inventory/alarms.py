"""Stops that the portal sets by itself, because what it sees cannot be explained by what it did.

Each has a cause. A stop of that cause is set once: an administrator who lifts it, with a reason, has decided about it.
"""

from __future__ import annotations

from django.db import transaction

from apps.identity.actors import Actor
from apps.inventory.models import Account, Installation, Stop, Zone
from apps.inventory.stops import record_stop

ALARM = Actor.portal("alarm")


def this_installation() -> Installation:
    return Installation.objects.get_or_create(pk=1)[0]


def installation_name() -> str:
    """Eight hexadecimal digits that tell this portal's marks at the edge from those of another one."""
    return this_installation().name


@transaction.atomic
def raise_alarm(*, cause: str, reason: str, account: Account | None = None, zone: Zone | None = None) -> Stop | None:
    """Stop writes in the zone, in the account, or everywhere. None when this cause has had its stop already."""
    if Stop.objects.filter(cause=cause).exists():
        # Found at each reading: every account locked, behind the zone, would be in the way of whoever asks or approves.
        return None
    # Two workers may see the same thing at once: the second waits here, and then finds the stop.
    list(Account.objects.select_for_update(no_key=True).order_by("pk"))
    if Stop.objects.filter(cause=cause).exists():
        return None
    scope = Stop.Scope.ZONE if zone else Stop.Scope.ACCOUNT if account else Stop.Scope.EVERYTHING
    stop = Stop.objects.create(
        scope=scope, account=account, zone=zone, reason=reason, cause=cause, stopped_by_label=ALARM.label
    )
    record_stop(ALARM, "writes:stopped", stop, reason=reason)
    return stop


def is_decided(cause: str) -> bool:
    """Whether an administrator has lifted the stop of this cause."""
    return Stop.objects.filter(cause=cause).exclude(lifted_at=None).exists()
