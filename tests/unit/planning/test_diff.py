"""What a plan does, what it never does wherever it is cut off, and the accidents that taught it."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.errors import Unsafe
from apps.planning.diff import diff, unfinished
from apps.planning.plan import AddRule, Plan, ReadBackLists, ReadBackRules, ReplaceList, Step
from apps.planning.rule import BRIDGE_PREFIX, compile_rules, is_ours
from apps.planning.seen import edge_modes
from apps.planning.simulate import apply_plan, prefixes
from apps.planning.state import DesiredZone, Mode, ObservedZone, RuleState
from apps.planning.waits import as_they_stand
from tests.unit.planning.worlds import (
    CAS,
    NAMES,
    approved,
    blocked,
    changes_of_mind,
    edge,
    edited,
    locked_out,
    rule,
    rules_for,
    seen,
    zones,
)

A, B, C, D = CAS
API, APP, DB = NAMES[:3]
BLOCK, LOG, VERIFY = Mode.BLOCK, Mode.LOG, Mode.VERIFY
World = tuple[DesiredZone, ObservedZone]

many = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
worlds = zones() | changes_of_mind()


def assert_safe(desired: DesiredZone, start: ObservedZone, plan: Plan, begun: ObservedZone | None = None) -> None:
    """Nobody locked out who was not before, nobody opened who stays approved, at any prefix.

    `begun` is where the work began, when the plan goes on from where an earlier one was cut off.
    """
    first = begun or start
    end = apply_plan(start, plan)
    stay = blocked(first) & blocked(end)
    stay |= {n for n, mode in desired.modes.items() if mode is BLOCK and desired.cas_of(n)} & set(_held(first))
    for number, world in enumerate(prefixes(start, plan)):
        assert locked_out(world) <= locked_out(first), f"locked out after {number} steps of {plan.steps}"
        assert stay <= blocked(world), f"opened after {number} steps of {plan.steps}"


def _unfinished_names(desired: DesiredZone) -> set[str]:
    modes = {name for name, mode in desired.modes.items() if desired.settled_modes.get(name) is not mode}
    pairs = {(ca, name) for ca, names in desired.associations.items() for name in names} - desired.settled
    return modes | {name for _, name in pairs} | {name for names in desired.releases.values() for name in names}


def _held(observed: ObservedZone) -> list[str]:
    return [name for name, mode in edge_modes(observed.rules).items() if mode is BLOCK]


def _ours(observed: ObservedZone) -> dict[str, tuple[str, str, bool]]:
    return {r.ref: (r.action, r.expression, r.enabled) for r in observed.rules if is_ours(r)}


def _foreign(observed: ObservedZone) -> list[RuleState]:
    return [replace(rule, position=0) for rule in observed.rules if not is_ours(rule)]


@many
@given(worlds, st.booleans())
def test_no_prefix_of_a_plan_locks_out_or_opens(world: World, heal: bool) -> None:
    desired, observed = world
    assert_safe(desired, observed, diff(desired, observed, heal=heal))


@many
@given(worlds)
def test_a_plan_leads_to_what_was_approved(world: World) -> None:
    desired, observed = world
    plan = diff(desired, observed)
    after = apply_plan(observed, plan)
    possible = as_they_stand(desired, observed, frozenset(plan.waits))
    for ca, names in after.lists.items():
        wanted = possible.associations.get(ca, frozenset())
        assert wanted <= names
        assert not (possible.releases.get(ca, frozenset()) - wanted) & names
    assert _ours(after) == {r.ref: (r.action, r.expression, True) for r in compile_rules(possible)}
    assert plan.pairs_left == sum(len(names) for names in after.lists.values())


@many
@given(worlds, st.booleans())
def test_planning_again_gives_nothing(world: World, heal: bool) -> None:
    desired, observed = world
    after = apply_plan(observed, diff(desired, observed, heal=heal))
    assert diff(desired, after, heal=heal).steps == ()
    assert diff(seen(desired, after), after, heal=heal).steps == ()


@few
@given(worlds, st.booleans())
def test_a_plan_cut_off_anywhere_is_finished_by_the_next(world: World, heal: bool) -> None:
    desired, observed = world
    plan = diff(desired, observed, heal=heal)
    end = apply_plan(observed, plan)
    for reached in list(prefixes(observed, plan))[:-1]:
        for known in (desired, seen(desired, reached)):
            rest = diff(known, reached, heal=heal)
            assert_safe(desired, reached, rest, observed)
            final = apply_plan(reached, rest)
            assert final.lists == end.lists
            for name in _unfinished_names(desired) - set(plan.waits):
                assert edge_modes(final.rules).get(name) is edge_modes(end.rules).get(name)
            # Without healing, drift that shared a rule with this work may be cut off with it, and stays drift.
            # A hostname that waits keeps what the edge has, so its log rule may be cut off with the plan that moved it.
            assert not heal or plan.waits or _ours(final) == _ours(end)
            assert _foreign(final) == _foreign(observed)


@many
@given(worlds, st.booleans())
def test_only_approved_hostnames_come_and_go(world: World, heal: bool) -> None:
    desired, observed = world
    for step in diff(desired, observed, heal=heal).steps:
        if isinstance(step, ReplaceList):
            observed_names, sent = observed.lists[step.ca], set(step.after)
            assert observed_names - sent <= desired.releases.get(step.ca, frozenset())
            assert not (observed_names - sent) & desired.associations.get(step.ca, frozenset())
            assert sent - observed_names <= desired.associations.get(step.ca, frozenset())


@many
@given(worlds, st.booleans())
def test_rules_of_other_people_stay_as_they_are(world: World, heal: bool) -> None:
    desired, observed = world
    for reached in prefixes(observed, diff(desired, observed, heal=heal)):
        assert _foreign(reached) == _foreign(observed)


@many
@given(worlds, st.booleans())
def test_additions_then_rules_then_removals_each_read_back(world: World, heal: bool) -> None:
    desired, observed = world
    steps = diff(desired, observed, heal=heal).steps
    assert re.fullmatch("(a+l)?(w+r)?(d+l)?", "".join(_letter(step) for step in steps))


def _letter(step: Step) -> str:
    """a: adds to a list, d: removes from one, w: writes a rule, l and r: read back."""
    if isinstance(step, ReplaceList):
        assert bool(step.adds) != bool(step.removes)
        return "a" if step.adds else "d"
    return {ReadBackLists: "l", ReadBackRules: "r"}.get(type(step), "w")


def test_stages_of_a_plan_that_does_everything() -> None:
    desired = approved({B: [API]}, {API: BLOCK}, releases={A: [API]})
    observed = edge({A: [API], B: []}, rules_for(approved({A: [API]}, {API: BLOCK})))
    kinds = [step.kind for step in diff(desired, observed).steps]
    assert kinds == [
        *("replace_list", "read_back_lists"),
        *("add_rule", "delete_rule", "add_rule", "delete_rule", "read_back_rules"),
        *("replace_list", "read_back_lists"),
    ]


def test_equal_sets_are_never_sent() -> None:
    desired = approved({A: [API, APP], B: []}, {API: BLOCK, APP: LOG}, releases={B: [API], A: [DB]})
    observed = edge({A: [APP, API], B: []}, rules_for(desired))
    assert diff(desired, observed).is_noop
    assert diff(desired, replace(observed, lists={A: frozenset([APP, API, DB])})).steps[0].kind == "replace_list"


def test_unmanaged_hostnames_stay_on_the_list() -> None:
    plan = diff(approved({A: [API]}, releases={A: [APP]}), edge({A: [APP, DB, "old.example.com"]}))
    lists = [step for step in plan.steps if isinstance(step, ReplaceList)]
    assert [(step.adds, step.removes) for step in lists] == [((API,), ()), ((), (APP,))]
    assert lists[-1].after == (API, DB, "old.example.com")


def test_the_first_rule_of_a_zone_creates_its_ruleset_and_no_other_does() -> None:
    desired = approved({A: [API], B: [APP]}, {API: BLOCK, APP: BLOCK})
    plan = diff(desired, edge({A: [], B: []}, ruleset=False))
    assert [s.creates_ruleset for s in plan.steps if isinstance(s, AddRule)] == [True, False]


@many
@given(worlds)
def test_without_healing_settled_drift_is_left_alone(world: World) -> None:
    desired, observed = world
    pairs = frozenset((ca, name) for ca, names in desired.associations.items() for name in names)
    known = replace(desired, releases={}, settled=pairs, settled_modes=desired.modes)
    rules = tuple(r for r in observed.rules if not r.ref.startswith(BRIDGE_PREFIX))
    plan = diff(known, replace(observed, rules=rules), heal=False)
    assert (plan.steps, plan.effects) == ((), ())


@few
@given(worlds, st.booleans(), st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_things_come_in(world: World, heal: bool, random: Random) -> None:
    desired, observed = world

    def shuffled(items: dict) -> dict:
        pairs = list(items.items())
        random.shuffle(pairs)
        return dict(pairs)

    fields = ("associations", "releases", "modes", "issuers", "settled_modes")
    again = replace(desired, **{name: shuffled(dict(getattr(desired, name))) for name in fields})
    rules = list(observed.rules)
    random.shuffle(rules)
    other = replace(observed, lists=shuffled(dict(observed.lists)), rules=tuple(rules))
    one, two = diff(desired, observed, heal=heal), diff(again, other, heal=heal)
    assert one.to_dict() == two.to_dict()


@many
@given(worlds, st.booleans())
def test_effects_say_what_the_steps_come_to(world: World, heal: bool) -> None:
    desired, observed = world
    plan = diff(desired, observed, heal=heal)
    after = apply_plan(observed, plan)
    found = {(e.operation, e.ca, e.hostname) for e in plan.effects}
    for ca in observed.lists:
        assert {n for op, c, n in found if (op, c) == ("associate", ca)} == after.lists[ca] - observed.lists[ca]
        assert {n for op, c, n in found if (op, c) == ("dissociate", ca)} == observed.lists[ca] - after.lists[ca]
    before, then = edge_modes(observed.rules), edge_modes(after.rules)
    moved = {n for n in {*before, *then} if before.get(n, VERIFY) is not then.get(n, VERIFY)}
    assert {n for op, _, n in found if op in {"enforce", "relax"}} == moved
    assert all(e.mode == then.get(e.hostname, VERIFY) for e in plan.effects)


def test_adopting_sends_nothing_and_is_an_effect() -> None:
    plan = diff(approved({A: [API]}), edge({A: [API]}), heal=False)
    assert plan.is_noop
    assert [(e.operation, e.hostname) for e in plan.effects] == [("adopt", API)]


# Accidents. Each of these locked somebody out, opened a hostname or ended in an error once.


def steps_for(desired: DesiredZone, observed: ObservedZone) -> Plan:
    plan = diff(desired, observed, heal=False)
    assert_safe(desired, observed, plan)
    return plan


def test_no_block_where_somebody_took_the_hostname_off_the_list() -> None:
    desired = replace(approved({A: [API]}, {API: BLOCK}), settled=frozenset({(A, API)}))
    plan = steps_for(desired, edge({A: []}))
    assert (plan.steps, plan.waits) == ((), (API,))


def test_no_block_before_the_ca_is_in_the_account() -> None:
    plan = steps_for(approved({A: [API], B: [APP]}, {API: BLOCK, APP: BLOCK}), edge({B: []}))
    assert plan.waits == (API,)
    assert [e.hostname for e in plan.effects if e.operation == "enforce"] == [APP]


def test_a_rotation_waits_for_the_new_ca_and_keeps_the_old_one() -> None:
    old = approved({A: [API]}, {API: BLOCK}, settled=True)
    desired = replace(old, associations={B: frozenset([API])}, releases={A: frozenset([API])})
    observed = edge({A: [API]}, rules_for(old))
    plan = steps_for(desired, observed)
    assert (plan.steps, plan.waits) == ((), (API,))
    assert steps_for(desired, replace(observed, lists={A: frozenset([API]), B: frozenset()})).waits == ()


def test_a_log_rule_stays_a_log_rule_while_its_block_waits() -> None:
    logged = approved({A: [API]}, {API: LOG}, settled=True)
    observed = edge({A: []}, rules_for(logged))
    plan = steps_for(replace(logged, modes={API: BLOCK}), observed)
    assert (plan.steps, plan.waits) == ((), (API,))


def test_a_hostname_that_only_an_unmanaged_list_holds_keeps_its_way_in() -> None:
    desired = approved({A: [API]}, {API: BLOCK})
    observed = edge({D: [API]}, [rule("byoca-1a-0", [API])])
    plan = steps_for(desired, observed)
    assert plan.waits == (API,)
    assert API not in locked_out(apply_plan(observed, plan))


def test_a_group_written_for_another_hostname_does_not_lock_out_one_that_drifted() -> None:
    desired = approved({A: [API, APP]}, {API: BLOCK, APP: BLOCK}, settled=True)
    unfinished = replace(desired, settled=frozenset({(A, API)}), settled_modes={API: BLOCK})
    plan = steps_for(unfinished, edge({A: []}))
    assert plan.waits == (API,)
    assert [e.hostname for e in plan.effects if e.operation == "enforce"] == [APP]


def test_a_bridge_left_behind_stays_until_the_rule_behind_it_stands() -> None:
    # A plan was cut off once its hostname stood in the bridge only; the read after that settled the approval.
    desired = approved({A: [API], B: [API]}, {API: BLOCK}, settled=True)
    bridge = rule(f"{BRIDGE_PREFIX}1a-0", [API], pins={"AA01", "BB01", "BB02"})
    observed = edge({A: [API], B: [API]}, [bridge])
    plan = steps_for(desired, observed)
    assert [step.kind for step in plan.steps] == ["add_rule", "delete_rule", "read_back_rules"]
    assert API in blocked(apply_plan(observed, plan))


@pytest.mark.parametrize("broken", ["off", "log", "edited"])
def test_a_bridge_left_behind_that_somebody_broke_is_not_relied_on(broken: str) -> None:
    old = approved({A: [API]}, {API: BLOCK})
    started = edge({A: [API], B: [API]}, rules_for(old))
    desired = approved({B: [API]}, {API: BLOCK})
    first = next(step.rule for step in diff(desired, started).steps if isinstance(step, AddRule))
    bridge = rule(first.ref, [API], pins={"AA01", "BB01", "BB02"})
    fates = {"off": replace(bridge, enabled=False), "log": replace(bridge, action="log"), "edited": edited(bridge)}
    observed = edge({A: [API], B: [API]}, [fates[broken], *rules_for(old)])
    added = [step.rule.ref for step in steps_for(desired, observed).steps if isinstance(step, AddRule)]
    assert first.ref not in added and any(ref.startswith(BRIDGE_PREFIX) for ref in added)


def test_a_bridge_left_behind_is_replaced_when_the_approved_ca_is_another_by_now() -> None:
    bridge = rule(f"{BRIDGE_PREFIX}1a-0", [API], pins={"AA01", "BB01"})
    desired = approved({C: [API]}, {API: BLOCK}, releases={A: [API]})
    plan = steps_for(desired, edge({A: [API], C: [API]}, [bridge]))
    assert plan.steps[0].kind == "add_rule"


def test_a_rule_switched_off_by_hand_is_not_switched_on_with_its_old_hostnames() -> None:
    old = approved({A: [API, APP, DB]}, {API: BLOCK, APP: BLOCK, DB: BLOCK})
    (off,) = rules_for(old)
    observed = edge({A: [APP], B: [API]}, [replace(off, enabled=False), rule("byoca-2b-0", [API], pins={"BB01"})])
    desired = approved({A: [APP], B: [API]}, {API: BLOCK, APP: BLOCK}, releases={A: [DB]})
    plan = steps_for(desired, observed)
    assert all(DB not in blocked(world) for world in prefixes(observed, plan))


def test_a_hand_edited_rule_lets_go_before_its_hostname_loses_the_ca() -> None:
    before = approved({A: [API]}, {API: BLOCK}, settled=True)
    observed = edge({A: [API]}, [edited(rules_for(before)[0])])
    plan = steps_for(approved({}, {API: VERIFY}, releases={A: [API]}), observed)
    assert [step.kind for step in plan.steps][:2] == ["delete_rule", "read_back_rules"]


def test_a_rule_of_ours_that_cannot_be_read_is_written_anew_before_any_hostname_loses_its_ca() -> None:
    stray = rule("byoca-1a-0", [APP])
    observed = edge({A: [API]}, [edited(stray, "not cf.tls_client_auth.cert_verified")])
    plan = steps_for(approved({}, releases={A: [API]}), observed)
    assert plan.steps[0].kind == "delete_rule"
    kept = steps_for(approved({B: [APP]}, {}), replace(observed, lists={B: frozenset()}))
    assert [step.kind for step in kept.steps] == ["replace_list", "read_back_lists"]


@pytest.mark.parametrize(("left", "right"), [(A, B), (B, A)])
def test_a_hand_edited_rule_that_is_replaced_never_opens_what_it_quotes(left: str, right: str) -> None:
    old = approved({left: [API, APP], right: [DB]}, {API: BLOCK, APP: BLOCK, DB: BLOCK})
    hand = [edited(state) for state in rules_for(old)]
    desired = approved({left: [API], right: [APP, DB]}, old.modes, releases={left: [APP]})
    observed = edge({left: [API, APP], right: [APP, DB]}, hand)
    plan = steps_for(desired, observed)
    assert _ours(apply_plan(observed, plan)) == {r.ref: (r.action, r.expression, True) for r in compile_rules(desired)}


def test_rules_that_share_a_hostname_are_written_together() -> None:
    # Somebody moved APP into API's rule by hand. Writing that rule anew must not leave APP in no rule at all.
    lists = {A: [API], B: [APP]}
    settled = approved(lists, {API: BLOCK, APP: BLOCK}, settled=True)
    api_ref = compile_rules(approved({A: [API]}, {API: BLOCK}))[0].ref
    observed = edge({A: [API, DB], B: [APP]}, [rule(api_ref, [API, APP])])
    more = {A: frozenset([API, DB]), B: frozenset([APP])}
    desired = replace(settled, associations=more, modes={**settled.modes, DB: BLOCK})
    plan = steps_for(desired, observed)
    assert {API, APP, DB} <= blocked(apply_plan(observed, plan))


def test_a_rule_longer_than_we_write_is_still_taken_apart() -> None:
    names = [f"{'x' * 50}{n:03}.example.com" for n in range(100)]
    desired = approved({A: names[:1], B: names[1:2]}, dict.fromkeys(names[:2], BLOCK))
    ref = next(r.ref for r in compile_rules(desired) if names[0] in r.hostnames)
    observed = edge({A: names, B: names}, [rule(ref, names, pins={"AA01"})])
    after = apply_plan(observed, steps_for(desired, observed))
    assert blocked(after) == set(names), "those that nobody decided about stay, too"
    assert len([r for r in after.rules if is_ours(r)]) > 2


def test_effects_name_every_hostname_that_a_rule_written_whole_reaches() -> None:
    desired = approved({A: [API, APP]}, {API: BLOCK, APP: BLOCK}, settled=True)
    unfinished = replace(desired, settled=frozenset({(A, API)}), settled_modes={API: BLOCK})
    plan = diff(unfinished, edge({A: [API, APP]}), heal=False)
    assert [e.hostname for e in plan.effects if e.operation == "enforce"] == [API, APP]


def test_pins_that_fill_a_rule_are_refused() -> None:
    issuers = {A: frozenset(f"{n:040X}" for n in range(100))}
    with pytest.raises(Unsafe) as refusal:
        diff(approved({A: [API]}, {API: BLOCK}, issuers=issuers), edge({A: [API]}))
    assert refusal.value.code == "rule_too_long"


def test_who_is_locked_out_already_keeps_the_approved_rule() -> None:
    desired = approved({A: [API]}, {API: BLOCK}, settled=True)
    plan = steps_for(desired, edge({A: []}, rules_for(desired)))
    assert (plan.steps, plan.waits) == ((), (API,))
    moved = approved({B: [API]}, {API: BLOCK})
    observed = edge({A: []}, rules_for(desired))
    assert API in blocked(apply_plan(observed, steps_for(moved, observed)))


def test_what_a_read_proves_leaves_out_hostnames_whose_rule_is_not_right_yet() -> None:
    # A second CA was put on the list, and the run was cut off before the rule accepted it.
    old = approved({A: [API], D: [APP]}, {API: BLOCK}, settled=True)
    more = replace(old, associations={**old.associations, B: frozenset([API])})
    observed = edge({A: [API], B: [API], D: [APP]}, rules_for(old))
    assert unfinished(more, observed) == {API}
    assert unfinished(old, observed) == frozenset()
    bridge = rule(f"{BRIDGE_PREFIX}1a-0", [API])
    assert unfinished(old, replace(observed, rules=(*observed.rules, bridge))) == {API}
