"""What counts as somebody else's change, and what as unfinished work."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from apps.planning.diff import diff
from apps.planning.drift import Difference, drift
from apps.planning.rule import compile_rules
from apps.planning.simulate import prefixes
from apps.planning.state import DesiredZone, Mode, ObservedZone
from tests.unit.planning.worlds import CAS, NAMES, approved, changes_of_mind, edge, edited, rule, rules_for, zones

A, B, _, D = CAS
API, APP, DB = NAMES[:3]
BLOCK, LOG = Mode.BLOCK, Mode.LOG

SETTLED = approved({A: [API, APP]}, {API: BLOCK, APP: LOG}, settled=True)


def as_approved(desired: DesiredZone) -> ObservedZone:
    return edge(dict(desired.associations), rules_for(desired))


def test_an_edge_that_is_as_approved_shows_none() -> None:
    assert drift(SETTLED, as_approved(SETTLED)) == ()


def test_a_hostname_nobody_approved_is_unexpected() -> None:
    observed = replace(as_approved(SETTLED), lists={A: frozenset([API, APP, DB]), B: frozenset([API])})
    assert drift(SETTLED, observed) == (
        Difference("unexpected", A, DB, "At the edge, not approved"),
        Difference("unexpected", B, API, "At the edge, not approved"),
    )


def test_a_hostname_that_was_there_and_is_gone_is_missing() -> None:
    observed = replace(as_approved(SETTLED), lists={A: frozenset([API])})
    assert drift(SETTLED, observed) == (Difference("missing", A, APP, "Approved, not at the edge"),)


def test_unfinished_work_is_no_drift() -> None:
    wanted = approved({A: [API, APP]}, {API: BLOCK}, releases={B: [DB]})
    assert drift(wanted, edge({A: [], B: [DB]})) == ()
    assert drift(wanted, edge({A: [], B: [DB]}, [rule("byoca-1a-0", [API], action="log")])) == ()


def test_a_list_that_was_not_read_says_nothing() -> None:
    assert drift(approved({B: [API]}, settled=True), edge({A: []})) == ()


def test_a_rule_that_is_off_or_gone_or_of_another_kind_is_altered() -> None:
    api, app = sorted(rules_for(SETTLED), key=lambda rule: rule.action)
    gone = Difference("altered", "", API, "Approved mode is block, the edge has verify")
    lists = {A: [API, APP]}
    assert drift(SETTLED, edge(lists, [app])) == (gone,)
    assert drift(SETTLED, edge(lists, [replace(api, enabled=False), app])) == (gone,)
    only_logs = Difference("altered", "", API, "Approved mode is block, the edge has log")
    assert drift(SETTLED, edge(lists, [replace(api, action="log"), app])) == (only_logs,)
    assert drift(SETTLED, edge(lists, [api, replace(app, action="block")])) == (
        Difference("altered", "", APP, "Approved mode is log, the edge has block"),
    )


def test_a_rule_rewritten_by_hand_is_altered_and_not_said_to_be_off() -> None:
    api, app = sorted(rules_for(SETTLED), key=lambda rule: rule.action)
    (found,) = drift(SETTLED, edge({A: [API, APP]}, [edited(api), app]))
    assert (found.kind, found.hostname) == ("altered", API)
    assert found.detail == "Approved mode is block. Our rule was rewritten by hand, so what it does now is not known"


def test_a_rule_that_names_a_hostname_nobody_approved_is_altered() -> None:
    (found,) = drift(approved({}), edge({A: []}, [rule("byoca-1a-0", [DB])]))
    assert found == Difference("altered", "", DB, "A rule of ours (block) names it, and nothing is approved for it")
    assert drift(approved({}, releases={A: [DB]}), edge({A: [DB]}, [rule("byoca-1a-0", [DB])])) == ()
    assert drift(DesiredZone("z", settled_modes={DB: BLOCK}), edge({})) == ()


def test_a_pin_taken_off_or_changed_by_hand_is_altered() -> None:
    # The hostname is still blocked without a certificate, but one of any CA in the account opens it.
    (ref,) = (r.ref for r in compile_rules(SETTLED) if r.action == "block")
    others = [r for r in rules_for(SETTLED) if r.ref != ref]
    found = (Difference("altered", "", API, "The rule accepts other issuers than approved"),)
    lists = {A: [API, APP]}
    assert drift(SETTLED, edge(lists, [rule(ref, [API]), *others])) == found
    assert drift(SETTLED, edge(lists, [rule(ref, [API], pins={"BB01"}), *others])) == found
    both = [rule(ref, [API], pins={"AA01"}), rule("byoca-2b-0", [API], pins={"BB01"})]
    assert drift(SETTLED, edge(lists, [*both, *others])) == found
    loose = [rule(ref, [API], pins={"AA01"}), rule("byoca-bridge-1a-0", [API], pins={"AA01", "BB01"})]
    assert drift(SETTLED, edge(lists, [*loose, rule("byoca-2b-0", [API]), *others])) == ()


def test_pins_are_not_compared_while_a_hostname_changes_its_cas() -> None:
    observed = as_approved(approved({A: [API]}, {API: BLOCK}))
    half = approved({A: [API]}, {API: BLOCK}, settled=True)
    more = replace(half, associations={A: frozenset([API]), B: frozenset([API])})
    assert drift(more, observed) == ()
    less = replace(approved({B: [API]}, {API: BLOCK}, settled=True), releases={A: frozenset([API])})
    assert drift(less, replace(observed, lists={A: frozenset([API]), B: frozenset([API])})) == ()
    assert drift(approved({}, {API: BLOCK}, settled=True), observed)[0].kind == "unexpected"


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(zones() | changes_of_mind())
def test_healing_leaves_no_drift_but_the_unexpected(world: tuple[DesiredZone, ObservedZone]) -> None:
    desired, observed = world
    plan = diff(desired, observed)
    *_, after = prefixes(observed, plan)
    left = [found for found in drift(desired, after) if found.hostname not in plan.waits]
    covered = {name for names in desired.associations.values() for name in names}
    assert all(found.kind == "unexpected" or found.hostname not in covered for found in left)
