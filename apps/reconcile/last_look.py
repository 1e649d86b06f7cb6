"""The guards' word on a plan: the same call before people approve it and right before it is sent."""

from __future__ import annotations

from collections.abc import Iterable

from apps.inventory.limits import limits_of
from apps.inventory.models import Zone
from apps.planning.guards import NO_PAIRS, Acknowledged, Override, Recent, Refusal, check
from apps.planning.plan import Plan
from apps.planning.rule_limit import over_limit, rules_allowed
from apps.planning.state import DesiredZone, ObservedZone


def refusals_of(
    zone: Zone,
    plan: Plan,
    desired: DesiredZone,
    observed: ObservedZone,
    recent: Recent,
    *,
    unconfirmed: Acknowledged = NO_PAIRS,
    untyped: Acknowledged = NO_PAIRS,
    overrides: Iterable[Override] = (),
    decided_by: frozenset[str] = frozenset(),
) -> tuple[Refusal, ...]:
    """Every reason against the plan, which takes `observed` to `desired`; none when it may be sent.

    What `desired` releases is what approvals name; those of `unconfirmed` pairs are not
    confirmed, and those of `untyped` pairs not by a typed number.
    """
    released = released_pairs(desired)
    found = check(
        plan, limits_of(zone), released, recent, overrides, unconfirmed=unconfirmed, untyped=untyped,
        observed=observed, decided_by=decided_by,
    )  # fmt: skip
    return found + over_limit(plan, observed, rules_allowed(zone.cloudflare_plan))


def released_pairs(desired: DesiredZone) -> Acknowledged:
    """The (CA, hostname) pairs that approvals let go."""
    return frozenset((ca, name) for ca, names in desired.releases.items() for name in names)
