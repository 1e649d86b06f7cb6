"""Whether a plan is safe at every prefix, judged anew and without asking how it was made."""

from __future__ import annotations

import re

from apps.planning.plan import Plan, ReadBackLists, ReadBackRules, ReplaceList, Step
from apps.planning.rule import hostnames_in, is_ours
from apps.planning.seen import refuses
from apps.planning.simulate import prefixes
from apps.planning.state import ObservedZone

# Additions, read back; rules, read back; removals, read back.
_SAFE = re.compile(r"(?:a+l)?(?:w+r)?(?:d+l)?")


def in_safe_order(plan: Plan) -> bool:
    """Whether additions come before rules and removals after them, each read back whole, and each list adds up."""
    return bool(_SAFE.fullmatch("".join(_letter(step) for step in plan.steps))) and _adds_up(plan)


def _letter(step: Step) -> str:
    if isinstance(step, ReplaceList):
        return "x" if bool(step.adds) == bool(step.removes) else "a" if step.adds else "d"
    return {ReadBackLists: "l", ReadBackRules: "r"}.get(type(step), "w")


def _adds_up(plan: Plan) -> bool:
    known: dict[str, tuple[str, ...]] = {}
    sent: set[str] = set()
    for step in plan.steps:
        if isinstance(step, ReplaceList):
            right = ReplaceList.of(step.ca, frozenset(step.before), frozenset(step.after)) == step
            if not right or step.before != known.get(step.ca, step.before):
                return False
            known[step.ca] = step.after
            sent.add(step.ca)
        elif isinstance(step, ReadBackLists):
            if set(step.cas) != sent:
                return False
            sent = set()
    return True


def unsafe_prefixes(plan: Plan, observed: ObservedZone) -> list[tuple[str, frozenset[str]]]:
    """What goes wrong if the plan is cut off somewhere: (`locks_out` or `opens`, the hostnames).

    Seen coarsely, by names alone: a hostname that a block rule of ours names while no list holds it, and one that is
    blocked at both ends of the plan and not between. Steps that do not fit the edge raise ValueError.
    """
    worlds = list(prefixes(observed, plan))
    locked, opened = set[str](), set[str]()
    stay = _blocked(worlds[0]) & _blocked(worlds[-1])
    for world in worlds:
        locked |= _blocked(world) - _listed(world)
        opened |= stay - _blocked(world)
    locked -= _blocked(worlds[0]) - _listed(worlds[0])
    return [(guard, frozenset(names)) for guard, names in (("locks_out", locked), ("opens", opened)) if names]


def _blocked(observed: ObservedZone) -> frozenset[str]:
    live = [rule for rule in observed.rules if is_ours(rule) and refuses(rule)]
    return frozenset(name for rule in live for name in hostnames_in(rule.expression))


def _listed(observed: ObservedZone) -> frozenset[str]:
    return frozenset().union(*observed.lists.values())
