"""What the edge would hold after a step, or after a whole plan. As strict as the edge itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from apps.planning.plan import AddRule, DeleteRule, EditRule, Plan, ReplaceList, Step
from apps.planning.rule import DesiredRule
from apps.planning.state import ObservedZone, RuleState


def apply_step(observed: ObservedZone, step: Step) -> ObservedZone:
    """The zone after one step; read-backs change nothing. Rules stand in their new order, with their old `position`.

    Raises ValueError when the step was made for another edge.
    """
    if isinstance(step, ReplaceList):
        _require(observed.lists.get(step.ca) == frozenset(step.before), step)
        return replace(observed, lists={**observed.lists, step.ca: frozenset(step.after)})
    refs = [rule.ref for rule in observed.rules]
    if isinstance(step, AddRule):
        _require(step.rule.ref not in refs and step.creates_ruleset == (observed.ruleset_id is None), step)
        added = _state(f"new-{step.rule.ref}", step.rule)
        rules = (added, *observed.rules) if step.first else (*observed.rules, added)
        return replace(observed, ruleset_id=observed.ruleset_id or "new", rules=rules)
    if isinstance(step, EditRule):
        _require(step.rule.ref in refs, step)
        edited = (_state(rule.id, step.rule) if rule.ref == step.rule.ref else rule for rule in observed.rules)
        return replace(observed, rules=tuple(edited))
    if isinstance(step, DeleteRule):
        _require(step.before.ref in refs, step)
        return replace(observed, rules=tuple(rule for rule in observed.rules if rule.ref != step.before.ref))
    return observed


def apply_plan(observed: ObservedZone, plan: Plan) -> ObservedZone:
    """The zone after all steps."""
    *_, last = prefixes(observed, plan)
    return last


def prefixes(observed: ObservedZone, plan: Plan) -> Iterator[ObservedZone]:
    """The zone before the first step, and after each: wherever a plan can be cut off."""
    yield observed
    for step in plan.steps:
        observed = apply_step(observed, step)
        yield observed


def _require(fits: bool, step: Step) -> None:
    if not fits:
        raise ValueError(f"The step does not fit the edge. {step.summary()}")


def _state(rule_id: str, rule: DesiredRule) -> RuleState:
    return RuleState(rule_id, rule.ref, rule.description, rule.action, rule.expression, enabled=True, position=0)
