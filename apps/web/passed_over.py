"""What pages say of hostnames that a zone's lists hold though a longer zone serves them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apps.coverage.models import CoverageRequest
from apps.coverage.states import FAILED
from apps.inventory.models import Zone
from apps.reconcile.models import Plan
from apps.reconcile.passed_over import in_the_way, passed_over_in
from apps.reconcile.selectors import changes_of

SHOWN = 20


def card_of_request(asked: CoverageRequest) -> dict[str, Any]:
    """The card's values where that may be why the request failed."""
    return card_of_changes(changes_of(asked)) if asked.state in FAILED else {}


def card_of_changes(changes: Iterable[Plan]) -> dict[str, Any]:
    zone = in_the_way(changes)
    return card_of_zone(zone) if zone else {}


def card_of_zone(zone: Zone) -> dict[str, Any]:
    rows = passed_over_in(zone)
    return {
        "passed_over": rows[:SHOWN],
        "passed_over_more": max(len(rows) - SHOWN, 0),
        "passed_over_zone": zone,
        "passed_over_askable": any(row.askable for row in rows),
    }
