"""What the edge would hold after a step, or a whole plan: for proofs, not for pages."""

from __future__ import annotations

from dataclasses import replace

from apps.planning.plan import AddRule, DeleteRule, EditRule, Plan, ReplaceList, Step
from apps.planning.rule import DesiredRule
from apps.planning.state import ObservedZone, RuleState


def apply_step(observed: ObservedZone, step: Step) -> ObservedZone:
    """The zone after one step. Read-backs change nothing."""
    if isinstance(step, ReplaceList):
        return replace(observed, lists={**observed.lists, step.ca: frozenset(step.after)})
    if isinstance(step, AddRule):
        added = _state(f"new-{step.rule.ref}", step.rule)
        rules = (added, *observed.rules) if step.first else (*observed.rules, added)
        return replace(observed, ruleset_id=observed.ruleset_id or "new", rules=rules)
    if isinstance(step, EditRule):
        return replace(
            observed,
            rules=tuple(_state(r.id, step.rule) if r.ref == step.rule.ref else r for r in observed.rules),
        )
    if isinstance(step, DeleteRule):
        return replace(observed, rules=tuple(r for r in observed.rules if r.ref != step.before.ref))
    return observed


def apply_plan(observed: ObservedZone, plan: Plan) -> ObservedZone:
    """The zone after all steps."""
    for step in plan.steps:
        observed = apply_step(observed, step)
    return observed


def _state(rule_id: str, rule: DesiredRule) -> RuleState:
    return RuleState(rule_id, rule.ref, rule.description, rule.action, rule.expression, enabled=True, position=0)
