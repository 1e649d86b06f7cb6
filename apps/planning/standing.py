"""What nobody decided about stays in the rule where it stands, also when that rule is written anew for others.

A rule is written whole. After a restored backup the edge may hold hostnames that the approved state does not know: in
a rule of ours, in the list of a CA beside those approved, or in block where log was approved. Writing the rule for what
is approved would open the first and the last, and refuse clients of the other CA, and no approval in hand asks for any
of it (INV-11).
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace

from apps.planning.rule import (
    DesiredRule,
    compile_rules,
    group_of,
    group_ref,
    hostnames_in,
    is_ours,
    make_rule,
    make_rules,
    pins_in,
)
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState


def targets(desired: DesiredZone, observed: ObservedZone, changed: AbstractSet[str]) -> list[DesiredRule]:
    """The rules that the approved state asks for, with what stands in a rule of ours undecided.

    `changed` are the hostnames whose rules work in hand is about. Raises as `compile_rules` does.
    """
    standing = {
        rule.ref: names for rule in observed.rules if (names := _undecided_in(rule, desired, observed, changed))
    }
    kept = {name for names in standing.values() for name in names}
    modes = {name: mode for name, mode in desired.modes.items() if name not in kept}
    found = list(compile_rules(replace(desired, modes=modes)))
    for rule in observed.rules:
        if rule.ref in standing:
            found = _with(found, rule, standing[rule.ref])
    return found


def _undecided_in(
    rule: RuleState, desired: DesiredZone, observed: ObservedZone, changed: AbstractSet[str]
) -> frozenset[str]:
    if not (is_ours(rule) and rule.enabled and rule.action in {Mode.LOG, Mode.BLOCK}):
        return frozenset()
    return frozenset(
        name
        for name in hostnames_in(rule.expression)
        if not _is_known(name, desired)
        or _stands_for_more(name, rule, desired, observed)
        or (name not in changed and _stands_stricter(name, rule, desired))
    )


def _is_known(name: str, desired: DesiredZone) -> bool:
    """Whether anything is approved for the hostname, be it its end."""
    return name in desired.modes or any(
        name in names for sets in (desired.associations, desired.releases) for names in sets.values()
    )


def _stands_for_more(name: str, rule: RuleState, desired: DesiredZone, observed: ObservedZone) -> bool:
    """Whether the rule was written for the hostname's approved CAs and for those whose lists hold it undecided.

    The rule's own ref says for which CAs it was written, so pins that somebody widened by hand are none of this.
    """
    if desired.modes.get(name) != rule.action:
        return False
    approved = desired.cas_of(name)
    more = {ca for ca, names in observed.lists.items() if name in names and name not in desired.releases.get(ca, ())}
    return bool(more - approved) and group_of(rule.ref) == group_of(group_ref(more | approved, Mode(rule.action)))


def _stands_stricter(name: str, rule: RuleState, desired: DesiredZone) -> bool:
    """Whether the rule was written to block the hostname for its approved CAs, and less is approved."""
    if rule.action != Mode.BLOCK or desired.modes.get(name) not in {Mode.LOG, Mode.VERIFY}:
        return False
    return group_of(rule.ref) == group_of(group_ref(desired.cas_of(name), Mode.BLOCK))


def _with(rules: Iterable[DesiredRule], rule: RuleState, names: frozenset[str]) -> list[DesiredRule]:
    """These rules with the hostnames in theirs: where others of the same CAs are, or else as it is."""
    rules = list(rules)
    group = group_of(rule.ref)
    same = [other for other in rules if group_of(other.ref) == group]
    if not same:
        return [*rules, make_rule(rule.ref, rule.action, names, pins_in(rule.expression))]
    if same[0].action != rule.action:
        # Its action was changed by hand: what it is for the hostname cannot be told from what it was.
        return rules
    others = [other for other in rules if group_of(other.ref) != group]
    pins = pins_in(same[0].expression)
    return others + make_rules(f"{group}-0", rule.action, names.union(*(other.hostnames for other in same)), pins)
