"""From approved and observed to a plan, in the one order that is safe at every prefix.

1. Add to lists, read back: the edge asks for certificates before anything refuses.
2. Rules: hostnames that go from one of our block rules to another stand in a bridge rule meanwhile, which accepts what
   either accepts; first they leave the old rules, then they join the new ones, then the bridge goes.
3. Read rules back, then remove from lists, read back: a hostname loses its CA only when no rule names it for that CA.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apps.planning.plan import (
    AddRule,
    DeleteRule,
    EditRule,
    Effect,
    Plan,
    ReadBackLists,
    ReadBackRules,
    ReplaceList,
    RuleStep,
    Step,
)
from apps.planning.rule import (
    BRIDGE_PREFIX,
    DesiredRule,
    compile_rules,
    group_of,
    hostnames_in,
    is_ours,
    make_rules,
    pins_in,
)
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState, digest_of

Pairs = frozenset[tuple[str, str]]


def diff(desired: DesiredZone, observed: ObservedZone, *, heal: bool = True) -> Plan:
    """The plan that makes the edge what was approved, leaving alone whatever was not.

    With `heal=False` only unfinished work is done: what a read has shown since its approval and now differs was
    changed by somebody else, and stays as it is until a person decides. A rule that unfinished work has to edit is
    still written whole. Raises Unsafe when a rule cannot be made short enough.
    """
    adds, removes = _list_changes(desired, observed, heal)
    changed = _changed_hostnames(desired, observed, heal)
    rules = _rule_steps(desired, observed, changed, heal)
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
    effects = _effects(desired, observed, adds, removes, changed)
    left = sum(len((observed.lists[ca] | adds.get(ca, set())) - removes.get(ca, set())) for ca in observed.lists)
    return Plan(desired.zone, observed.fingerprint(), tuple(steps), effects, left)


def _list_changes(
    desired: DesiredZone, observed: ObservedZone, heal: bool
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """What to add to and remove from each list that was read. Unmanaged hostnames are in neither."""
    adds: dict[str, set[str]] = {}
    removes: dict[str, set[str]] = {}
    for ca, present in observed.lists.items():
        wanted = desired.associations.get(ca, frozenset())
        missing = {name for name in wanted - present if heal or (ca, name) not in desired.settled}
        leaving = (desired.releases.get(ca, frozenset()) - wanted) & present
        if missing:
            adds[ca] = missing
        if leaving:
            removes[ca] = set(leaving)
    return adds, removes


def _changed_hostnames(desired: DesiredZone, observed: ObservedZone, heal: bool) -> frozenset[str]:
    """Hostnames whose rule may be touched: those with unfinished work, or all when healing."""
    if heal:
        named = {name for rule in observed.rules if is_ours(rule) for name in hostnames_in(rule.expression)}
        return frozenset(named | set(desired.modes))
    unsettled = {name for name, mode in desired.modes.items() if desired.settled_modes.get(name) is not mode}
    pairs = {(ca, name) for ca, names in desired.associations.items() for name in names} - desired.settled
    released = {name for ca, names in desired.releases.items() for name in names}
    return frozenset(unsettled | {name for _, name in pairs} | released)


@dataclass(frozen=True)
class _Change:
    """One ref of ours: as it is and as it is to be."""

    ref: str
    before: RuleState | None
    target: DesiredRule | None

    @property
    def old(self) -> frozenset[str]:
        return hostnames_in(self.before.expression) if self.before else frozenset()

    @property
    def new(self) -> frozenset[str]:
        return self.target.hostnames if self.target else frozenset()


def _rule_steps(desired: DesiredZone, observed: ObservedZone, changed: frozenset[str], heal: bool) -> list[RuleStep]:
    changes = _rule_changes(desired, observed, changed, heal)
    if not changes:
        return []
    bridged = [c for c in changes if c.ref.startswith(BRIDGE_PREFIX)]
    plain = [c for c in changes if not c.ref.startswith(BRIDGE_PREFIX)]
    movers = _movers(plain) - {name for change in bridged for name in change.old}
    bridges = _bridges(plain, movers)
    steps: list[RuleStep] = []
    exists = observed.ruleset_id is not None
    for rule in bridges:
        steps.append(AddRule(rule, first=True, creates_ruleset=not exists))
        exists = True
    protected = movers | {name for change in bridged for name in change.old}
    states = {change.ref: change.before for change in plain}
    for change in plain:
        steps += _leave(change, protected, states)
    for change in plain:
        steps += _finish(change, states, exists)
        exists = exists or bool(steps)
    steps += [DeleteRule(change.before.id, change.before) for change in bridged if change.before]
    steps += [DeleteRule("", _as_state(rule)) for rule in bridges]
    return steps


def _rule_changes(desired: DesiredZone, observed: ObservedZone, changed: frozenset[str], heal: bool) -> list[_Change]:
    """Refs of ours that differ and may be touched. A group is written whole, so that its shards always fit together."""
    targets = {rule.ref: rule for rule in compile_rules(desired)}
    ours = {rule.ref: rule for rule in observed.rules if is_ours(rule)}
    differing = [
        _Change(ref, ours.get(ref), targets.get(ref))
        for ref in sorted(set(ours) | set(targets))
        if not _same(ours.get(ref), targets.get(ref))
    ]
    groups = {
        group_of(c.ref) for c in differing if heal or (c.old | c.new) & changed or c.ref.startswith(BRIDGE_PREFIX)
    }
    return [change for change in differing if group_of(change.ref) in groups]


def _same(before: RuleState | None, target: DesiredRule | None) -> bool:
    if before is None or target is None:
        return before is None and target is None
    return before.enabled and (before.action, before.expression) == (target.action, target.expression)


def _blocks(before: RuleState | None) -> bool:
    return before is not None and before.enabled and before.action == "block"


def _movers(changes: Iterable[_Change]) -> frozenset[str]:
    """Hostnames blocked by one ref now and by another afterwards: they must be in some block rule all the time."""
    old = {name: c.ref for c in changes if _blocks(c.before) for name in c.old}
    new = {name: c.ref for c in changes if c.target and c.target.action == "block" for name in c.new}
    return frozenset(name for name, ref in old.items() if new.get(name, ref) != ref)


def _bridges(changes: list[_Change], movers: frozenset[str]) -> list[DesiredRule]:
    """Block rules that accept what the old or the new rule of a mover accepts."""
    groups: dict[frozenset[str] | None, set[str]] = {}
    for name in movers:
        before = next(c.before for c in changes if _blocks(c.before) and name in c.old)
        target = next(c.target for c in changes if c.target and c.target.action == "block" and name in c.new)
        old = pins_in(before.expression) if before else None
        new = pins_in(target.expression) if target else None
        groups.setdefault(old | new if old and new else None, set()).add(name)
    rules: list[DesiredRule] = []
    for pins, names in sorted(groups.items(), key=lambda item: sorted(item[1])):
        ref = f"{BRIDGE_PREFIX}{digest_of([sorted(pins or ()), sorted(names)])[:12]}-0"
        rules += make_rules(ref, "block", names, pins)
    return rules


def _leave(change: _Change, protected: frozenset[str], states: dict[str, RuleState | None]) -> list[RuleStep]:
    """Take bridged hostnames that go elsewhere out of their old rule, leaving the rest of it as it was."""
    leaving = (change.old - change.new) & protected
    if change.before is None or not leaving:
        return []
    kept = change.old - leaving
    if change.target is None or not kept:
        states[change.ref] = None
        return [DeleteRule(change.before.id, change.before)]
    (rule,) = make_rules(change.ref, change.before.action, kept, pins_in(change.before.expression))
    states[change.ref] = _as_state(rule, change.before)
    return [EditRule(change.before.id, change.before, rule)]


def _finish(change: _Change, states: dict[str, RuleState | None], exists: bool) -> list[RuleStep]:
    before = states[change.ref]
    if change.target is None:
        return [DeleteRule(before.id, before)] if before else []
    if before is None:
        return [AddRule(change.target, first=True, creates_ruleset=not exists)]
    return [EditRule(before.id, before, change.target)] if not _same(before, change.target) else []


def _as_state(rule: DesiredRule, before: RuleState | None = None) -> RuleState:
    known = (before.id, before.position) if before else ("", 0)
    return RuleState(
        known[0], rule.ref, rule.description, rule.action, rule.expression, enabled=True, position=known[1]
    )


def edge_modes(rules: Iterable[RuleState]) -> dict[str, Mode]:
    """Hostname -> what the enabled rules of ours do to it; block wins over log."""
    modes: dict[str, Mode] = {}
    for rule in rules:
        if is_ours(rule) and rule.enabled and rule.action in {Mode.LOG, Mode.BLOCK}:
            for name in hostnames_in(rule.expression):
                if modes.get(name) is not Mode.BLOCK:
                    modes[name] = Mode(rule.action)
    return modes


def _effects(
    desired: DesiredZone,
    observed: ObservedZone,
    adds: dict[str, set[str]],
    removes: dict[str, set[str]],
    changed: frozenset[str],
) -> tuple[Effect, ...]:
    def effect(operation: str, ca: str, name: str) -> Effect:
        return Effect(operation, desired.zone, ca, name, desired.modes.get(name, Mode.VERIFY).value)

    found = [effect("associate", ca, name) for ca, names in adds.items() for name in names]
    found += [effect("dissociate", ca, name) for ca, names in removes.items() for name in names]
    for ca, names in desired.associations.items():
        present = observed.lists.get(ca, frozenset())
        found += [effect("adopt", ca, name) for name in names & present if (ca, name) not in desired.settled]
    now = edge_modes(observed.rules)
    order = [Mode.VERIFY, Mode.LOG, Mode.BLOCK]
    for name in changed:
        covered = bool(desired.cas_of(name))
        after = desired.modes.get(name, Mode.VERIFY) if covered else Mode.VERIFY
        step = order.index(after) - order.index(now.get(name, Mode.VERIFY))
        if step:
            operation = "enforce" if step > 0 else "relax"
            found.append(Effect(operation, desired.zone, "", name, after.value))
    return tuple(sorted(found))
