"""What holds writes back right now: a stop, read-only mode, or a freeze window. Asked right before every write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.inventory.models import Account, FreezeWindow, Stop, Zone
from apps.inventory.windows import Frozen, Once, Weekly, Window, frozen


@dataclass(frozen=True)
class Hold:
    """`kind` is stop, read_only or frozen; `until` is when it ends by itself, None when a person has to end it."""

    kind: str
    sentence: str
    until: datetime | None = None


class Holds:
    """Everything that may hold back writes in one account, read once."""

    def __init__(self, account: Account) -> None:
        self.account = account
        of_this = Q(scope=Stop.Scope.EVERYTHING) | Q(account=account) | Q(zone__account=account)
        self._stops = list(stops_in_force().filter(of_this))
        self._windows = list(freeze_windows(account))

    def on_zone(self, zone_id: UUID) -> Hold | None:
        """What holds back writes to a zone: a stop before the rest. None when they may go."""
        stops = [stop for stop in self._stops if stop.zone_id in {None, zone_id}]
        return self._hold(stops, [row for row in self._windows if row.zone_id in {None, zone_id}])

    def on_account(self) -> Hold | None:
        """What holds back uploads and deletions of CAs. Stops and windows of single zones do not."""
        stops = [stop for stop in self._stops if stop.zone_id is None]
        return self._hold(stops, [row for row in self._windows if row.zone_id is None])

    def _hold(self, stops: list[Stop], windows: list[FreezeWindow]) -> Hold | None:
        if stops:
            stop = stops[0]
            words = f"{stop}, by {stop.stopped_by_label}: {stop.why} Approved changes wait. Reading goes on."
            return Hold("stop", words)
        if self.account.mode != Account.Mode.READ_WRITE:
            words = f"{self.account} is read-only. Approved changes wait until an admin allows writes."
            return Hold("read_only", words)
        if shut := frozen([as_window(row) for row in windows], timezone.now()):
            return Hold("frozen", _frozen_words(shut, windows), shut.until)
        return None


def hold_on_zone(zone_id: UUID) -> Hold | None:
    """What holds back writes to a zone at this moment, read afresh. None when they may go."""
    return Holds(Zone.objects.select_related("account").get(pk=zone_id).account).on_zone(zone_id)


def hold_on_account(account_id: UUID) -> Hold | None:
    """What holds back uploads and deletions of CAs at this moment, read afresh. None when they may go."""
    return Holds(Account.objects.get(pk=account_id)).on_account()


def stops_in_force() -> QuerySet[Stop]:
    """Everything that is stopped now, the oldest first."""
    return Stop.objects.filter(lifted_at=None).select_related("account", "zone").order_by("stopped_at", "pk")


def stops_lifted() -> QuerySet[Stop]:
    """What was stopped once, the newest first."""
    return Stop.objects.exclude(lifted_at=None).select_related("account", "zone")


def freeze_windows(account: Account) -> QuerySet[FreezeWindow]:
    """Those that still count, oldest first."""
    return FreezeWindow.objects.filter(account=account, removed_at=None).select_related("zone")


def as_window(row: FreezeWindow) -> Window:
    """The row as `windows.py` judges it."""
    deny = row.effect == FreezeWindow.Effect.DENY
    if row.starts_at and row.ends_at:
        return Window(deny, Once(row.starts_at, row.ends_at), row.name)
    if row.opens is not None and row.closes is not None:
        return Window(deny, Weekly(row.timezone, frozenset(row.weekdays), row.opens, row.closes), row.name)
    raise ValueError(f"freeze window {row.pk} has no times")


def _frozen_words(shut: Frozen, rows: list[FreezeWindow]) -> str:
    why = f"frozen ({', '.join(shut.names)})" if shut.names else "frozen: no window that allows them is open"
    if shut.until is None:
        return f"Changes are {why}. No end is in sight: ask an admin to look at the windows."
    return f"Changes are {why} until {_when(shut.until, rows)}. What is approved goes by itself then."


def _when(moment: datetime, rows: list[FreezeWindow]) -> str:
    """In UTC, and in the windows' own time zone where it is only one."""
    zones = {row.timezone for row in rows} - {"UTC"}
    words = f"{moment:%d %b %Y %H:%M} UTC"
    if len(zones) == 1:
        name = zones.pop()
        words += f" ({moment.astimezone(ZoneInfo(name)):%H:%M} {name})"
    return words
