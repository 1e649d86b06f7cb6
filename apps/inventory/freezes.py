"""Adding and removing freeze windows: when approved changes of an account or a zone may be sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from django.db import transaction
from django.utils import timezone as clock

from apps.audit.services import record
from apps.errors import Conflict, Invalid, NotFound
from apps.identity.actors import Actor
from apps.inventory.models import Account, FreezeWindow, Zone
from apps.inventory.services import make_all_due, require_manager
from apps.inventory.windows import instant
from apps.outbox.services import mark_due
from apps.pki.free_text import text_fault

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@transaction.atomic
def add_freeze_window(
    *,
    by: Actor,
    account_id: UUID,
    name: str,
    effect: str,
    repeats: str,
    timezone: str,
    zone_id: UUID | None = None,
    weekdays: Sequence[int] = (),
    opens: time | None = None,
    closes: time | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> FreezeWindow:
    """Add a window. Weekly ones need `weekdays`, `opens` and `closes`; others `starts_at` and `ends_at`.

    What waits goes at once through one that allows it, or when that opens. Times without an offset are wall-clock
    times of `timezone`. Raises Invalid with every problem by field, NotFound.
    """
    require_manager(by)
    account = Account.objects.filter(pk=account_id).first()
    if account is None:
        raise NotFound("No such account.", field="account")
    zone = _zone(account, zone_id)
    problems = _common_problems(name, effect, repeats, timezone)
    fields: dict[str, Any] = {}
    if repeats == FreezeWindow.Repeats.WEEKLY:
        problems |= _weekly_problems(weekdays, opens, closes)
        fields = {"weekdays": sorted(set(weekdays)), "opens": opens, "closes": closes}
    elif repeats == FreezeWindow.Repeats.ONCE and "timezone" not in problems:
        deny = effect == FreezeWindow.Effect.DENY
        starts_at, ends_at = _aware(starts_at, timezone, early=deny), _aware(ends_at, timezone, early=not deny)
        problems |= _once_problems(starts_at, ends_at)
        fields = {"starts_at": starts_at, "ends_at": ends_at}
    if problems:
        raise Invalid("The window was not added.", details=problems)
    window = FreezeWindow.objects.create(
        account=account, zone=zone, name=name.strip(), effect=effect, repeats=repeats, timezone=timezone,
        created_by_label=by.label, **fields,
    )  # fmt: skip
    _record(by, "freeze_window:added", window, after={"window": describe(window), "effect": effect})
    if effect == FreezeWindow.Effect.ALLOW:
        # One that opens later counts too: what waits is next looked at when the windows known before it end.
        _wake(window)
    return window


@transaction.atomic
def remove_freeze_window(*, by: Actor, window_id: int) -> FreezeWindow:
    """End a window for good. What waited for it goes. Raises NotFound, Conflict when it is removed already."""
    require_manager(by)
    window = FreezeWindow.objects.select_for_update(of=("self",)).filter(pk=window_id).first()
    if window is None:
        raise NotFound("No such freeze window.")
    if window.removed_at:
        raise Conflict(f"{window} is removed already.", code="removed")
    window.removed_at = clock.now()
    window.save(update_fields=["removed_at"])
    _record(by, "freeze_window:removed", window, before={"window": describe(window), "effect": window.effect})
    _wake(window)
    return window


def describe(window: FreezeWindow) -> str:
    """When it holds, in words: `Monday, Tuesday 22:00 to 06:00 Europe/Berlin`."""
    if window.starts_at and window.ends_at:
        zone = ZoneInfo(window.timezone)
        begin, end = window.starts_at.astimezone(zone), window.ends_at.astimezone(zone)
        return f"{begin:%d %b %Y %H:%M} to {end:%d %b %Y %H:%M} {window.timezone}"
    days = "every day" if len(window.weekdays) == 7 else ", ".join(WEEKDAYS[day] for day in window.weekdays)
    return f"{days} {window.opens:%H:%M} to {window.closes:%H:%M} {window.timezone}"


def _wake(window: FreezeWindow) -> None:
    """Look at once at what the window decides on: its zone, or all of its account."""
    if window.zone:
        mark_due(kind="zone", subject_id=window.zone.pk)
    else:
        make_all_due(window.account)


def _zone(account: Account, zone_id: UUID | None) -> Zone | None:
    if zone_id is None:
        return None
    zone = Zone.objects.filter(pk=zone_id, account=account, vanished_at=None).first()
    if zone is None:
        raise NotFound("No such zone in this account.", field="zone")
    return zone


def _common_problems(name: str, effect: str, repeats: str, timezone: str) -> dict[str, list[str]]:
    problems: dict[str, list[str]] = {}
    if fault := text_fault(name, "Give the window a name that says why, for example Black Friday."):
        problems["name"] = [fault]
    if effect not in FreezeWindow.Effect.values:
        problems["effect"] = ["Use deny or allow."]
    if repeats not in FreezeWindow.Repeats.values:
        problems["repeats"] = ["Use weekly or once."]
    if timezone not in available_timezones():
        problems["timezone"] = ["Name a time zone as the IANA does, for example Europe/Berlin or UTC."]
    return problems


def _weekly_problems(weekdays: Sequence[int], opens: time | None, closes: time | None) -> dict[str, list[str]]:
    problems: dict[str, list[str]] = {}
    if not weekdays or not set(weekdays) <= set(range(7)):
        problems["weekdays"] = ["Pick at least one day of the week."]
    if opens is None:
        problems["opens"] = ["Say when it begins, for example 22:00."]
    if closes is None:
        problems["closes"] = ["Say when it ends, for example 06:00."]
    return problems


def _once_problems(starts_at: datetime | None, ends_at: datetime | None) -> dict[str, list[str]]:
    problems: dict[str, list[str]] = {}
    if starts_at is None:
        problems["starts_at"] = ["Say when it begins."]
    if ends_at is None:
        problems["ends_at"] = ["Say when it ends."]
    elif starts_at and ends_at <= starts_at:
        problems["ends_at"] = ["It has to end after it begins."]
    elif ends_at <= clock.now():
        problems["ends_at"] = ["That is over already."]
    return problems


def _aware(moment: datetime | None, timezone: str, *, early: bool) -> datetime | None:
    """In UTC. A wall-clock time that the clock shows twice or skips is the careful one of the two (docs/budget.md)."""
    if moment is None or moment.tzinfo:
        return moment and moment.astimezone(UTC)
    return instant(moment.date(), moment.time(), ZoneInfo(timezone), early=early)


def _record(by: Actor, action: str, window: FreezeWindow, **more: Any) -> None:
    record(
        by=by,
        action=action,
        subject=("freeze window", window.pk, window.name),
        account=window.account_id,
        zone=window.zone.name if window.zone else "",
        **more,
    )
