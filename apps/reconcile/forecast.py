"""Which guards a request's plan would trip, said before anybody approves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.inventory.limits import limits_of
from apps.inventory.models import Zone
from apps.planning.guards import Removal
from apps.planning.plan import Plan, ReplaceList
from apps.planning.state import DesiredZone, ObservedZone
from apps.reconcile.labels import named
from apps.reconcile.last_look import refusals_of, released_pairs
from apps.reconcile.removals import recent_removals

# What would be refused whoever approves it.
REFUSED = ("rule_limit", "dry_run", "unmanaged", "stale_base", "order", "locks_out", "opens")


def dry_run_guard(zone: Zone, words: str) -> dict[str, Any]:
    """The row for a rule that Cloudflare refused in a dry run."""
    needs = "Another request, or a change at Cloudflare. Then rebuild the plan."
    return {"zone": zone.name, "guard": "dry_run", "message": words, "needs": needs, "overridable": False}


def zone_guards(
    zone: Zone,
    plan: Plan,
    desired: DesiredZone,
    observed: ObservedZone,
    earlier: list[Removal],
    labels: Mapping[str, str],
) -> list[dict[str, Any]]:
    """What the plan of one zone would trip as things are: zone, guard, message, needs, overridable.

    Asked as right before it is sent, but that nobody has confirmed or overridden anything yet. `earlier` are the
    removals that the same request makes in the zones before this one; this zone's are added to it, so that a request
    over many zones is counted as a whole.
    """
    recent = recent_removals(zone, window=limits_of(zone).window)
    recent = replace(recent, removals=(*recent.removals, *earlier))
    refusals = refusals_of(zone, plan, desired, observed, recent, unconfirmed=released_pairs(desired))
    removing = [step for step in plan.steps if isinstance(step, ReplaceList) and step.removes]
    earlier += [Removal(recent.now, zone.name, step.ca, name) for step in removing for name in step.removes]
    return [
        {
            "zone": zone.name,
            "guard": row.guard,
            "message": named(row.message, labels),
            "needs": row.needs,
            "overridable": row.overridable,
        }
        for row in refusals
    ]
