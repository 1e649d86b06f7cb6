"""Freeze windows: whether changes may be sent at a moment, and when they may again. Plain Python, time passed in.

A window is told in the wall clock of its time zone, so it keeps its hours when the clocks change. Where an hour comes
twice or not at all, the careful reading holds: a deny window takes the longer stretch, an allow window the shorter.
Deny beats allow. Without any allow window everything that is not denied is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
# Weekly windows are looked at from two days before a moment (a long night) to more than two weeks after it: one of
# less than an hour is left out where the clock skips it.
DAYS_AROUND = range(-2, 16)
# What is shut through two weeks after the last single window stays shut: weekly windows repeat.
PATTERN = timedelta(days=15)
MAX_LEAPS = 1000

Stretch = tuple[datetime, datetime]


@dataclass(frozen=True)
class Weekly:
    """On each of `weekdays` (0 is Monday) from `opens` to `closes`; past midnight when `closes` is not later."""

    timezone: str
    weekdays: frozenset[int]
    opens: time
    closes: time

    def stretches(self, around: datetime, *, longer: bool) -> list[Stretch]:
        """Those near a moment, in UTC."""
        zone = ZoneInfo(self.timezone)
        today = around.astimezone(zone).date()
        found = []
        for number in DAYS_AROUND:
            day = today + number * DAY
            if day.weekday() in self.weekdays:
                end_day = day if self.closes > self.opens else day + DAY
                begin = instant(day, self.opens, zone, early=longer)
                end = instant(end_day, self.closes, zone, early=not longer)
                if begin < end:
                    found.append((begin, end))
        return found


@dataclass(frozen=True)
class Once:
    """From one moment to another."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class Window:
    """`deny` or allow, and when."""

    deny: bool
    when: Weekly | Once
    name: str = field(default="", compare=False)

    def stretches(self, around: datetime) -> list[Stretch]:
        """Those near a moment, in UTC."""
        if isinstance(self.when, Once):
            return [(self.when.starts_at, self.when.ends_at)]
        return self.when.stretches(around, longer=self.deny)

    def holds_at(self, moment: datetime) -> bool:
        """From the first instant up to, not including, the last."""
        return any(begin <= moment < end for begin, end in self.stretches(moment))


@dataclass(frozen=True)
class Frozen:
    """Nothing may be sent. `until` is None when no end is in sight; `names` are those of the windows that deny."""

    until: datetime | None
    names: tuple[str, ...]


def frozen(windows: Sequence[Window], now: datetime) -> Frozen | None:
    """None when changes may be sent at `now`, an aware time."""
    moment = _leap(windows, now)
    if moment == now:
        return None
    names = tuple(window.name for window in windows if window.deny and window.holds_at(now))
    last = max((window.when.ends_at for window in windows if isinstance(window.when, Once)), default=now)
    horizon = max(last, now) + PATTERN
    for _ in range(MAX_LEAPS):
        if moment is None or moment > horizon:
            break
        after = _leap(windows, moment)
        if after == moment:
            return Frozen(moment, names)
        moment = after
    return Frozen(None, names)


def _leap(windows: Iterable[Window], moment: datetime) -> datetime | None:
    """The moment itself when it is open, else a later one before which nothing opens; None when nothing ever does."""
    deny = [stretch for window in windows if window.deny for stretch in window.stretches(moment)]
    if ends := [end for begin, end in deny if begin <= moment < end]:
        return max(ends)
    allowing = [window for window in windows if not window.deny]
    allow = [stretch for window in allowing for stretch in window.stretches(moment)]
    if not allowing or any(begin <= moment < end for begin, end in allow):
        return moment
    return min((begin for begin, _ in allow if begin > moment), default=None)


def instant(day: date, at: time, zone: ZoneInfo, *, early: bool) -> datetime:
    """A wall-clock time as UTC; the earlier or the later one where the clock shows it twice or skips it."""
    both = [datetime.combine(day, at.replace(fold=fold), zone).astimezone(UTC) for fold in (0, 1)]
    return min(both) if early else max(both)
