"""The simulated edge does what the steps say, and refuses what the real one would."""

from __future__ import annotations

import pytest

from apps.planning.plan import AddRule, DeleteRule, EditRule, Plan, ReadBackLists, ReadBackRules, ReplaceList, Step
from apps.planning.rule import make_rule
from apps.planning.rule_steps import as_state
from apps.planning.simulate import apply_plan, apply_step, prefixes
from tests.unit.planning.worlds import CAS, FOREIGN, NAMES, ZONE, edge, rule

A, B = CAS[:2]
API, APP = NAMES[:2]
OURS = rule("byoca-1a-0", [API])
NEW = make_rule("byoca-2b-0", "log", [APP], None)
START = edge({A: [API]}, [FOREIGN[0], OURS, FOREIGN[1]])


def refs(step: Step) -> list[str]:
    return [rule.ref for rule in apply_step(START, step).rules]


def test_lists_are_replaced_whole() -> None:
    after = apply_step(START, ReplaceList.of(A, frozenset([API]), frozenset([APP])))
    assert (after.lists, after.rules) == ({A: frozenset([APP])}, START.rules)


def test_rules_come_first_or_last_stay_in_place_and_go() -> None:
    assert refs(AddRule(NEW)) == ["byoca-2b-0", "f1", "byoca-1a-0", "rate"]
    assert refs(AddRule(NEW, first=False)) == ["f1", "byoca-1a-0", "rate", "byoca-2b-0"]
    assert refs(DeleteRule(OURS.id, OURS)) == ["f1", "rate"]
    edited = apply_step(START, EditRule(OURS.id, OURS, make_rule("byoca-1a-0", "log", [APP], None)))
    assert [(rule.id, rule.action) for rule in edited.rules] == [("f1", "skip"), (OURS.id, "log"), ("f2", "block")]


def test_the_first_rule_makes_a_ruleset() -> None:
    after = apply_step(edge({}, ruleset=False), AddRule(NEW, creates_ruleset=True))
    assert (after.ruleset_id, [rule.ref for rule in after.rules]) == ("new", ["byoca-2b-0"])


def test_reading_back_changes_nothing() -> None:
    assert apply_step(START, ReadBackLists((A,))) is apply_step(START, ReadBackRules()) is START


@pytest.mark.parametrize(
    "step",
    [
        ReplaceList.of(A, frozenset([APP]), frozenset()),
        ReplaceList.of(B, frozenset(), frozenset([APP])),
        AddRule(NEW, creates_ruleset=True),
        AddRule(make_rule("byoca-1a-0", "block", [APP], None)),
        EditRule("x", as_state(NEW), NEW),
        DeleteRule("x", as_state(NEW)),
    ],
)
def test_a_step_made_for_another_edge_is_an_error(step: Step) -> None:
    with pytest.raises(ValueError, match="does not fit the edge"):
        apply_step(START, step)


def test_a_plan_has_one_more_prefix_than_steps() -> None:
    plan = Plan(ZONE, "", (AddRule(NEW), ReadBackRules(), DeleteRule("", as_state(NEW))), ())
    worlds = list(prefixes(START, plan))
    assert [len(world.rules) for world in worlds] == [3, 4, 4, 3]
    assert apply_plan(START, plan) == worlds[-1] == START
