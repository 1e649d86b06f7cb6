"""What a plan does, what it never does wherever it is cut off, and the accidents that taught it."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.planning.diff import diff
from apps.planning.plan import Plan, ReadBackLists, ReadBackRules, ReplaceList, Step
from apps.planning.rule import compile_rules, is_ours
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
    locked_out,
    rules_for,
    seen,
    zones,
)

A, B, C, D = CAS
API, APP, DB = NAMES[:3]
BLOCK, LOG, VERIFY = Mode.BLOCK, Mode.LOG, Mode.VERIFY
World = tuple[DesiredZone, ObservedZone]

many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
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
            assert (final.lists, _ours(final)) == (end.lists, _ours(end))
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
