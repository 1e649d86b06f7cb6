"""How much may go from a zone's lists before a guard refuses: limits per zone, the guards' own by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.audit.services import record
from apps.errors import Invalid, NotFound
from apps.identity.actors import Actor
from apps.inventory.models import Zone
from apps.inventory.services import require_manager
from apps.pki.free_text import text_fault
from apps.planning.guards import LONG_LIST, Limits

# name -> (least, most, what it says)
RANGES = {
    "percent": (1, 100, "Part of a list that one change, or one window, may take, in percent"),
    "few": (0, 10_000, "Hostnames of a list that may go whatever part of it they are"),
    "most_percent": (
        1,
        100,
        f"Part of a list of {LONG_LIST} or more that may go without an override, in percent",
    ),
    "total": (1, 100_000, "Hostnames of all lists that may go within the window"),
    "pairs": (1, 10_000, "Lists that may lose hostnames within the window"),
    "window_hours": (1, 720, "Length of the window, in hours"),
}


def default_limits() -> dict[str, int]:
    """The guards' own."""
    return _as_numbers(Limits())


def limits_of(zone: Zone) -> Limits:
    """What the guards count with in this zone."""
    numbers = numbers_of(zone)
    return Limits(
        percent=numbers["percent"],
        few=numbers["few"],
        most_percent=numbers["most_percent"],
        total=numbers["total"],
        pairs=numbers["pairs"],
        window=timedelta(hours=numbers["window_hours"]),
    )


def numbers_of(zone: Zone) -> dict[str, int]:
    """The zone's limits by name, the window in hours."""
    return default_limits() | {name: value for name, value in zone.removal_limits.items() if name in RANGES}


@transaction.atomic
def set_limits(*, by: Actor, zone_id: UUID, limits: Mapping[str, int | None], reason: str) -> Zone:
    """Set a zone's limits; a name that is left out, or None, goes back to the default. Raises Invalid with every
    problem, NotFound."""
    require_manager(by)
    problems: dict[str, list[str]] = {}
    if fault := text_fault(reason, "Say why. Auditors read this."):
        problems["reason"] = [fault]
    for name, value in limits.items():
        if name not in RANGES:
            problems[name] = [f"There is no such limit. Use {', '.join(RANGES)}."]
        elif value is not None and not RANGES[name][0] <= value <= RANGES[name][1]:
            problems[name] = [f"Use a number from {RANGES[name][0]:,} to {RANGES[name][1]:,}."]
    if problems:
        raise Invalid("The limits were not changed.", details=problems)
    zone = Zone.objects.select_for_update(no_key=True).filter(pk=zone_id).first()
    if zone is None:
        raise NotFound("No such zone.")
    before, defaults = numbers_of(zone), default_limits()
    zone.removal_limits = {
        name: value for name, value in limits.items() if value is not None and value != defaults[name]
    }
    zone.save(update_fields=["removal_limits"])
    record(
        by=by, action="zone:limits_set", subject=("zone", zone.pk, zone.name), account=zone.account_id, zone=zone.name,
        reason=reason.strip(), before=before, after=numbers_of(zone),
    )  # fmt: skip
    return zone


def _as_numbers(limits: Limits) -> dict[str, int]:
    numbers: dict[str, Any] = asdict(limits)
    window: timedelta = numbers.pop("window")
    return {**numbers, "window_hours": int(window / timedelta(hours=1))}
