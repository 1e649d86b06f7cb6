"""Which guards a request's plan would trip, said before anybody approves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.inventory.limits import limits_of
from apps.inventory.models import Zone
from apps.planning.guards import Removal, confirmations, too_big
from apps.planning.plan import Plan, ReplaceList
from apps.planning.rule_limit import over_limit, rules_allowed
from apps.planning.state import ObservedZone
from apps.reconcile.labels import named
from apps.reconcile.removals import recent_removals

# What the edge would refuse whoever approves it.
REFUSED = ("rule_limit", "dry_run")


def dry_run_guard(zone: Zone, words: str) -> dict[str, Any]:
    """The row for a rule that Cloudflare refused in a dry run."""
    needs = "Another request, or a change at Cloudflare. Then rebuild the plan."
    return {"zone": zone.name, "guard": "dry_run", "message": words, "needs": needs, "overridable": False}


def zone_guards(
    zone: Zone, plan: Plan, observed: ObservedZone, earlier: list[Removal], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What the plan of one zone would trip: zone, guard, message, needs, overridable.

    `earlier` are the removals that the same request makes in the zones before this one; this zone's are added to it,
    so that a request over many zones is counted as a whole.
    """
    limits = limits_of(zone)
    recent = recent_removals(zone, window=limits.window)
    recent = replace(recent, removals=(*recent.removals, *earlier))
    refusals = confirmations(plan, limits, recent) if _removes(plan) else ()
    refusals += too_big(plan, limits, recent) + over_limit(plan, observed, rules_allowed(zone.cloudflare_plan))
    earlier += [Removal(recent.now, zone.name, step.ca, name) for step in _removes(plan) for name in step.removes]
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


def _removes(plan: Plan) -> list[ReplaceList]:
    return [step for step in plan.steps if isinstance(step, ReplaceList) and step.removes]
