"""The rule steps of a plan, in an order that opens nobody and locks nobody out.

A hostname that goes from one block rule of ours to another may never be in none, and never in both: each is pinned to
its own issuers, and a client would have to please both. So it stands in a bridge meanwhile, a block rule that accepts
what either accepts. First the bridges come, then hostnames leave their old rules, then they join the new ones, then
the bridges go. A bridge that a cut-off plan left behind is used again if it accepts enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from apps.planning.plan import AddRule, DeleteRule, EditRule, RuleStep
from apps.planning.rule import (
    BRIDGE_PREFIX,
    DesiredRule,
    compile_rules,
    group_of,
    is_ours,
    make_rule,
    make_rules,
    pins_in,
)
from apps.planning.seen import is_opaque, may_name, refuses
from apps.planning.standing import targets as standing
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState, digest_of


@dataclass(frozen=True)
class Change:
    """One ref of ours: as it is and as it is to be."""

    ref: str
    before: RuleState | None
    target: DesiredRule | None

    @property
    def old(self) -> frozenset[str]:
        return may_name(self.before) if self.before else frozenset()

    @property
    def new(self) -> frozenset[str]:
        return self.target.hostnames if self.target else frozenset()

    @property
    def blocks(self) -> frozenset[str]:
        """The hostnames it is to block."""
        return self.new if self.target and self.target.action == Mode.BLOCK else frozenset()

    @property
    def holds(self) -> frozenset[str]:
        """The hostnames it blocks for certain now."""
        return self.old if refuses(self.before) and not is_opaque(self.before) else frozenset()

    @property
    def is_bridge(self) -> bool:
        return self.ref.startswith(BRIDGE_PREFIX)

    @property
    def is_unreadable_block(self) -> bool:
        return refuses(self.before) and is_opaque(self.before)


def rule_steps(
    desired: DesiredZone, observed: ObservedZone, changed: AbstractSet[str], *, removing: bool, heal: bool
) -> list[RuleStep]:
    """The steps that take our rules to the approved state.

    Without `heal` only what `changed` hostnames need, and what cannot be told apart from it: a rule is written whole,
    with what nobody decided about as it stands (standing.py), and so is every other that shares a hostname with it.
    With `removing`, a block rule that cannot be read is written anew as well: it might refuse the very hostname that is
    about to lose its CA. Raises Unsafe when a rule would be too long.
    """
    wanted = compile_rules(desired) if heal else standing(desired, observed, changed)
    changes = _touched(_differing(wanted, observed), changed, removing, heal)
    targets = {name: change for change in changes for name in change.blocks}
    kept = {c.ref for c in changes if c.is_bridge and _still_serves(c, targets)}
    taken = {group_of(rule.ref) for rule in observed.rules}
    bridges = _bridges(changes, targets, kept, taken)
    steps: list[RuleStep] = []
    exists = observed.ruleset_id is not None
    for rule in bridges:
        steps.append(AddRule(rule, first=True, creates_ruleset=not exists))
        exists = True
    states = {change.ref: change.before for change in changes}
    # Those that cannot be read go last: they may refuse more hostnames than can be told.
    changes = sorted(changes, key=lambda change: (change.is_unreadable_block, change.ref))
    for change in changes:
        if change.ref not in kept:
            steps += _leave(change, targets.keys(), states)
    ends: list[RuleStep] = []
    for change in sorted(changes, key=lambda change: change.target is None):
        found = _finish(change, states, exists)
        exists = exists or bool(found)
        if change.is_bridge:
            ends += found
        else:
            steps += found
    return steps + ends + [DeleteRule("", as_state(rule)) for rule in bridges]


def unfinished_rules(desired: DesiredZone, observed: ObservedZone, changed: AbstractSet[str]) -> frozenset[str]:
    """Hostnames whose rules of ours are not yet what is approved: a bridge may hold them, or a rule with other pins."""
    wanted = standing(desired, observed, changed)
    return frozenset(name for change in _differing(wanted, observed) for name in change.old | change.new)


def _differing(wanted: Iterable[DesiredRule], observed: ObservedZone) -> list[Change]:
    targets = {rule.ref: rule for rule in wanted}
    ours = {rule.ref: rule for rule in observed.rules if is_ours(rule)}
    changes = [Change(ref, ours.get(ref), targets.get(ref)) for ref in sorted(set(ours) | set(targets))]
    return [change for change in changes if not same(change.before, change.target)]


def _touched(differing: list[Change], changed: AbstractSet[str], removing: bool, heal: bool) -> list[Change]:
    """A group is written whole, so that its shards fit together, and with it each rule that shares a hostname."""
    groups = {
        group_of(c.ref)
        for c in differing
        if heal or c.is_bridge or (c.old | c.new) & changed or (removing and c.is_unreadable_block)
    }
    while True:
        names = {name for c in differing if group_of(c.ref) in groups for name in c.old | c.new}
        more = {group_of(c.ref) for c in differing if (c.old | c.new) & names} - groups
        if not more:
            return [change for change in differing if group_of(change.ref) in groups]
        groups |= more


def same(before: RuleState | None, target: DesiredRule | None) -> bool:
    if before is None or target is None:
        return before is None and target is None
    return before.enabled and (before.action, before.expression) == (target.action, target.expression)


def _still_serves(bridge: Change, targets: dict[str, Change]) -> bool:
    """Whether a bridge left behind accepts whatever the new rules of its hostnames accept."""
    wanted = [target for name in bridge.holds if (target := targets.get(name))]
    return bool(wanted) and all(_covers(_pins(bridge.before), _pins(change.target)) for change in wanted)


def _covers(wide: frozenset[str] | None, narrow: frozenset[str] | None) -> bool:
    return wide is None or (narrow is not None and wide >= narrow)


def _pins(rule: RuleState | DesiredRule | None) -> frozenset[str] | None:
    return pins_in(rule.expression) if rule else None


def _bridges(changes: list[Change], targets: dict[str, Change], kept: set[str], taken: set[str]) -> list[DesiredRule]:
    """Block rules that accept what the old or the new rule of a hostname accepts, for those that need one."""
    groups: dict[frozenset[str] | None, set[str]] = {}
    for name, target in targets.items():
        holders = [c for c in changes if refuses(c.before) and name in c.old and c is not target]
        carried = name in target.holds or any(c.ref in kept for c in holders)
        if holders and not carried:
            all_pins = [_pins(target.target), *(_pins(c.before) for c in holders)]
            known = [pins for pins in all_pins if pins is not None]
            pins = frozenset().union(*known) if len(known) == len(all_pins) else None
            groups.setdefault(pins, set()).add(name)
    rules: list[DesiredRule] = []
    for pins, names in sorted(groups.items(), key=lambda item: sorted(item[1])):
        rules += make_rules(f"{_free_group(pins, names, taken)}-0", Mode.BLOCK.value, names, pins)
    return rules


def _free_group(pins: frozenset[str] | None, names: set[str], taken: set[str]) -> str:
    """A bridge's ref follows from its content, but a broken rule may stand under that ref already."""
    turn = 0
    while True:
        group = f"{BRIDGE_PREFIX}{digest_of([sorted(pins or ()), sorted(names), turn])[:12]}"
        if group not in taken:
            return group
        turn += 1


