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


def hold_on_zone(zone_id: UUID) -> Hold | None:
    """What holds back writes to a zone, a stop before the rest; None when they may go."""
    zone = Zone.objects.select_related("account").get(pk=zone_id)
    stops = stops_in_force().filter(Q(scope="everything") | Q(account=zone.account_id) | Q(zone=zone.pk))
    windows = freeze_windows(zone.account).filter(Q(zone=None) | Q(zone=zone.pk))
    return _hold(zone.account, stops, windows)


def hold_on_account(account_id: UUID) -> Hold | None:
    """What holds back writes to an account itself: uploads and deletions of CAs. Windows of single zones do not."""
    account = Account.objects.get(pk=account_id)
    stops = stops_in_force().filter(Q(scope="everything") | Q(account=account.pk))
    return _hold(account, stops, freeze_windows(account).filter(zone=None))


def stops_in_force() -> QuerySet[Stop]:
    """Everything that is stopped now, the oldest first."""
    return Stop.objects.filter(lifted_at=None).select_related("account", "zone").order_by("stopped_at", "pk")


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


def _hold(account: Account, stops: QuerySet[Stop], windows: QuerySet[FreezeWindow]) -> Hold | None:
    if stop := stops.first():
        words = f"{stop}, by {stop.stopped_by_label}: {stop.reason} Approved changes wait. Reading goes on."
        return Hold("stop", words)
    if account.mode != Account.Mode.READ_WRITE:
        return Hold("read_only", f"{account} is read-only. Approved changes wait until an admin allows writes.")
    rows = list(windows)
    if shut := frozen([as_window(row) for row in rows], timezone.now()):
        return Hold("frozen", _frozen_words(shut, rows), shut.until)
    return None


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
