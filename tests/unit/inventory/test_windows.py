"""Freeze windows in the wall clock, over the days on which the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.inventory.windows import Frozen, Once, Weekly, Window, frozen

BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"
EVERY_DAY = frozenset(range(7))

ZONES = st.sampled_from(["UTC", BERLIN, "America/New_York", LORD_HOWE, "Asia/Kolkata", "Pacific/Apia"])
CLOCKS = st.times(min_value=time(0), max_value=time(23, 59)).map(lambda at: at.replace(second=0, microsecond=0))
# Around the changes of 2026 in both hemispheres, and anywhere.
MOMENTS = st.one_of(
    st.integers(0, 10 * 24 * 60).map(lambda minutes: datetime(2026, 3, 27, tzinfo=UTC) + timedelta(minutes=minutes)),
    st.integers(0, 32 * 24 * 60).map(lambda minutes: datetime(2026, 10, 2, tzinfo=UTC) + timedelta(minutes=minutes)),
    st.integers(0, 2000 * 24 * 60).map(lambda minutes: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)),
)
WEEKLY = st.builds(Weekly, ZONES, st.frozensets(st.integers(0, 6), min_size=1), CLOCKS, CLOCKS)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def deny(opens: str, closes: str, days: frozenset[int] = EVERY_DAY, zone: str = BERLIN, name: str = "") -> Window:
    return Window(True, Weekly(zone, days, time.fromisoformat(opens), time.fromisoformat(closes)), name)


def allow(opens: str, closes: str, days: frozenset[int] = EVERY_DAY, zone: str = BERLIN) -> Window:
    return Window(False, Weekly(zone, days, time.fromisoformat(opens), time.fromisoformat(closes)))


def on_the_wall(weekly: Weekly, moment: datetime) -> bool:
    """Whether a clock on the wall, and nothing else, says that the window holds. A slow and different way to know."""
    wall = moment.astimezone(ZoneInfo(weekly.timezone))
    at, day = wall.time().replace(fold=0), wall.weekday()
    if weekly.opens < weekly.closes:
        return day in weekly.weekdays and weekly.opens <= at < weekly.closes
    started_yesterday = (day - 1) % 7 in weekly.weekdays and at < weekly.closes
    return (day in weekly.weekdays and at >= weekly.opens) or started_yesterday


@given(WEEKLY, MOMENTS)
def test_whenever_the_wall_clock_is_inside_changes_are_denied(weekly: Weekly, moment: datetime) -> None:
    if on_the_wall(weekly, moment):
        assert frozen([Window(True, weekly)], moment)


@given(WEEKLY, MOMENTS)
def test_whenever_the_wall_clock_is_outside_nothing_is_allowed(weekly: Weekly, moment: datetime) -> None:
    if not on_the_wall(weekly, moment):
        assert frozen([Window(False, weekly)], moment)


@given(WEEKLY, MOMENTS)
def test_away_from_clock_changes_deny_and_allow_are_opposites(weekly: Weekly, moment: datetime) -> None:
    zone = ZoneInfo(weekly.timezone)
    offsets = {(moment + timedelta(hours=h)).astimezone(zone).utcoffset() for h in range(-60, 61, 6)}
    if len(offsets) == 1:
        inside = on_the_wall(weekly, moment)
        assert bool(frozen([Window(True, weekly)], moment)) is inside
        assert bool(frozen([Window(False, weekly)], moment)) is not inside


@settings(deadline=None)
@given(st.lists(st.builds(Window, st.booleans(), WEEKLY), min_size=1, max_size=3), MOMENTS)
def test_until_is_the_first_moment_at_which_changes_may_go(windows: list[Window], moment: datetime) -> None:
    found = frozen(windows, moment)
    if found is None:
        return
    if found.until is None:
        assert all(frozen(windows, moment + timedelta(hours=hours)) for hours in range(0, 24 * 8, 21))
        return
    assert frozen(windows, found.until) is None
    span = found.until - moment
    assert span > timedelta(0)
    assert all(frozen(windows, moment + span * part / 7) for part in range(7))
    assert frozen(windows, found.until - timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("moment", "is_frozen"),
    [
        # 29 March 2026: 02:00 becomes 03:00 in Berlin. 02:30 does not exist.
        ("2026-03-29T00:29:59", False),
        ("2026-03-29T00:30:00", True),  # the earlier reading of 02:30
        ("2026-03-29T01:00:00", True),  # 03:00
        ("2026-03-29T01:59:59", True),
        ("2026-03-29T02:00:00", False),  # 04:00
        # 25 October 2026: 03:00 becomes 02:00. 02:30 comes twice.
        ("2026-10-25T00:30:00", True),  # 02:30, the first time
        ("2026-10-25T01:15:00", True),  # 02:15, the second time
        ("2026-10-25T02:59:59", True),  # 03:59
        ("2026-10-25T03:00:00", False),  # 04:00
        # An ordinary summer night: 02:30 is 00:30 UTC.
        ("2026-07-01T00:29:59", False),
        ("2026-07-01T00:30:00", True),
    ],
)
def test_a_deny_window_over_the_change_of_the_clocks(moment: str, is_frozen: bool) -> None:
    assert bool(frozen([deny("02:30", "04:00")], utc(moment))) is is_frozen


def test_an_allow_window_is_read_the_short_way_over_the_change_of_the_clocks() -> None:
    windows = [allow("02:30", "04:00")]
    assert frozen(windows, utc("2026-10-25T00:45:00")), "02:45 comes again; only the second one is meant"
    assert frozen(windows, utc("2026-10-25T01:45:00")) is None
    assert frozen(windows, utc("2026-03-29T01:15:00")), "03:15, after an opening that never struck"
    assert frozen(windows, utc("2026-03-29T01:45:00")) is None


def test_deny_beats_allow() -> None:
    windows = [allow("08:00", "18:00", zone="UTC"), deny("12:00", "13:00", zone="UTC", name="Lunch")]
    assert frozen(windows, utc("2026-07-01T11:00")) is None
    assert frozen(windows, utc("2026-07-01T12:30")) == Frozen(utc("2026-07-01T13:00"), ("Lunch",))
    assert frozen(windows, utc("2026-07-01T19:00")) == Frozen(utc("2026-07-02T08:00"), ())


def test_a_window_past_midnight_belongs_to_the_day_it_opens_on() -> None:
    friday_night = [deny("22:00", "06:00", frozenset({4}), "UTC")]
    assert frozen(friday_night, utc("2026-07-03T23:00")), "Friday"
    assert frozen(friday_night, utc("2026-07-04T05:59")), "Saturday morning"
    assert frozen(friday_night, utc("2026-07-04T06:00")) is None
    assert frozen(friday_night, utc("2026-07-03T05:00")) is None, "Friday morning belongs to Thursday"


def test_one_window_ends_where_another_holds() -> None:
    once = Window(True, Once(utc("2026-11-20T00:00"), utc("2026-12-27T05:00")), "Black Friday")
    windows = [once, deny("04:00", "06:00", zone="UTC", name="Batch")]
    assert frozen(windows, utc("2026-11-27T12:00")) == Frozen(utc("2026-12-27T06:00"), ("Black Friday",))


def test_a_week_that_is_denied_whole_has_no_end_in_sight() -> None:
    always = [deny("00:00", "00:00", zone="UTC", name="Closed")]
    assert frozen(always, utc("2026-07-01T12:00")) == Frozen(None, ("Closed",))
    over = [Window(False, Once(utc("2020-01-01"), utc("2020-01-02")))]
    assert frozen(over, utc("2026-07-01T12:00")) == Frozen(None, ()), "the only window that allowed anything is over"


def test_nothing_is_frozen_without_windows() -> None:
    assert frozen([], utc("2026-07-01T12:00")) is None


def test_a_weekly_window_that_the_change_of_clocks_swallows_is_awaited_a_week_longer() -> None:
    sunday = [allow("02:15", "02:45", days=frozenset({6}))]
    after = Frozen(utc("2026-04-05T00:15"), ())
    assert frozen(sunday, utc("2026-03-23T12:00")) == after, "on 29 March there is no such half hour"
