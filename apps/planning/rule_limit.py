"""How many custom rules a zone may hold, and whether a plan would need more.

Cloudflare counts every custom rule of the zone, whoever wrote it, and refuses the whole call that goes over (50001).
https://developers.cloudflare.com/waf/custom-rules/ has the table.
"""

from __future__ import annotations

from apps.planning.guards import Refusal
from apps.planning.plan import Plan
from apps.planning.rule import compile_rules, is_ours
from apps.planning.simulate import apply_step
from apps.planning.state import DesiredZone, ObservedZone

RULES_ALLOWED = {"free": 5, "pro": 20, "business": 100, "enterprise": 1000}


def rules_allowed(cloudflare_plan: str) -> int | None:
    """The limit by Cloudflare's name of the zone's plan ("Enterprise Website"); None when the name is not known."""
    words = cloudflare_plan.lower().split()
    return next((limit for name, limit in RULES_ALLOWED.items() if name in words), None)


def rules_needed(desired: DesiredZone, observed: ObservedZone) -> int:
    """How many rules the zone holds once everything approved is there: ours, and all that are not ours."""
    return len(compile_rules(desired)) + sum(not is_ours(rule) for rule in observed.rules)


def rules_at_peak(plan: Plan, observed: ObservedZone) -> int:
    """The most rules that the zone holds at any step. More than at the end when hostnames move over a bridge rule."""
    most = len(observed.rules)
    for step in plan.steps:
        observed = apply_step(observed, step)
        most = max(most, len(observed.rules))
    return most


def over_limit(plan: Plan, observed: ObservedZone, allowed: int | None) -> tuple[Refusal, ...]:
    """A refusal when the plan adds rules beyond the limit, so that it fails before its first call and not half way."""
    peak = rules_at_peak(plan, observed)
    if allowed is None or peak <= max(allowed, len(observed.rules)):
        return ()
    others = sum(not is_ours(rule) for rule in observed.rules)
    words = (
        f"{plan.zone} would hold {peak} custom rules, {others} of them not ours; its Cloudflare plan allows {allowed}."
    )
    return (
        Refusal("rule_limit", words, "Delete custom rules in the zone, or cover fewer hostnames with a block rule."),
    )
