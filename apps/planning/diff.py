"""From approved and observed to a plan, in the one order that is safe at every prefix.

1. Add to lists, read back: the edge asks for certificates before anything refuses.
2. Rules (rule_steps.py), read back.
3. Remove from lists, read back: a hostname loses its CA only when no rule names it for that CA.
"""

from __future__ import annotations

from apps.planning.plan import Effect, Plan, ReadBackLists, ReadBackRules, ReplaceList, Step
from apps.planning.rule import hostnames_in, is_ours
from apps.planning.rule_steps import rule_steps, unfinished_rules
from apps.planning.seen import edge_modes
from apps.planning.simulate import apply_step
from apps.planning.state import DesiredZone, Mode, ObservedZone
from apps.planning.waits import as_they_stand, waiting

Names = dict[str, set[str]]


def diff(desired: DesiredZone, observed: ObservedZone, *, heal: bool = True) -> Plan:
    """The plan that makes the edge what was approved, leaving alone whatever was not.

    With `heal=False` only unfinished work is done: what a read has shown since its approval and now differs was
    changed by somebody else, and stays as it is until a person decides. A rule that unfinished work has to edit is
    still written whole. What would lock a hostname out waits (waits.py), and is named in `waits`. Raises Unsafe when
    a rule cannot be made short enough.
    """
    adds = _additions(desired, observed, heal)
    waits = waiting(desired, observed, adds)
    possible = as_they_stand(desired, observed, waits)
    removes = _removals(possible, observed)
    changed = _changed_hostnames(desired, observed, heal)
    rules = rule_steps(possible, observed, changed, removing=bool(removes), heal=heal)
    steps: list[Step] = []
    grown = {ca: observed.lists[ca] | names for ca, names in adds.items()}
    steps += [ReplaceList.of(ca, observed.lists[ca], after) for ca, after in sorted(grown.items())]
    if grown:
        steps.append(ReadBackLists(tuple(sorted(grown))))
    if rules:
        steps += [*rules, ReadBackRules()]
    for ca, names in sorted(removes.items()):
        before = grown.get(ca, observed.lists[ca])
        steps.append(ReplaceList.of(ca, before, before - names))
    if removes:
        steps.append(ReadBackLists(tuple(sorted(removes))))
    after = observed
    for step in steps:
        after = apply_step(after, step)
    effects = _effects(desired, observed, after, adds, removes)
    left = sum(len(names) for names in after.lists.values())
    return Plan(desired.zone, observed.fingerprint(), tuple(steps), effects, left, tuple(sorted(waits)))


def unfinished(desired: DesiredZone, observed: ObservedZone) -> frozenset[str]:
    """Hostnames of which a list, or a rule that blocks them, proves no approval done yet.

    Their rules are not what is approved, or they wait for a CA of their own; whatever shares a rule with one that
    waits does not wait itself.
    """
    waits = waiting(desired, observed, _additions(desired, observed, heal=False))
    changed = _changed_hostnames(desired, observed, heal=False)
    return unfinished_rules(as_they_stand(desired, observed, waits), observed, changed) | waits


def put_back(desired: DesiredZone, observed: ObservedZone, pairs: frozenset[tuple[str, str]]) -> Plan:
    """The plan that adds those of the approved (CA, hostname) pairs to their lists that are missing, and no more."""
    adds: Names = {}
    for ca, name in pairs:
        if ca in observed.lists and name in desired.associations.get(ca, frozenset()) - observed.lists[ca]:
            adds.setdefault(ca, set()).add(name)
    steps: list[Step] = [
        ReplaceList.of(ca, observed.lists[ca], observed.lists[ca] | names) for ca, names in sorted(adds.items())
    ]
    after = observed
    for step in steps:
        after = apply_step(after, step)
    if steps:
        steps.append(ReadBackLists(tuple(sorted(adds))))
    now = edge_modes(observed.rules)
    effects = sorted(
        Effect("associate", desired.zone, ca, name, now.get(name, Mode.VERIFY).value)
        for ca, names in adds.items()
        for name in names
    )
    left = sum(len(names) for names in after.lists.values())
    return Plan(desired.zone, observed.fingerprint(), tuple(steps), tuple(effects), left)


def _additions(desired: DesiredZone, observed: ObservedZone, heal: bool) -> Names:
    """What to add to each list that was read."""
    adds: Names = {}
    for ca, present in observed.lists.items():
        missing = desired.associations.get(ca, frozenset()) - present
        wanted = {name for name in missing if heal or (ca, name) not in desired.settled}
        if wanted:
            adds[ca] = wanted
    return adds


def _removals(desired: DesiredZone, observed: ObservedZone) -> Names:
    """What to remove from each list that was read: never what nobody approved to go."""
    removes: Names = {}
    for ca, present in observed.lists.items():
        released = desired.releases.get(ca, frozenset()) - desired.associations.get(ca, frozenset())
        if leaving := released & present:
            removes[ca] = set(leaving)
    return removes


def _changed_hostnames(desired: DesiredZone, observed: ObservedZone, heal: bool) -> frozenset[str]:
    """Hostnames whose rule may be touched: those with unfinished work, or all when healing."""
    if heal:
        named = {name for rule in observed.rules if is_ours(rule) for name in hostnames_in(rule.expression)}
        return frozenset(named | set(desired.modes))
    unsettled = {name for name, mode in desired.modes.items() if desired.settled_modes.get(name) is not mode}
    pairs = {(ca, name) for ca, names in desired.associations.items() for name in names} - desired.settled
    released = {name for ca, names in desired.releases.items() for name in names}
    return frozenset(unsettled | {name for _, name in pairs} | released)


def _effects(
    desired: DesiredZone, observed: ObservedZone, after: ObservedZone, adds: Names, removes: Names
) -> tuple[Effect, ...]:
    """What the steps come to, for every hostname they reach, and what is adopted without a step."""
    then, now = edge_modes(after.rules), edge_modes(observed.rules)

    def effect(operation: str, ca: str, name: str) -> Effect:
        return Effect(operation, desired.zone, ca, name, then.get(name, Mode.VERIFY).value)

    found = [effect("associate", ca, name) for ca, names in adds.items() for name in names]
    found += [effect("dissociate", ca, name) for ca, names in removes.items() for name in names]
    for ca, names in desired.associations.items():
        present = observed.lists.get(ca, frozenset())
        found += [effect("adopt", ca, name) for name in names & present if (ca, name) not in desired.settled]
    order = [Mode.VERIFY, Mode.LOG, Mode.BLOCK]
    for name in {*now, *then}:
        step = order.index(then.get(name, Mode.VERIFY)) - order.index(now.get(name, Mode.VERIFY))
        if step:
            found.append(effect("enforce" if step > 0 else "relax", "", name))
    return tuple(sorted(found))
