"""What a plan's steps touch: whoever asked for something else is neither helped nor harmed by them."""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.plan import AddRule, DeleteRule, EditRule, Plan, ReplaceList, RuleStep
from apps.planning.rule import hostnames_in, pins_in
from apps.planning.seen import is_opaque


@dataclass(frozen=True)
class Reach:
    """(CA, hostname) pairs that a list gains, loses or has already, and hostnames whose rules change.

    `unknown`: a rule is written over, or deleted, that may name any hostname.
    """

    pairs: frozenset[tuple[str, str]]
    ruled: frozenset[str]
    unknown: bool

    def touches(self, ca: str, hostname: str) -> bool:
        return self.unknown or hostname in self.ruled or (ca, hostname) in self.pairs


def reach_of(plan: Plan) -> Reach:
    """Rather too much than too little: what is touched can no longer be called off."""
    lists = [step for step in plan.steps if isinstance(step, ReplaceList)]
    rules = [step for step in plan.steps if isinstance(step, RuleStep)]
    pairs = {(step.ca, name) for step in lists for name in (*step.adds, *step.removes)}
    pairs |= {(effect.ca, effect.hostname) for effect in plan.effects if effect.ca}
    unknown = any(is_opaque(step.before) for step in rules if isinstance(step, EditRule | DeleteRule))
    return Reach(frozenset(pairs), frozenset(name for step in rules for name in _ruled(step)), unknown)


def _ruled(step: AddRule | EditRule | DeleteRule) -> frozenset[str]:
    """Those that come, go or are treated otherwise; who stays in a rule that treats them as before is not touched."""
    if isinstance(step, AddRule):
        return step.rule.hostnames
    before = hostnames_in(step.before.expression)
    if isinstance(step, DeleteRule):
        return before
    then = (step.before.enabled, step.before.action, pins_in(step.before.expression))
    same = then == (True, step.rule.action, pins_in(step.rule.expression))
    return before ^ step.rule.hostnames if same else before | step.rule.hostnames