def _leave(change: Change, arriving: AbstractSet[str], states: dict[str, RuleState | None]) -> list[RuleStep]:
    """Take hostnames that another rule is to block out of their old rule, leaving the rest of it as it was."""
    leaving = (change.old - change.new) & arriving
    if change.before is None or not refuses(change.before) or not leaving:
        return []
    unreadable = is_opaque(change.before)
    kept = change.old & change.new if unreadable else change.old - leaving
    if change.target is None or not kept:
        states[change.ref] = None
        return [DeleteRule(change.before.id, change.before)]
    # The rest of a rule that cannot be read cannot be kept either: what is approved of it takes its place.
    action, pins = (change.target.action, _pins(change.target)) if unreadable else ("block", _pins(change.before))
    rule = make_rule(change.ref, action, kept, pins)
    states[change.ref] = as_state(rule, change.before)
    return [EditRule(change.before.id, change.before, rule)]


def _finish(change: Change, states: dict[str, RuleState | None], exists: bool) -> list[RuleStep]:
    before = states[change.ref]
    if change.target is None:
        return [DeleteRule(before.id, before)] if before else []
    if before is None:
        return [AddRule(change.target, first=True, creates_ruleset=not exists)]
    return [EditRule(before.id, before, change.target)] if not same(before, change.target) else []


def as_state(rule: DesiredRule, before: RuleState | None = None) -> RuleState:
    """The rule as the edge will show it, in the place of `before`."""
    known = (before.id, before.position) if before else ("", 0)
    return RuleState(
        known[0], rule.ref, rule.description, rule.action, rule.expression, enabled=True, position=known[1]
    )
