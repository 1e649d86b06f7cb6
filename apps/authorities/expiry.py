"""How near a CA is to its end, counted in the thresholds at which people are told (F22)."""

from __future__ import annotations

from datetime import datetime, timedelta

THRESHOLDS_DAYS = (120, 90, 60, 30, 15, 10, 5, 1, 0)


def threshold_at(not_after: datetime, now: datetime) -> int | None:
    """The most urgent threshold reached, in days; None while the end is farther away than all of them."""
    left = not_after - now
    return min((days for days in THRESHOLDS_DAYS if left <= timedelta(days=days)), default=None)


def days_left(not_after: datetime, now: datetime) -> int:
    """Whole days until the end; 0 on the last day and negative afterwards."""
    return (not_after - now).days
